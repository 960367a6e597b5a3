// Package runpod rents pods of RunPod through its REST API v2.
//
//	p := runpod.New(runpod.Config{Key: os.Getenv("RUNPOD_API_KEY")})
//	offers, err := p.Offers(ctx, gpu.Query{Type: "H100", Count: 2})
//	inst, err := p.Create(ctx, gpu.CreateRequest{Name: name, Offer: offers[0], AuthorizedKey: key})
//
// It depends on package httpapi. What is said here of the API is as of November 2026, from its published
// description; what only an account can tell is marked so.
package runpod

import (
	"cmp"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"github.com/bifrost-run/bifrost/gpu"
	"github.com/bifrost-run/bifrost/gpu/httpapi"
)

// Name is the provider's name.
const Name = "runpod"

const realURL = "https://api.runpod.io"

// A Config says whose account it is.
type Config struct {
	Key     string // of the API
	URL     string // scheme and host; "" is the real one
	Unpaced bool   // no waits between calls, short ones between attempts: for a server of one's own
}

// A Provider rents pods on one account. It has no spot machines: API v2 knows none.
type Provider struct {
	api   *httpapi.Client
	url   string
	limit *rate.Limiter // nil is none
}

// New returns the provider. It touches nothing.
func New(cfg Config) *Provider {
	p := &Provider{url: strings.TrimRight(cmp.Or(cfg.URL, realURL), "/")}
	var backoff time.Duration
	if cfg.Unpaced {
		backoff = 10 * time.Millisecond
	} else {
		p.limit = rate.NewLimiter(rate.Every(time.Second), 5) // the published example has 60 a minute
	}
	p.api = httpapi.New(httpapi.Config{Provider: Name, Base: p.url, Key: cfg.Key, Refusal: refusal, Backoff: backoff})
	return p
}

// Name implements gpu.Provider.
func (p *Provider) Name() string { return Name }

// Account implements gpu.Accounts.
func (p *Provider) Account() string { return p.api.Account() }

// Volumes implements gpu.VolumeKeeper.
func (p *Provider) Volumes() string { return volumePath }

// refusal reads a problem+json body. Kinds are those of the statuses, but that 400 is also how the lack of
// machines is told, in words only.
func refusal(r httpapi.Refused) (kind gpu.Kind, code, message string) {
	var problem struct {
		Title  string
		Detail string
		Errors []string
	}
	_ = json.Unmarshal(r.Body, &problem) // what is none leaves the body to speak for itself
	message = cmp.Or(problem.Detail, problem.Title)
	if message == "" && r.Status == http.StatusNotFound {
		// Some proxy's page, and not RunPod's word that a pod is gone.
		return gpu.Transient, "", "status 404 in another form than RunPod's; is the address of its API right?"
	}
	if wrong := violations(problem.Errors); len(wrong) > 0 {
		message = strings.TrimRight(message, ".") + ": " + strings.Join(wrong, "; ")
	}
	if r.Op == opCreate && r.Status == http.StatusBadRequest && lacksMachines(message) {
		kind = gpu.NoCapacity
	}
	return kind, "", message
}

// violations are the entries that are meant: with a property missing the server also calls those that are
// there and right "not allowed".
func violations(all []string) []string {
	var missing []string
	for _, e := range all {
		if strings.Contains(strings.ToLower(e), "missing") {
			missing = append(missing, e)
		}
	}
	if len(missing) > 0 {
		return missing
	}
	return all
}

func lacksMachines(detail string) bool {
	detail = strings.ToLower(detail)
	for _, words := range []string{"no longer any instances available", "capacity", "resources"} {
		if strings.Contains(detail, words) {
			return true
		}
	}
	return false
}

func refuse(op string, kind gpu.Kind, message string) error {
	return &gpu.Error{Provider: Name, Op: op, Kind: kind, Message: message}
}
