package httpapi

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/bifrost-run/bifrost/gpu"
)

const (
	maxMessage = 500       // bytes of others' words in an error
	maxAfter   = time.Hour // that a Retry-After is believed
)

// invalid is the error of a call that cannot be sent.
func (c *Client) invalid(call Call, err error) error {
	return &gpu.Error{Provider: c.cfg.Provider, Op: call.Op, Kind: gpu.Validation, Message: c.clean(err.Error())}
}

// A brokenError is that of a call without an answer. It says nothing of the key, whatever its cause would:
// of its cause it shows only what it is, and whether it is that of a connection.
type brokenError struct {
	text  string
	cause error
}

func (e *brokenError) Error() string        { return e.text }
func (e *brokenError) Is(target error) bool { return errors.Is(e.cause, target) }

// As finds a *net.OpError, whose words are those of addresses: a call that ends while it dials was not sent.
func (e *brokenError) As(target any) bool {
	conn, ok := target.(**net.OpError)
	return ok && errors.As(e.cause, conn)
}

// unsent is the error of a call that never left, because the caller's time was over or will be before the
// limit lets it go. It is a refusal as well: nothing has happened.
func (c *Client) unsent(ctx context.Context, call Call) error {
	cause := context.Cause(ctx)
	if cause == nil { // the limiter sees it coming
		cause = context.DeadlineExceeded
	}
	refused := &gpu.Error{
		Provider: c.cfg.Provider, Op: call.Op, Kind: gpu.RateLimited, Message: "not sent: " + c.clean(cause.Error()),
	}
	return &unsentError{refused: refused, cause: cause}
}

type unsentError struct {
	refused *gpu.Error
	cause   error
}

func (e *unsentError) Error() string   { return e.refused.Error() }
func (e *unsentError) Unwrap() []error { return []error{e.refused, e.cause} }

// broken is the error of an attempt without a whole answer. Where the caller's context has ended, its cause
// is the error's: an attempt that took too long is no end of the caller's.
func (c *Client) broken(ctx, attempt context.Context, call Call, err error) error {
	if wrapped := (*url.Error)(nil); errors.As(err, &wrapped) {
		err = wrapped.Err // the address is told below, without its query
	}
	if cause := cmp.Or(context.Cause(ctx), context.Cause(attempt)); cause != nil {
		err = cause
	}
	text := fmt.Sprintf("%s %s: %s: %s", c.cfg.Provider, call.Op, c.host(), err.Error())
	return &brokenError{text: c.clean(text), cause: err}
}

// host is where calls go to, without what a URL may hold of passwords.
func (c *Client) host() string {
	if base, err := url.Parse(c.cfg.Base); err == nil && base.Host != "" {
		return base.Host
	}
	return "the server"
}

// redirect is the error of an answer that sends elsewhere.
func (c *Client) redirect(call Call, resp *http.Response) error {
	return &gpu.Error{
		Provider: c.cfg.Provider, Op: call.Op, Kind: gpu.Validation, Status: resp.StatusCode,
		Message: fmt.Sprintf("%s redirects to %q, which is not followed", c.host(), c.clean(resp.Header.Get("Location"))),
	}
}

func (c *Client) refusal(call Call, resp *http.Response, body []byte) error {
	refused := &gpu.Error{Provider: c.cfg.Provider, Op: call.Op, Status: resp.StatusCode}
	read := c.cfg.Refusal
	if call.Refusal != nil {
		read = call.Refusal
	}
	var message string
	refused.Kind, refused.Code, message = read(Refused{Op: call.Op, Status: resp.StatusCode, Header: resp.Header, Body: body})
	if refused.Kind == "" {
		refused.Kind = ByStatus(resp.StatusCode)
		if refused.Kind == gpu.NotFound && foreign(body) {
			refused.Kind = gpu.Validation // the page of a proxy: a machine that is taken for gone costs on
		}
	}
	refused.Code = c.clean(refused.Code)
	refused.Message = cmp.Or(c.clean(message), c.clean(string(body)), strings.ToLower(http.StatusText(resp.StatusCode)), fmt.Sprintf("status %d", resp.StatusCode))
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
	text = strings.TrimSpace(text)
	if seconds, err := strconv.ParseFloat(text, 64); err == nil && seconds >= 0 {
		return time.Duration(min(seconds, maxAfter.Seconds()) * float64(time.Second))
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(0, min(time.Until(at), maxAfter))
	}
	return 0
}

// clean makes a line for an error of others' words: without the key, without what would disturb a
// terminal, and not too long.
func (c *Client) clean(text string) string {
	text = c.secrets.Replace(text)
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) {
			return ' '
		}
		return r
	}, text)
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > maxMessage {
		text = strings.ToValidUTF8(text[:maxMessage], "") + "..."
	}
	return text
}

// secrets takes a key out of a text, in each of the spellings that it can have in a body, a URL or a
// message about either.
func secrets(key string) *strings.Replacer {
	if key == "" {
		return strings.NewReplacer()
	}
	asJSON, _ := json.Marshal(key) // a string always has its JSON
	quoted := strings.Trim(string(asJSON), `"`)
	var pairs []string
	inGo := strings.Trim(strconv.Quote(key), `"`)
	for _, spelling := range []string{key, quoted, strings.ReplaceAll(quoted, "/", `\/`), inGo, url.QueryEscape(key), url.PathEscape(key)} {
		pairs = append(pairs, spelling, "<secret>")
	}
	return strings.NewReplacer(pairs...)
}
