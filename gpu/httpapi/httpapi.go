// Package httpapi is what the clients of all providers share: one request, one answer. It adds the key,
// keeps to the provider's limits, bounds time and size, follows no redirect, and turns a refusal into a
// *gpu.Error whose message holds no key.
//
//	api := httpapi.New(httpapi.Config{Provider: "runpod", Base: "https://api.runpod.io", Key: key, Refusal: refusal})
//	var pod pod
//	err := api.Do(ctx, httpapi.Call{Op: "get", Method: "GET", Path: "/v2/pods/" + url.PathEscape(id), Into: &pod, Repeat: true})
//
// It depends on net/http and golang.org/x/time/rate.
package httpapi

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"github.com/bifrost-run/bifrost/gpu"
)

const (
	maxBody    = 8 << 20 // bytes of an answer; the longest listings have some hundred kB
	maxMessage = 500     // bytes of a provider's words in an error

	defaultTimeout = 30 * time.Second
)

// A Config describes one provider's API.
type Config struct {
	Provider string
	Base     string // scheme and host, without a slash at the end; a path is put before those of calls
	Key      string // sent as a bearer token, and taken out of every error
	// Refusal reads what a status of 400 and more means. It may leave the message empty: then the
	// body's beginning is the message.
	Refusal func(r Refused) (kind gpu.Kind, code, message string)
	// Backoff is the pause before a call is sent again, doubled each time up to thirty times as long; 0
	// is 1 s.
	Backoff time.Duration
	// Transport is for tests; nil is a transport of its own with the proxy of the environment.
	Transport http.RoundTripper
}

// Refused is an answer with a status of 400 and more.
type Refused struct {
	Op     string
	Status int
	Header http.Header
	Body   []byte
}

// A Call is one request.
type Call struct {
	Op     string // in errors: "create"
	Method string
	Path   string // escaped
	Query  url.Values
	Body   any           // sent as JSON; nil sends none
	Into   any           // pointer for the JSON of the answer; nil reads it and throws it away
	Limit  *rate.Limiter // waited for before each attempt; nil has none
	Within time.Duration // for each attempt; 0 is 30 s
	// Repeat allows to send it again after a broken connection or a status of 500 and more. Only a call
	// that may happen twice can have it. What was refused with RateLimited is always sent again.
	Repeat bool
}

// A Client sends calls to one provider. It is safe for concurrent use.
type Client struct {
	cfg  Config
	http *http.Client
}

