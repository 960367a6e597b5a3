package runpod_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bifrost-run/bifrost/gpu"
	"github.com/bifrost-run/bifrost/gpu/gputest"
	"github.com/bifrost-run/bifrost/gpu/gputest/cloud"
	"github.com/bifrost-run/bifrost/gpu/local"
	"github.com/bifrost-run/bifrost/gpu/runpod"
)

func TestMain(m *testing.M) {
	if local.RunIfDaemon() {
		return
	}
	os.Exit(m.Run())
}

// account opens an account of the cloud for tests, and the provider for it.
func account(t *testing.T, opts cloud.Options) (*cloud.Account, *runpod.Provider) {
	t.Helper()
	acct := cloud.New(t, runpod.Name, opts)
	return acct, runpod.New(runpod.Config{Key: acct.Key, URL: acct.URL, Unpaced: true})
}

func TestContract(t *testing.T) {
	t.Parallel()
	gputest.TestProvider(t, func(t *testing.T) gpu.Provider {
		_, p := account(t, cloud.Options{Quirks: []cloud.Quirk{cloud.RunpodLatePort, cloud.RunpodEmptyRuntime}})
		return p
	})
}

func TestLogin(t *testing.T) {
	t.Parallel()
	_, p := account(t, cloud.Options{})
	gputest.TestLogin(t, p)
}

// An answer is one that a server gives, whatever is asked.
type answer struct {
	status int
	body   string
	header string // "Name: value"
}

// A server is for bodies that the cloud for tests does not send. It gives its answers in order, the last one
// again and again.
type server struct {
	*httptest.Server
	mu      sync.Mutex
	answers []answer
	asked   []string // method, path and query
	bodies  []string
}

const testKey = "rpa_SECRETSECRETSECRET"

func serve(t *testing.T, answers ...answer) (*server, *runpod.Provider) {
	t.Helper()
	s := &server{answers: answers}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		body, _ := io.ReadAll(r.Body)
		s.asked = append(s.asked, strings.TrimSpace(r.Method+" "+r.URL.RequestURI()))
		s.bodies = append(s.bodies, string(body))
		a := s.answers[0]
		if len(s.answers) > 1 {
			s.answers = s.answers[1:]
		}
		if name, value, ok := strings.Cut(a.header, ": "); ok {
			w.Header().Set(name, value)
		}
		w.WriteHeader(a.status)
		_, _ = io.WriteString(w, a.body)
	}))
	t.Cleanup(s.Close)
	return s, runpod.New(runpod.Config{Key: testKey, URL: s.URL, Unpaced: true})
}

func (s *server) requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.asked)
}

// request is one that Create can send.
func request() gpu.CreateRequest {
	return gpu.CreateRequest{
		Name: "bifrost-train-7f3k-20261124t101500000",
		Offer: gpu.Offer{
			Provider: runpod.Name, ID: "NVIDIA H100 80GB HBM3/SECURE/2", GPUCount: 2, PricePerGPU: 2.99, PriceTotal: 5.98,
			Native: json.RawMessage(`{"GPU": "NVIDIA  H100 80GB HBM3", "Cloud": "SECURE"}`),
		},
		AuthorizedKey: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGJpZnJvc3QgYmlmcm9zdCBiaWZyb3N0IGJpZnJvc3Qh bifrost\n",
	}
}

func kindOf(err error) gpu.Kind {
	var refused *gpu.Error
	if errors.As(err, &refused) {
		return refused.Kind
	}
	return ""
}

