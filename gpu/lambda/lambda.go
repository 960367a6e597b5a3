// Package lambda rents machines from Lambda (lambda.ai): whole virtual machines with Ubuntu, at one price
// per type of machine.
//
//	p := lambda.New(lambda.Config{Key: key})
//	ref, err := p.RegisterKey(ctx, authorizedKey)
//	offers, err := p.Offers(ctx, gpu.Query{Type: "H100", Count: 8})
//	inst, err := p.Create(ctx, gpu.CreateRequest{Name: name, Offer: offers[0], AuthorizedKey: authorizedKey, KeyRef: ref})
//
// Lambda has no spot machines and no community's, no choice of disk or CUDA, and starts images of its own
// only, no Docker images. Its file systems outlive the machines and are not used; ports are opened for the
// whole account, by hand. A query that wants one of these gets no offers, or a refusal with a word on it. A
// machine has no key of its own with which it could end itself, and Lambda ends none: it costs until it is
// terminated. One whose type has GH200 or GB200 has an ARM processor.
//
// The API is that of Lambda's published description (1.10.0), and as of November 2026 others' clients for
// it. Not seen on a live account: the answer to a machine that cannot be terminated yet, the refusals of
// Lambda's own suppliers (provider/...), and what a preempted machine costs. It depends on gpu/httpapi.
package lambda

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/bifrost-run/bifrost/gpu"
	"github.com/bifrost-run/bifrost/gpu/httpapi"
	"github.com/bifrost-run/bifrost/internal/lazyregexp"
)

// Name is the provider's name in queries, ids and the journal.
const Name = "lambda"

// A Config says which account is used.
type Config struct {
	Key string
	URL string // in place of Lambda's own, without a path; "" is Lambda's own
	// Unpaced leaves out the waits between calls: for tests against a server of one's own.
	Unpaced bool
}

// A Provider is one account at Lambda. Its methods are safe for concurrent use.
type Provider struct {
	api    *httpapi.Client
	limit  *rate.Limiter // of all calls but launches; nil has none
	launch *rate.Limiter

	mu   sync.Mutex
	sick map[string]time.Time // when a machine was first seen as unhealthy, by id
}

// New returns a provider. It touches nothing.
func New(cfg Config) *Provider {
	p := &Provider{sick: map[string]time.Time{}}
	api := httpapi.Config{Provider: Name, Base: cmp.Or(cfg.URL, "https://cloud.lambda.ai"), Key: cfg.Key, Refusal: refusal}
	if cfg.Unpaced {
		api.Backoff = 10 * time.Millisecond
	} else { // as Lambda publishes them
		p.limit = rate.NewLimiter(rate.Every(time.Second), 1)
		p.launch = rate.NewLimiter(rate.Every(12*time.Second), 1)
	}
	p.api = httpapi.New(api)
	return p
}

// Name implements gpu.Provider.
func (p *Provider) Name() string { return Name }

// Account implements gpu.Accounts.
func (p *Provider) Account() string { return p.api.Account() }

func invalid(op, format string, args ...any) error {
	return &gpu.Error{Provider: Name, Op: op, Kind: gpu.Validation, Message: fmt.Sprintf(format, args...)}
}

// codes are what Lambda's codes mean.
var codes = map[string]gpu.Kind{
	"global/invalid-api-key":                                 gpu.Auth,
	"global/account-inactive":                                gpu.Funds, // what it calls an account that has not paid
	"global/invalid-address":                                 gpu.Forbidden,
	"global/forbidden":                                       gpu.Forbidden,
	"global/quota-exceeded":                                  gpu.Quota,
	"global/invalid-parameters":                              gpu.Validation,
	"global/object-does-not-exist":                           gpu.NotFound,
	"global/duplicate":                                       gpu.Conflict,
	"global/conflict":                                        gpu.Conflict,
	"global/not-found":                                       gpu.Validation, // the path: nothing is said of the machine
	"instance-operations/launch/insufficient-capacity":       gpu.NoCapacity,
	"instance-operations/launch/file-system-in-wrong-region": gpu.Validation,
}

// exhausted is what one of Lambda's suppliers says that has no machine left.
var exhausted = lazyregexp.New(`(?i)capacity|exhaust|insufficient|sold.?out|quota|out of`)

// refusal is what a status of 400 and more means. Lambda asks to go by the code alone; where there is none,
// as in the page of a proxy, the status decides, but never that a machine is gone.
func refusal(r httpapi.Refused) (kind gpu.Kind, code, message string) {
	var body struct {
		Error struct {
			Code       string `json:"code"`
			Message    string `json:"message"`
			Suggestion string `json:"suggestion"`
		} `json:"error"`
	}
	_ = json.Unmarshal(r.Body, &body) // what is no JSON has no code
	code, message = body.Error.Code, body.Error.Message
	if hint := body.Error.Suggestion; hint != "" {
		message = strings.TrimPrefix(message+"; "+hint, "; ")
	}
	message = cmp.Or(message, code)
	kind, known := codes[code]
	switch {
	case r.Status == http.StatusTooManyRequests:
		return gpu.RateLimited, code, message
	case strings.HasPrefix(code, "provider/"):
		if r.Op == "create" && exhausted().MatchString(code+" "+message) {
			return gpu.NoCapacity, code, message
		}
		return gpu.Transient, code, message
	case r.Status >= 500 && kind != gpu.NoCapacity:
		return gpu.Transient, code, message // it may have acted, whatever it says
	case r.Op == "create" && kind == gpu.NotFound: // the type, the image or the key
		return gpu.Validation, code, message
	case known:
		return kind, code, message
	case r.Status == http.StatusNotFound:
		return gpu.Validation, code, cmp.Or(message, "status 404 in another form than Lambda's; is the address of its API right?")
	}
	return "", code, message
}
