// Package vast rents machines at Vast.ai, a market of hosts of every quality: containers on machines that
// others own. It speaks the API v0, and v1 where v0 lists no more.
//
//	p := vast.New(vast.Config{Key: os.Getenv("VAST_API_KEY")})
//	offers, err := p.Offers(ctx, gpu.Query{Type: "RTX 4090"})
//	inst, err := p.Create(ctx, gpu.CreateRequest{Name: name, Offer: offers[0], AuthorizedKey: key})
//	err = p.Prepare(ctx, inst.ID, req) // until it succeeds: then the key may log in
//
// It depends on package httpapi. The facts are those that Vast publishes and that clients of it report, as of
// November 2026. Nobody has held against a live account: the words of a refusal for lack of funds, that
// "ssh" calls are refused with 400 or 404 while a contract is young, the names of RTX PRO 6000, GH200 and
// B300 cards, and the script with which a machine ends itself.
package vast

import (
	"cmp"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"github.com/bifrost-run/bifrost/gpu"
	"github.com/bifrost-run/bifrost/gpu/httpapi"
	"github.com/bifrost-run/bifrost/internal/lazyregexp"
)

// Name is the provider's name.
const Name = "vast"

const (
	address = "https://console.vast.ai"
	user    = "root" // the only one on Vast's machines
)

// A Config says which account is used.
type Config struct {
	Key     string // of the account; it needs no scope beyond instances
	URL     string // "" is Vast's own
	Unpaced bool   // leaves out the waits that Vast's limits ask for: for servers of one's own
}

// A Provider rents machines at Vast. It is safe for concurrent use.
type Provider struct {
	api    *httpapi.Client
	url    string
	limits limits
}

// limits are those that Vast publishes for each kind of call: so many seconds between two calls of one
// account. Its answer to a call that comes too early says nothing of how long to wait.
type limits struct{ search, create, get, list, destroy, manage *rate.Limiter }

// New returns the provider for an account. It touches nothing.
func New(cfg Config) *Provider {
	p := &Provider{url: strings.TrimRight(cmp.Or(cfg.URL, address), "/")}
	backoff := 10 * time.Millisecond
	if !cfg.Unpaced {
		backoff = 2 * time.Second
		every := func(seconds float64, burst int) *rate.Limiter {
			return rate.NewLimiter(rate.Every(time.Duration(seconds*float64(time.Second))), burst)
		}
		p.limits = limits{
			search: every(10, 4), // ten a minute; a query is up to three, and may be two queries
			create: every(5, 1), get: every(2.5, 1), list: every(1.5, 1), destroy: every(3.5, 1), manage: every(1.5, 1),
		}
	}
	p.api = httpapi.New(httpapi.Config{Provider: Name, Base: p.url, Key: cfg.Key, Refusal: refusal, Denied: denied, Backoff: backoff})
	return p
}

// Name implements gpu.Provider.
func (p *Provider) Name() string { return Name }

// Account implements gpu.Accounts.
func (p *Provider) Account() string { return p.api.Account() }

// An envelope is what Vast says beside, or instead of, an answer.
type envelope struct {
	Success *bool  `json:"success"`
	Error   string `json:"error"`
	Msg     string `json:"msg"`
	Message string `json:"message"`
	Detail  string `json:"detail"`
}

// denied reports whether an answer with a status of 200 says that the call failed.
func denied(body []byte) bool {
	var e envelope
	return json.Unmarshal(body, &e) == nil && e.Success != nil && !*e.Success
}

// fundsWords are those of a refusal for lack of funds; no source has seen one.
var fundsWords = lazyregexp.New(`\b(credits?|balance|missing_billing|billing|insufficient funds)\b`)

// refusal reads what Vast refuses. Its words tell more than the status: a wrong key is 404 in a search, and
// an offer that somebody else has got is 404 or 410.
func refusal(r httpapi.Refused) (kind gpu.Kind, code, message string) {
	var e envelope
	_ = json.Unmarshal(r.Body, &e) // some refusals are plain text
	message = cmp.Or(e.Msg, e.Message, e.Detail)
	body := strings.ToLower(string(r.Body))
	has := func(words ...string) bool {
		return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(body, w) })
	}
	switch {
	case r.Status >= 500:
		kind = gpu.Transient
	case has("no_such_ask"):
		kind = gpu.NoCapacity
	case has("auth_error", "invalid user key"):
		kind = gpu.Auth
	case r.Status == 429, has("too frequent", "rate_limit_exceeded"):
		kind = gpu.RateLimited
	case r.Status == 410, has("deprecated_endpoint"):
		kind, message = gpu.Validation, "Vast has retired this call, so this version of bifrost is too old: "+cmp.Or(message, string(r.Body))
	case r.Status == 402, fundsWords().MatchString(body):
		kind = gpu.Funds
	case r.Status == 404 && e.Error == "" && message == "":
		// Some proxy's page, and not Vast's word that there is no such machine.
		kind, message = gpu.Transient, "status 404 in another form than Vast's; is the address of its API right?"
	case r.Status < 400 && has("no_such_instance", "not_found"):
		kind = gpu.NotFound
	case r.Status < 400: // nobody knows what it did
		kind = gpu.Transient
	}
	return kind, e.Error, message
}

func refuse(op string, kind gpu.Kind, message string) error {
	return &gpu.Error{Provider: Name, Op: op, Kind: kind, Message: message}
}

// contractID reads an id; Vast's are numbers. One that is not cannot exist.
func contractID(id string) (string, bool) {
	n, err := strconv.ParseInt(id, 10, 64)
	return strconv.FormatInt(n, 10), err == nil && n > 0
}

// A num is a number in an answer, which Vast also gives as a string, and as null where it knows none. What
// is no number at all is 0.
type num float64

// UnmarshalJSON never fails.
func (n *num) UnmarshalJSON(data []byte) error {
	v, err := strconv.ParseFloat(strings.Trim(string(data), `" `), 64)
	if err != nil || v != v || v > 1e18 || v < -1e18 {
		v = 0
	}
	*n = num(v)
	return nil
}

// id is a number that names something; "" when it is none.
func (n num) id() string {
	if n < 1 {
		return ""
	}
	return strconv.FormatInt(int64(n), 10)
}
