// Package prime rents machines from Prime Intellect, which sells those of many others behind one API.
//
//	p := prime.New(prime.Config{Key: key})
//	offers, err := p.Offers(ctx, gpu.Query{Type: "H100", Count: 8})
//
// What it leaves out of what Prime lists, because a query cannot say that it is wanted: offers in euros,
// offers that are paid for some hours in advance, offers that are out of stock, machines without a GPU, and
// clusters. Prime has no volumes, opens no ports on request and starts no Docker images, only those that
// it names itself: a query that wants one of these is refused with a word on it. A machine has no key of
// its own at Prime, so it cannot end itself; and when the balance of an account comes to zero, Prime ends
// all its machines at once.
//
// The API is that of Prime's published description (0.1.0), and as of November 2026 others' clients for it.
// Not seen on a live account: the words of refusals for lack of capacity or funds, and what a deleted
// machine answers. It depends on gpu/httpapi.
package prime

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"github.com/bifrost-run/bifrost/gpu"
	"github.com/bifrost-run/bifrost/gpu/httpapi"
	"github.com/bifrost-run/bifrost/internal/lazyregexp"
)

// Name is the provider's name in queries, ids and the journal.
const Name = "prime"

// A Config says which account is used.
type Config struct {
	Key string // with the permissions availability read, instances read and write, SSH keys read and write
	URL string // in place of Prime's own, without a path; "" is Prime's own
	// Unpaced leaves out the waits between calls: for tests against a server of one's own.
	Unpaced bool
}

// A Provider is one account at Prime. Its methods are safe for concurrent use.
type Provider struct {
	api    *httpapi.Client
	limit  *rate.Limiter // nil has none
	breath time.Duration // before an answer that is wrong at times is asked for again
}

// New returns a provider. It touches nothing.
func New(cfg Config) *Provider {
	p := &Provider{breath: 2500 * time.Millisecond}
	api := httpapi.Config{
		Provider: Name, Base: cmp.Or(cfg.URL, "https://api.primeintellect.ai"), Key: cfg.Key, Refusal: refusal,
	}
	if cfg.Unpaced {
		api.Backoff, p.breath = 10*time.Millisecond, 10*time.Millisecond
	} else {
		// Prime publishes no limit. A listing has some pages, hence the burst.
		p.limit = rate.NewLimiter(rate.Every(time.Second), 4)
	}
	p.api = httpapi.New(api)
	return p
}

// Name implements gpu.Provider.
func (p *Provider) Name() string { return Name }

// Account implements gpu.Accounts.
func (p *Provider) Account() string { return p.api.Account() }

func (p *Provider) invalid(op, format string, args ...any) error {
	return &gpu.Error{Provider: Name, Op: op, Kind: gpu.Validation, Message: fmt.Sprintf(format, args...)}
}

// What a refusal is about shows in its words only, and those are nowhere published. Funds come first: what
// is insufficient may be either.
var (
	fundsWords    = lazyregexp.New(`(?i)\b(funds?|balance|credits?|wallet|payment|billing|top.?up)\b`)
	quotaWords    = lazyregexp.New(`(?i)quota|too many|maximum number|limit (exceeded|reached)|exceed.* limit`)
	capacityWords = lazyregexp.New(`(?i)capacity|stock|availab|insufficient|no longer|sold out`)
)

// refusal is what a status of 400 and more means. Words decide only where the status leaves it open: a
// server that fails may have acted, whatever it says.
func refusal(r httpapi.Refused) (kind gpu.Kind, code, message string) {
	message = explain(r.Body)
	words := cmp.Or(message, string(r.Body))
	switch {
	case r.Status == http.StatusForbidden && strings.Contains(strings.ToLower(words), "not authenticated"):
		return gpu.Auth, "", message
	case r.Op != "create":
		return "", "", message
	}
	switch r.Status {
	case http.StatusNotFound: // something that the offer names is not there any more
		return gpu.NoCapacity, "", message
	case http.StatusBadRequest, http.StatusForbidden, http.StatusConflict:
		switch {
		case fundsWords().MatchString(words):
			kind = gpu.Funds
		case r.Status == http.StatusForbidden:
		case quotaWords().MatchString(words):
			kind = gpu.Quota
		case capacityWords().MatchString(words):
			kind = gpu.NoCapacity
		}
	}
	return kind, "", message
}

// explain reads what a refusal says, in whichever of Prime's forms: a detail that is a text or a list of
// complaints, errors, a message, an error. "" means that it has none of them.
func explain(body []byte) string {
	var form struct {
		Detail  json.RawMessage `json:"detail"`
		Errors  json.RawMessage `json:"errors"`
		Message json.RawMessage `json:"message"`
		Error   json.RawMessage `json:"error"`
	}
	if json.Unmarshal(body, &form) != nil {
		return ""
	}
	return cmp.Or(complaint(form.Detail), complaint(form.Errors), complaint(form.Message), complaint(form.Error))
}

// complaint is one value of a refusal in words.
func complaint(raw json.RawMessage) string {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 {
		return ""
	}
	switch raw[0] {
	case '"':
		var text string
		_ = json.Unmarshal(raw, &text) // it is a part of a text that was read
		return text
	case '[':
		var list []json.RawMessage
		_ = json.Unmarshal(raw, &list)
		var all []string
		for _, entry := range list {
			if text := complaint(entry); text != "" {
				all = append(all, text)
			}
		}
		return strings.Join(all, "; ")
	case '{':
		var one struct {
			Param   json.RawMessage   `json:"param"`
			Loc     []json.RawMessage `json:"loc"`
			Details json.RawMessage   `json:"details"`
			Msg     json.RawMessage   `json:"msg"`
			Message json.RawMessage   `json:"message"`
		}
		if json.Unmarshal(raw, &one) != nil {
			return string(raw)
		}
		where := complaint(one.Param)
		for _, part := range one.Loc {
			if text := cmp.Or(complaint(part), string(part)); text != "body" {
				where = strings.TrimPrefix(where+"."+text, ".")
			}
		}
		what := cmp.Or(complaint(one.Details), complaint(one.Msg), complaint(one.Message))
		if where == "" || what == "" {
			return cmp.Or(where+what, string(raw))
		}
		return where + ": " + what
	}
	return "" // null, a number
}