// TestRefusals has every row of the published table of errors, and of those that were seen.
func TestRefusals(t *testing.T) {
	t.Parallel()
	problem := func(status int, detail string, errs ...string) answer {
		body, err := json.Marshal(map[string]any{"title": http.StatusText(status), "status": status, "detail": detail, "errors": errs})
		if err != nil {
			t.Fatal(err)
		}
		return answer{status, string(body), "Content-Type: application/problem+json"}
	}
	create := func(p *runpod.Provider) error { _, err := p.Create(t.Context(), request()); return err }
	get := func(p *runpod.Provider) error { _, err := p.Get(t.Context(), "abc"); return err }
	list := func(p *runpod.Provider) error { _, err := p.List(t.Context()); return err }
	offers := func(p *runpod.Provider) error { _, err := p.Offers(t.Context(), gpu.Query{}); return err }
	end := func(p *runpod.Provider) error { return p.Terminate(t.Context(), "abc") }
	const gone = "There are no longer any instances available with the requested specifications. Please refresh and try again."
	for name, test := range map[string]struct {
		answer answer
		call   func(*runpod.Provider) error
		kind   gpu.Kind // "" is an ambiguous error
		text   string
		calls  int
	}{
		"no key":                {problem(401, "missing bearer token"), offers, gpu.Auth, "missing bearer token", 0},
		"bad key at create":     {problem(401, "missing bearer token"), create, gpu.Auth, "missing bearer token", 1},
		"read-only key":         {problem(403, "access denied"), create, gpu.Forbidden, "access denied", 1},
		"balance":               {problem(402, "insufficient balance"), create, gpu.Funds, "insufficient balance", 1},
		"balance without body":  {answer{402, "", ""}, create, gpu.Funds, "payment required", 1},
		"unknown pod":           {problem(404, "pod not found"), get, gpu.NotFound, "pod not found", 1},
		"unknown template":      {problem(404, "template not found"), create, gpu.NotFound, "template not found", 1},
		"no capacity":           {problem(400, gone), create, gpu.NoCapacity, "no longer any instances", 1},
		"no capacity, shouted":  {problem(400, strings.ToUpper(gone)), create, gpu.NoCapacity, "NO LONGER", 1},
		"no capacity, reworded": {problem(400, "this machine does not have the resources to deploy your pod"), create, gpu.NoCapacity, "resources", 1},
		"rule":                  {problem(400, "mounts.persistent and mounts.network are mutually exclusive"), create, gpu.Validation, "mutually exclusive", 1},
		"rule elsewhere":        {problem(400, gone), offers, gpu.Validation, "no longer", 0},
		"schema": {
			problem(422, "Request validation failed.", "$: additional properties 'gpuTypeId' not allowed"), create, gpu.Validation,
			"Request validation failed: $: additional properties 'gpuTypeId' not allowed", 1,
		},
		"missing property": {
			problem(422, "Request validation failed.", "$: additional properties 'gpu' not allowed", "$: missing property 'image'"), create, gpu.Validation,
			"Request validation failed: $: missing property 'image'", 1,
		},
		"image":            {problem(422, "image nosuch/image:1 was not found in the registry"), create, gpu.Validation, "nosuch/image:1", 1},
		"too large":        {problem(413, "the body is larger than 102400 bytes"), create, gpu.Validation, "102400", 1},
		"cluster":          {problem(409, "Pod belongs to a cluster"), end, gpu.Conflict, "cluster", 1},
		"server at create": {problem(500, "internal error"), create, gpu.Transient, "internal error", 1},
		"server at get":    {problem(503, "later"), get, gpu.Transient, "later", 6},
		"throttled for long": {
			answer{429, `{"title":"Too Many Requests","status":429,"detail":"rate limit exceeded for the day window"}`, "Retry-After: 3000"},
			create, gpu.RateLimited, "day window", 1,
		},
		"old API":       {answer{400, `{"error":"create pod: no longer any instances","status":400}`, ""}, create, gpu.Validation, "create pod", 1},
		"a proxy's 404": {answer{404, "<html>", ""}, get, gpu.Transient, "is the address of its API right?", 6},
		"an empty 404":  {answer{404, "", ""}, end, gpu.Transient, "404", 6},
		"a proxy's 400": {answer{400, "<html>", ""}, get, gpu.Validation, "<html>", 1},
		"no id":         {answer{201, "{}", ""}, create, "", "no id", 1},
		"other pod":     {answer{200, `{"id":"xyz","status":"TERMINATED"}`, ""}, get, "", "xyz", 1},
		"no pods":       {answer{200, `{"error":{}}`, ""}, list, "", "no pods", 1},
		"pods no list":  {answer{200, `{"pods":"none"}`, ""}, list, "", "not what it should be", 1},
		"no catalogue":  {answer{200, `{"data":null}`, ""}, offers, "", "no gpus", 0},
		"endless pages": {answer{200, `{"pods":[],"pagination":{"nextCursor":"a","hasNextPage":true}}`, ""}, list, "", "no further page", 2},
		"redirect":      {answer{307, "", "Location: https://elsewhere.example/v2/pods"}, create, gpu.Validation, "elsewhere.example", 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, p := serve(t, test.answer)
			err := test.call(p)
			if kindOf(err) != test.kind || err == nil || !strings.Contains(err.Error(), test.text) {
				t.Errorf("got %v (kind %q), want kind %q and %q", err, kindOf(err), test.kind, test.text)
			}
			if n := len(s.requests()); test.calls > 0 && n != test.calls {
				t.Errorf("%d calls, want %d: %q", n, test.calls, s.requests())
			}
			if err != nil && strings.Contains(err.Error(), testKey) {
				t.Errorf("the error has the key: %v", err)
			}
		})
	}
}

func TestKeyIsNotTold(t *testing.T) {
	t.Parallel()
	_, p := serve(t, answer{401, `{"title":"Unauthorized","status":401,"detail":"invalid token ` + testKey + `"}`, ""})
	if _, err := p.List(t.Context()); err == nil || strings.Contains(err.Error(), testKey) || !strings.Contains(err.Error(), "invalid token") {
		t.Errorf("got %v, want the words without the key", err)
	}
}

// TestThrottled: a 429 says that nothing happened, so even a create is sent again.
func TestThrottled(t *testing.T) {
	t.Parallel()
	s, p := serve(t, answer{429, `{"detail":"slow down"}`, "Retry-After: 0"}, answer{201, `{"id":"abc","name":"n","status":"PROVISIONING"}`, ""})
	inst, err := p.Create(t.Context(), request())
	if err != nil || inst.ID != "abc" || len(s.requests()) != 2 {
		t.Errorf("got %+v, %v after %q", inst, err, s.requests())
	}
	if s.bodies[0] != s.bodies[1] {
		t.Errorf("the second body differs:\n%s\n%s", s.bodies[0], s.bodies[1])
	}
}

// TestLimits: when the account has no calls left for this minute, the error says for how long.
func TestLimits(t *testing.T) {
	t.Parallel()
	acct, p := account(t, cloud.Options{Limits: true})
	for range 60 {
		if _, err := p.List(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		for len(acct.Calls("list")) < 61 {
			runtime.Gosched()
		}
		cancel()
	})
	_, err := p.List(ctx)
	wg.Wait()
	if err == nil {
		t.Error("the 61st call of a minute went well")
	}
	acct.Advance(time.Minute)
	if _, err := p.List(t.Context()); err != nil {
		t.Errorf("a minute later: %v", err)
	}
}
