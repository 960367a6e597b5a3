package lambda

import (
	"net/http"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/bifrost-run/bifrost/gpu"
	"github.com/bifrost-run/bifrost/gpu/gputest"
	"github.com/bifrost-run/bifrost/gpu/gputest/cloud"
	"github.com/bifrost-run/bifrost/gpu/httpapi"
	"github.com/bifrost-run/bifrost/gpu/local"
)

func TestMain(m *testing.M) {
	if local.RunIfDaemon() {
		return
	}
	os.Exit(m.Run())
}

// account is an account at a Lambda of its own, and the client for it.
func account(t *testing.T, opts cloud.Options) (*cloud.Account, *Provider) {
	t.Helper()
	acct := cloud.New(t, Name, opts)
	return acct, New(Config{Key: acct.Key, URL: acct.URL, Unpaced: true})
}

func TestContract(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	for name, opts := range map[string]cloud.Options{
		"AtOnce":     {},
		"Slow":       {Machine: cloud.Behaviour{Pending: 50 * ms, Starting: 50 * ms, Ending: 100 * ms}, Leave: true},
		"LateIP":     {Quirks: []cloud.Quirk{cloud.LambdaLateIP}},
		"Unknown400": {Quirks: []cloud.Quirk{cloud.LambdaUnknown400}},
		"Lingers":    {Quirks: []cloud.Quirk{cloud.LambdaLingers}},
		"KeyRace":    {Quirks: []cloud.Quirk{cloud.LambdaKeyRace}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			gputest.TestProvider(t, func(t *testing.T) gpu.Provider {
				_, p := account(t, opts)
				return p
			})
		})
	}
}

func TestLogin(t *testing.T) {
	t.Parallel()
	cloud.NeedPort22(t)
	_, p := account(t, cloud.Options{Machine: cloud.Behaviour{Starting: 50 * time.Millisecond}})
	gputest.TestLogin(t, p)
}

// TestRefusals holds what each of Lambda's codes obliges to.
func TestRefusals(t *testing.T) {
	t.Parallel()
	coded := func(code, message string) string {
		return `{"error":{"code":"` + code + `","message":"` + message + `","suggestion":null}}`
	}
	tests := []struct {
		op     string
		status int
		body   string
		want   gpu.Kind // "" leaves it to the status
	}{
		{"list", 401, coded("global/invalid-api-key", "no"), gpu.Auth},
		{"create", 403, coded("global/account-inactive", "no"), gpu.Funds},
		{"create", 403, coded("global/invalid-address", "no"), gpu.Forbidden},
		{"list", 403, coded("global/forbidden", "no"), gpu.Forbidden},
		{"create", 400, coded("instance-operations/launch/insufficient-capacity", "no"), gpu.NoCapacity},
		{"create", 503, coded("instance-operations/launch/insufficient-capacity", "no"), gpu.NoCapacity},
		{"create", 400, coded("global/quota-exceeded", "no"), gpu.Quota},
		{"create", 400, coded("global/invalid-parameters", "capacity"), gpu.Validation}, // the code counts, not the words
		{"create", 400, coded("instance-operations/launch/file-system-in-wrong-region", "no"), gpu.Validation},
		{"create", 400, coded("global/object-does-not-exist", "no key"), gpu.Validation},
		{"create", 404, coded("global/object-does-not-exist", "no image"), gpu.Validation},
		{"get", 404, coded("global/object-does-not-exist", "no"), gpu.NotFound},
		{"get", 400, coded("global/object-does-not-exist", "no"), gpu.NotFound},
		{"terminate", 400, coded("global/object-does-not-exist", "no"), gpu.NotFound},
		{"get", 404, coded("global/not-found", "no such path"), gpu.Validation}, // not that the machine is gone
		{"get", 404, "<html>not here", gpu.Validation},
		{"get", 404, "", gpu.Validation},
		{"create", 404, "", gpu.Validation},
		{"register", 400, coded("global/duplicate", "no"), gpu.Conflict},
		{"terminate", 409, coded("global/conflict", "no"), gpu.Conflict},
		{"list", 500, coded("global/internal-error", "no"), gpu.Transient},
		{"create", 500, coded("global/invalid-parameters", "no"), gpu.Transient}, // it may have acted
		{"create", 500, coded("global/object-does-not-exist", "no"), gpu.Transient},
		{"get", 502, coded("global/object-does-not-exist", "no"), gpu.Transient},
		{"create", 503, coded("provider/internal-unavailable", "Provider unavailable"), gpu.Transient},
		{"create", 400, coded("provider/internal-unavailable", "Provider unavailable"), gpu.Transient},
		{"create", 400, coded("provider/resource-exhausted", "none"), gpu.NoCapacity},
		{"create", 503, coded("provider/launch-failed", "out of capacity"), gpu.NoCapacity},
		{"list", 503, coded("provider/quota", "quota of reads"), gpu.Transient},
		{"create", 429, "Too Many Requests", gpu.RateLimited},
		{"create", 429, coded("global/invalid-parameters", "no"), gpu.RateLimited},
		{"create", 400, "<html>", ""},
		{"create", 403, "error 1010", ""},
		{"create", 402, "", ""},
		{"create", 400, coded("global/new-code", "no"), ""},
		{"create", 502, "<html>", gpu.Transient},
		{"create", 400, `{"error":"text"}`, ""},
		{"create", 400, `null`, ""},
	}
	for _, tt := range tests {
		got, _, _ := refusal(httpapi.Refused{Op: tt.op, Status: tt.status, Header: http.Header{}, Body: []byte(tt.body)})
		if got != tt.want {
			t.Errorf("%s %d %s: got %q, want %q", tt.op, tt.status, tt.body, got, tt.want)
		}
	}
	body := `{"error":{"code":"global/quota-exceeded","message":"too many","suggestion":"ask us"}}`
	if _, code, message := refusal(httpapi.Refused{Status: 400, Body: []byte(body)}); code != "global/quota-exceeded" || message != "too many; ask us" {
		t.Errorf("got %q, %q, want Lambda's code, and its words with what it suggests", code, message)
	}
}

// TestPaces holds the limits that Lambda publishes.
func TestPaces(t *testing.T) {
	t.Parallel()
	p := New(Config{})
	if got := []float64{1 / float64(p.limit.Limit()), 1 / float64(p.launch.Limit())}; !slices.Equal(got, []float64{1, 12}) || p.launch.Burst() != 1 || p.limit.Burst() != 1 {
		t.Errorf("got seconds between calls and launches %v, want 1 and 12", got)
	}
}
