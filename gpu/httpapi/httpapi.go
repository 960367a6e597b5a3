// Package httpapi is what the clients of all providers share: one request, one answer. It adds the key,
// keeps to the provider's limits, bounds time and size, follows no redirect, and turns a refusal into a
// *gpu.Error. No error holds the key.
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
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"time"
	"unicode"

	"golang.org/x/time/rate"

	"github.com/bifrost-run/bifrost/gpu"
)

const (
	maxBody = 8 << 20 // bytes of an answer; the longest listings have some hundred kB

	defaultTimeout = 30 * time.Second

	// maxAttempts and maxPauses bound how often a call is sent and how long it waits between. A provider
	// that asks for more time than that gets it from the caller, who knows what else there is to do.
	maxAttempts = 6
	maxPauses   = 2 * time.Minute
)

// A Config describes one provider's API.
type Config struct {
	Provider string
	Base     string // scheme and host, without a slash at the end; a path is put before those of calls
	Key      string // sent as a bearer token, and taken out of every error
	// Refusal reads what a status of 400 and more means; the body may be cut short. A kind that it leaves
	// empty is that of ByStatus, though never NotFound for what is no JSON; a message that it leaves empty is the body's beginning.
	Refusal func(r Refused) (kind gpu.Kind, code, message string)
	// Denied reports whether an answer with a status below 300 is a refusal all the same, which Refusal
	// reads then; nil means that none is.
	Denied func(body []byte) bool
	// Backoff is the pause before a call is sent again, doubled each time up to thirty times as long; 0
	// is 1 s.
	Backoff time.Duration
	// Transport is for tests; nil is a transport of its own with the proxy of the environment.
	Transport http.RoundTripper
}

// Refused is an answer with a status of 400 and more, or one that was Denied.
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
	// that may happen twice can have it. What was refused with RateLimited is always sent again, unless
	// the provider asks for a longer pause than two minutes: then that is the error.
	Repeat bool
	// Refusal stands in for that of the Config; nil leaves it.
	Refusal func(r Refused) (kind gpu.Kind, code, message string)
}

// A Client sends calls to one provider. It is safe for concurrent use.
type Client struct {
	cfg     Config
	http    *http.Client
	secrets *strings.Replacer
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
	return &Client{cfg: cfg, secrets: secrets(cfg.Key), http: &http.Client{
		Transport: transport,
		// A redirect would send a POST again as a GET, or the key to another host.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Account implements gpu.Accounts: the first 32 bits of a hash of the provider's name and the key, which are
// too few to find the key by. "" is no key.
func (c *Client) Account() string {
	if c.cfg.Key == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(c.cfg.Provider + "\x00" + c.cfg.Key))
	return hex.EncodeToString(sum[:4])
}

// Do sends a call and decodes its answer. A refusal is a *gpu.Error. An answer that never came, came in
// part or cannot be read is any other error: whether the provider acted is open then, unless it has a
// *net.OpError of a dial. The end of ctx ends the call at once, and is the error. It is one beside a refusal
// of kind RateLimited where the call was not sent, or was refused and about to be repeated: then it is known
// that nothing has happened.
func (c *Client) Do(ctx context.Context, call Call) error {
	wait := cmp.Or(c.cfg.Backoff, time.Second)
	longest := 30 * wait
	var paused time.Duration
	var last error // of the attempt before
	for attempt := 1; ; attempt++ {
		err := c.once(ctx, call)
		var unsent *unsentError
		if errors.As(err, &unsent) && last != nil { // what was in the way is told, not that time ran out
			return fmt.Errorf("%w; not repeated: %w", last, unsent.cause)
		}
		if err == nil || attempt == maxAttempts || ctx.Err() != nil || unsent != nil {
			return err
		}
		last = err
		pause := wait
		var refused *gpu.Error
		switch {
		case errors.As(err, &refused) && refused.Kind == gpu.RateLimited:
			pause = cmp.Or(refused.After, wait)
		case refused != nil && refused.Kind != gpu.Transient, !call.Repeat:
			return err
		}
		if paused += pause; paused > maxPauses {
			return err
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("%w; not repeated: %w", err, context.Cause(ctx))
		case <-timer.C:
		}
		wait = min(2*wait, longest)
	}
}

func (c *Client) once(ctx context.Context, call Call) error {
	if call.Limit != nil && call.Limit.Wait(ctx) != nil || ctx.Err() != nil {
		return c.unsent(ctx, call)
	}
	req, err := c.request(call)
	if err != nil {
		return err
	}
	within := cmp.Or(call.Within, defaultTimeout)
	attempt, cancel := context.WithTimeoutCause(ctx, within, fmt.Errorf("no whole answer within %s", within))
	defer cancel()
	resp, err := c.http.Do(req.WithContext(attempt))
	if err != nil {
		return c.broken(ctx, attempt, call, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	switch {
	case resp.StatusCode >= 400: // however much of its body came: the status says it
		return c.refusal(call, resp, body)
	case resp.StatusCode >= 300:
		return c.redirect(call, resp)
	case err != nil:
		return c.broken(ctx, attempt, call, err)
	case len(body) > maxBody:
		return c.broken(ctx, attempt, call, fmt.Errorf("the answer is longer than %d MiB", maxBody>>20))
	case c.cfg.Denied != nil && c.cfg.Denied(body):
		return c.refusal(call, resp, body)
	case call.Into == nil:
		return nil
	}
	if err := decode(body, call.Into); err != nil {
		return c.broken(ctx, attempt, call, fmt.Errorf("the answer is not what it should be: %w", err))
	}
	return nil
}

// decode leaves into as it is unless the whole body fits: what a first attempt left there would show
// through in the second.
func decode(body []byte, into any) error {
	fresh := reflect.New(reflect.TypeOf(into).Elem())
	if err := json.Unmarshal(body, fresh.Interface()); err != nil {
		if foreign(body) {
			return fmt.Errorf("%w: %s", err, body)
		}
		return err // the values of what is JSON are nobody's business
	}
	reflect.ValueOf(into).Elem().Set(fresh.Elem())
	return nil
}

// foreign reports whether a body is not even the beginning of an answer in JSON: the page of a proxy.
func foreign(body []byte) bool {
	body = bytes.TrimSpace(body)
	return len(body) > 0 && !bytes.ContainsAny(body[:1], "{[\"")
}

func (c *Client) request(call Call) (*http.Request, error) {
	if strings.ContainsFunc(c.cfg.Key, func(r rune) bool { return unicode.IsControl(r) || r > unicode.MaxASCII }) {
		return nil, &gpu.Error{Provider: c.cfg.Provider, Op: call.Op, Kind: gpu.Auth, Message: "the API key has characters that no key has; is it complete, and on one line?"}
	}
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
	req, err := http.NewRequest(call.Method, target, body)
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
