package vast_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/bifrost-run/bifrost/gpu"
	"github.com/bifrost-run/bifrost/gpu/vast"
)

const key = "vast-key-19f2"

// answering makes a provider whose every call has the same answer. calls counts them.
func answering(t *testing.T, status int, body string) (p *vast.Provider, calls *atomic.Int32) {
	t.Helper()
	calls = new(atomic.Int32)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		calls.Add(1)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(srv.Close)
	return vast.New(vast.Config{Key: key, URL: srv.URL, Unpaced: true}), calls
}

// request is one for an offer of a search.
func request() gpu.CreateRequest {
	return gpu.CreateRequest{
		Name:  "bifrost-train-7f3k",
		Offer: gpu.Offer{Provider: vast.Name, ID: "123", GPUType: "RTX 4090 24GB", GPUCount: 1, PriceTotal: 0.4, Native: []byte(`{"ask":123}`)},
		// The comment has a quote: it must not get into the script.
		AuthorizedKey: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEZkp9vN2Jz6EJd1fMKCwxEt0mLG9B0pV7vA4pzKZbPl o'hara@home",
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		status   int
		body     string
		wantKind gpu.Kind
		wantCode string
		wantText string // in the message
	}{
		{"bad key", 401, `{"success":false,"error":"auth_error","msg":"Invalid user key"}`, gpu.Auth, "auth_error", "Invalid user key"},
		{"bad key, as a search has it", 404, `{"success":false,"error":"auth_error","msg":"Invalid user key"}`, gpu.Auth, "auth_error", "Invalid user key"},
		{"bad key, words only", 404, `{"msg":"Invalid user key"}`, gpu.Auth, "", "Invalid user key"},
		{"bad key, nothing said", 401, ``, gpu.Auth, "", "unauthorized"},
		{"offer taken", 404, `{"success":false,"error":"invalid_args","msg":"error 404/3603: no_such_ask Instance type by id 1 is not available.","ask_id":1}`, gpu.NoCapacity, "invalid_args", "no_such_ask"},
		{"offer taken, cancel_unavail", 410, `{"success":false,"error":"no_such_ask","msg":"error 410/3907: no_such_ask Instance type 1 is no longer available."}`, gpu.NoCapacity, "no_such_ask", "no longer available"},
		{"offer taken, status 400", 400, `{"error":"no_such_ask"}`, gpu.NoCapacity, "no_such_ask", "no_such_ask"},
		{"bad body", 400, `{"success":false,"error":"invalid_args","msg":"error 400/3467: Invalid args"}`, gpu.Validation, "invalid_args", "Invalid args"},
		{"bad price", 400, `{"success":false,"error":"invalid_price","msg":"too low"}`, gpu.Validation, "invalid_price", "too low"},
		{"no key for a VM", 400, `{"success":false,"error":"no_ssh_key_for_vm","msg":"add one"}`, gpu.Validation, "no_ssh_key_for_vm", "add one"},
		{"not permitted", 403, `{"success":false,"error":"invalid_args","msg":"error 403/3586: Offer 1 is not your own. Hosts can only rent their own machines."}`, gpu.Forbidden, "invalid_args", "Hosts can only"},
		{"a proxy's 404", 404, `404 page not found`, gpu.Transient, "", "is the address"},
		{"unknown instance", 404, `{"success":false,"error":"not_found","msg":"Instance not found"}`, gpu.NotFound, "not_found", "Instance not found"},
		{"retired", 410, `{"success":false,"error":"deprecated_endpoint","msg":"use /api/v1/instances/ instead"}`, gpu.Validation, "deprecated_endpoint", "version of bifrost is too old: use /api/v1"},
		{"retired, nothing said", 410, ``, gpu.Validation, "", "version of bifrost is too old"},
		{"funds", 400, `{"success":false,"error":"missing_billing","msg":"add a card"}`, gpu.Funds, "missing_billing", "add a card"},
		{"funds, words", 400, `{"success":false,"error":"invalid_args","msg":"Your credit is used up"}`, gpu.Funds, "invalid_args", "credit"},
		{"funds, balance", 403, `{"success":false,"message":"account balance too low"}`, gpu.Funds, "", "balance"},
		{"no lack of funds", 400, `{"msg":"the load balancer has other credentials"}`, gpu.Validation, "", "load balancer"},
		{"funds, status", 402, ``, gpu.Funds, "", "payment required"},
		{"failed with 200", 200, `{"success":false,"error":"auth_error","msg":"Invalid user key"}`, gpu.Auth, "auth_error", "Invalid user key"},
		{"offer taken with 200", 200, `{"success":false,"error":"no_such_ask"}`, gpu.NoCapacity, "no_such_ask", "no_such_ask"},
		{"failed with 200, in words that nobody knows", 200, `{"success":false,"msg":"hm"}`, gpu.Transient, "", "hm"},
		{"too early, plain text", 429, `API requests too frequent endpoint threshold=4.5`, gpu.RateLimited, "", "too frequent"},
		{"too early, detail", 429, `{"detail":"API requests too frequent endpoint threshold=4.5"}`, gpu.RateLimited, "", "API requests too frequent"},
		{"too early, envelope", 429, `{"success":false,"error":"rate_limit_exceeded","msg":"API requests too frequent endpoint threshold=3.0"}`, gpu.RateLimited, "rate_limit_exceeded", "threshold=3.0"},
		{"too early with another status", 400, `API requests too frequent`, gpu.RateLimited, "", "too frequent"},
		{"broken", 500, `{"success":false,"msg":"no_such_ask"}`, gpu.Transient, "", "no_such_ask"},
		{"gateway", 502, `<html>no_such_ask`, gpu.Transient, "", "<html>"},
		{"echo of the key", 400, `{"msg":"bad ` + key + `"}`, gpu.Validation, "", "bad <secret>"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p, calls := answering(t, tt.status, tt.body)
			_, err := p.Create(t.Context(), request())
			var got *gpu.Error
			if !errors.As(err, &got) || got.Kind != tt.wantKind || got.Status != tt.status || got.Code != tt.wantCode || !strings.Contains(got.Message, tt.wantText) {
				t.Errorf("got %#v, want kind %s, status %d, code %q and a message with %q", err, tt.wantKind, tt.status, tt.wantCode, tt.wantText)
			}
			if n := calls.Load(); n != 1 && tt.wantKind != gpu.RateLimited {
				t.Errorf("got %d create calls, want 1", n)
			}
			if err != nil && strings.Contains(err.Error(), key) {
				t.Errorf("got the key in %q", err)
			}
		})
	}
}