// New returns a client. It touches nothing.
func New(cfg Config) *Client {
	cfg.Base = strings.TrimRight(cfg.Base, "/")
	transport := cfg.Transport
	if transport == nil {
		own := http.DefaultTransport.(*http.Transport).Clone()
		own.MaxIdleConnsPerHost = 4
		transport = own
	}
	return &Client{cfg: cfg, http: &http.Client{
		Transport: transport,
		// A redirect would send a POST again as a GET, or the key to another host.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// maxAttempts bounds how often a call is sent; with the pauses between them it ends within two minutes.
const maxAttempts = 6

// Do sends a call and decodes its answer. A refusal is a *gpu.Error. An answer that never came, came in
// part or cannot be read is any other error: whether the provider acted is open then.
func (c *Client) Do(ctx context.Context, call Call) error {
	first := cmp.Or(c.cfg.Backoff, time.Second)
	for attempt, wait := 1, first; ; attempt, wait = attempt+1, min(2*wait, 30*first) {
		err := c.once(ctx, call)
		if err == nil || attempt == maxAttempts || ctx.Err() != nil {
			return err
		}
		pause := wait
		var refused *gpu.Error
		switch {
		case errors.As(err, &refused) && refused.Kind == gpu.RateLimited:
			pause = cmp.Or(refused.After, wait)
		case errors.As(err, &refused) && refused.Kind != gpu.Transient, !call.Repeat:
			return err
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return errors.Join(context.Cause(ctx), err)
		case <-timer.C:
		}
	}
}

func (c *Client) once(ctx context.Context, call Call) error {
	if call.Limit != nil {
		if err := call.Limit.Wait(ctx); err != nil {
			return cmp.Or(context.Cause(ctx), err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(call.Within, defaultTimeout))
	defer cancel()
	req, err := c.request(ctx, call)
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return c.broken(ctx, call, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	switch {
	case err != nil:
		return c.broken(ctx, call, err)
	case len(body) > maxBody:
		return c.broken(ctx, call, fmt.Errorf("the answer is longer than %d MiB", maxBody>>20))
	case resp.StatusCode >= 400:
		return c.refusal(call, resp, body)
	case resp.StatusCode >= 300:
		return &gpu.Error{
			Provider: c.cfg.Provider, Op: call.Op, Kind: gpu.Validation, Status: resp.StatusCode,
			Message: "the server redirects to " + c.clean(resp.Header.Get("Location")) + ", which is not followed",
		}
	case call.Into == nil:
		return nil
	}
	if err := json.Unmarshal(body, call.Into); err != nil {
		return c.broken(ctx, call, fmt.Errorf("the answer is not what it should be: %w: %.80q", err, body))
	}
	return nil
}

func (c *Client) request(ctx context.Context, call Call) (*http.Request, error) {
	target := c.cfg.Base + call.Path
	if len(call.Query) > 0 {
		target += "?" + call.Query.Encode()
	}
	var body io.Reader
	if call.Body != nil {
		data, err := json.Marshal(call.Body)
		if err != nil {
			return nil, c.invalid(call, err)
		}
		body = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, call.Method, target, body)
	if err != nil {
		return nil, c.invalid(call, err)
	}
	req.Header.Set("Authorization", "Bearer "+c.cfg.Key)
	req.Header.Set("User-Agent", "bifrost")
	req.Header.Set("Accept", "application/json")
	if call.Body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return req, nil
}

func (c *Client) invalid(call Call, err error) error {
	return &gpu.Error{Provider: c.cfg.Provider, Op: call.Op, Kind: gpu.Validation, Message: c.clean(err.Error())}
}

// broken is the error of a call without an answer. The context's own cause comes first, so that callers
// see their end of it as theirs.
func (c *Client) broken(ctx context.Context, call Call, err error) error {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
		err = fmt.Errorf("%w: %s", cause, err.Error())
	}
	return &brokenError{text: c.cfg.Provider + " " + call.Op + ": " + c.clean(err.Error()), cause: err}
}

// A brokenError says nothing of the key, whatever its cause would.
type brokenError struct {
	text  string
	cause error
}

func (e *brokenError) Error() string        { return e.text }
func (e *brokenError) Is(target error) bool { return errors.Is(e.cause, target) }

func (c *Client) refusal(call Call, resp *http.Response, body []byte) error {
	refused := &gpu.Error{Provider: c.cfg.Provider, Op: call.Op, Status: resp.StatusCode}
	refused.Kind, refused.Code, refused.Message = c.cfg.Refusal(Refused{Op: call.Op, Status: resp.StatusCode, Header: resp.Header, Body: body})
	if refused.Kind == "" {
		refused.Kind = ByStatus(resp.StatusCode)
	}
	refused.Message = c.clean(cmp.Or(strings.TrimSpace(refused.Message), strings.TrimSpace(string(body)), http.StatusText(resp.StatusCode)))
	if len(refused.Message) > maxMessage {
		refused.Message = strings.ToValidUTF8(refused.Message[:maxMessage], "") + "..."
	}
	if refused.Kind == gpu.RateLimited {
		refused.After = retryAfter(resp.Header.Get("Retry-After"))
	}
	return refused
}

// ByStatus is what a status of 400 and more means where the provider has no other rule.
func ByStatus(status int) gpu.Kind {
	switch status {
	case http.StatusUnauthorized:
		return gpu.Auth
	case http.StatusPaymentRequired:
		return gpu.Funds
	case http.StatusForbidden:
		return gpu.Forbidden
	case http.StatusNotFound:
		return gpu.NotFound
	case http.StatusConflict:
		return gpu.Conflict
	case http.StatusTooManyRequests:
		return gpu.RateLimited
	}
	if status >= 500 {
		return gpu.Transient
	}
	return gpu.Validation
}

// retryAfter reads a Retry-After header: seconds, or a date. 0 means that it says nothing.
func retryAfter(text string) time.Duration {
	if seconds, err := strconv.Atoi(strings.TrimSpace(text)); err == nil {
		return max(0, min(time.Duration(seconds)*time.Second, time.Hour))
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(0, min(time.Until(at), time.Hour))
	}
	return 0
}

// clean takes the key out of a text, and what would disturb a terminal.
func (c *Client) clean(text string) string {
	if c.cfg.Key != "" {
		text = strings.ReplaceAll(text, c.cfg.Key, "<secret>")
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' || r == 0x7f {
			return ' '
		}
		return r
	}, text)
}