// TestGone checks which answers say that a machine is gone, and that no others do.
func TestGone(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name      string
		status    int
		body      string
		gone      bool // for Get
		endedToo  bool // for Terminate
		repeated  bool
		wantErrIs gpu.Kind // of Get, where it is a refusal
	}{
		{"null", 200, `{"instances":null}`, true, true, false, gpu.NotFound},
		{"no entry", 200, `{"instances":[]}`, true, true, false, gpu.NotFound},
		{"404", 404, `{"success":false,"error":"not_found","msg":"Instance not found"}`, true, true, false, gpu.NotFound},
		{"404, other words", 404, `{"success":false,"error":"no_such_instance"}`, true, true, false, gpu.NotFound},
		{"200, failed", 200, `{"success":false,"error":"no_such_instance"}`, true, true, false, gpu.NotFound},
		{"a bad key under 404", 404, `{"success":false,"error":"auth_error","msg":"Invalid user key"}`, false, false, false, gpu.Auth},
		{"a proxy's 404", 404, `<html>not found`, false, false, true, gpu.Transient},
		{"an empty 404", 404, ``, false, false, true, gpu.Transient},
		{"retired", 410, `{"success":false,"error":"deprecated_endpoint"}`, false, false, false, gpu.Validation},
		{"nothing", 200, `{}`, false, true, false, ""},
		{"an instance of nulls", 200, `{"instances":{"id":null}}`, false, true, false, ""},
		{"another instance", 200, `{"instances":{"id":8,"actual_status":"running"}}`, false, true, false, ""},
		{"failed, in words that nobody knows", 200, `{"success":false}`, false, false, true, gpu.Transient},
		{"broken", 503, ``, false, false, true, gpu.Transient},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p, calls := answering(t, tt.status, tt.body)
			inst, err := p.Get(t.Context(), "7")
			var refused *gpu.Error
			errors.As(err, &refused)
			kind := gpu.Kind("")
			if refused != nil {
				kind = refused.Kind
			}
			if err == nil || kind != tt.wantErrIs {
				t.Errorf("Get: got %+v, %v, want kind %q", inst, err, tt.wantErrIs)
			}
			if repeated := calls.Load() > 1; repeated != tt.repeated {
				t.Errorf("Get: got %d calls, want it repeated: %t", calls.Load(), tt.repeated)
			}
			if err := p.Terminate(t.Context(), "7"); (err == nil) != tt.endedToo {
				t.Errorf("Terminate: got %v, want success: %t", err, tt.endedToo)
			}
		})
	}
}

// TestListOfNothing checks that no answer but a list says what the account has.
func TestListOfNothing(t *testing.T) {
	t.Parallel()
	tests := []struct {
		body string
		ok   bool
	}{
		{`{"success":true,"instances":[],"next_token":null}`, true},
		{`{"success":true,"instances_found":0,"instances":null}`, true},
		{`{"success":false,"instances":[]}`, false},
		{`{}`, false},
		{`{"instances":"none"}`, false},
		{`{"instances":[{"label":"bifrost-a"}]}`, false},
		{`{"instances":[7]}`, false},
		{`{"instances":[],"next_token":"same"}`, false},
	}
	for _, tt := range tests {
		p, _ := answering(t, 200, tt.body)
		if all, err := p.List(t.Context()); (err == nil) != tt.ok || len(all) > 0 {
			t.Errorf("%s: got %v, %v, want an empty list: %t", tt.body, all, err, tt.ok)
		}
	}
}
