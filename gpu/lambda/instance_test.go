package lambda

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/bifrost-run/bifrost/gpu"
	"github.com/bifrost-run/bifrost/gpu/gputest"
	"github.com/bifrost-run/bifrost/gpu/gputest/cloud"
)

func TestStates(t *testing.T) {
	t.Parallel()
	tests := []struct {
		body string // of the machine
		want gpu.State
		why  string // a part of the message
	}{
		{`{"status":"booting"}`, gpu.Starting, ""},
		{`{"status":"booting","ip":null}`, gpu.Starting, ""},
		{`{"status":"active","ip":"198.51.100.2"}`, gpu.Running, ""},
		{`{"status":"active"}`, gpu.Starting, "no address"},
		{`{"status":"active","ip":null}`, gpu.Starting, "no address"},
		{`{"status":"unhealthy","ip":"198.51.100.2"}`, gpu.Failed, "unhealthy"},
		{`{"status":"preempted"}`, gpu.Failed, "taken it back"},
		{`{"status":"terminating","ip":"198.51.100.2"}`, gpu.Failed, "terminating"},
		{`{"status":"terminated"}`, gpu.Terminated, ""},
		{`{"status":"hibernating","ip":"198.51.100.2"}`, gpu.Unknown, `"hibernating"`},
		{`{"status":"ACTIVE","ip":"198.51.100.2"}`, gpu.Unknown, `"ACTIVE"`},
		{`{"status":null}`, gpu.Unknown, ""},
		{`{}`, gpu.Unknown, ""},
	}
	for _, tt := range tests {
		var m machine
		if err := json.Unmarshal([]byte(tt.body), &m); err != nil {
			t.Fatal(err)
		}
		if got, why := m.state(); got != tt.want || !strings.Contains(why, tt.why) {
			t.Errorf("%s: got %s, %q, want %s, %q", tt.body, got, why, tt.want, tt.why)
		}
	}
}

// TestUnhealthy checks that a machine gets two minutes to recover.
func TestUnhealthy(t *testing.T) {
	t.Parallel()
	p := New(Config{})
	now := time.Now()
	for _, step := range []struct {
		status string
		after  time.Duration
		want   time.Duration
	}{
		{"unhealthy", 0, 1}, // known, and no time at all
		{"unhealthy", time.Minute, time.Minute},
		{"active", 90 * time.Second, 0},
		{"unhealthy", 100 * time.Second, 1}, // it counts anew
		{"unhealthy", 220 * time.Second, 2 * time.Minute},
	} {
		if got := p.unhealthy(machine{ID: "m", Status: step.status}, now.Add(step.after)); got != step.want {
			t.Errorf("%s after %v: got unhealthy for %v, want %v", step.status, step.after, got, step.want)
		}
	}
	long := machine{ID: "long", Status: "unhealthy"}
	p.unhealthy(long, now.Add(-3*time.Minute))
	for m, want := range map[string]gpu.State{"long": gpu.Failed, "short": gpu.Unknown} {
		if got := p.instance(machine{ID: m, Status: "unhealthy"}); got.State != want || got.Message == "" {
			t.Errorf("%s: got %s, %q, want %s and why", m, got.State, got.Message, want)
		}
	}
}

func TestUnhealthyAtLambda(t *testing.T) {
	t.Parallel()
	_, p := account(t, cloud.Options{Machine: cloud.Behaviour{Fails: true}})
	req, _ := gputest.NewRequest(t, p)
	inst := gputest.Create(t, p, req)
	got, err := p.Get(t.Context(), inst.ID)
	if err != nil || got.State != gpu.Unknown || got.Message != "Lambda calls it unhealthy" {
		t.Errorf("got %+v, %v, want unknown for now", got, err)
	}
	p.sick[inst.ID] = time.Now().Add(-patience)
	all, err := p.List(t.Context())
	if err != nil || len(all) != 1 || all[0].State != gpu.Failed {
		t.Errorf("got %+v, %v, want failed", all, err)
	}
}

func TestInstance(t *testing.T) {
	t.Parallel()
	dear := cloud.Options{Machine: cloud.Behaviour{Dear: 1}}
	_, p := account(t, dear)
	req, _ := gputest.NewRequest(t, p)
	inst := gputest.Create(t, p, req)
	got, err := p.Get(t.Context(), inst.ID)
	if err != nil || got.PricePerHour != 2.49 || got.GPUType != "GH200 96GB" || got.GPUCount != 1 || got.HostKey != "" {
		t.Errorf("got %+v, %v, want its own price", got, err)
	}
	// What was not made by bifrost, or is told with the least that must be told.
	_, p = account(t, cloud.Options{Quirks: []cloud.Quirk{cloud.LambdaBare}})
	req, _ = gputest.NewRequest(t, p)
	inst = gputest.Create(t, p, req)
	got, err = p.Get(t.Context(), inst.ID)
	if err != nil || got.Name != "" || !got.Created.IsZero() || got.Host != "" || got.State != gpu.Starting {
		t.Errorf("got %+v, %v, want that its name and time are unknown", got, err)
	}
	// A status that nobody has heard of.
	acct, p := account(t, cloud.Options{})
	req, _ = gputest.NewRequest(t, p)
	inst = gputest.Create(t, p, req)
	acct.SetState(inst.ID, "hibernating", "")
	if all, err := p.List(t.Context()); err != nil || len(all) != 1 || all[0].State != gpu.Unknown {
		t.Errorf("got %+v, %v, want unknown", all, err)
	}
}

func TestStrangeAnswers(t *testing.T) {
	t.Parallel()
	const id = "0920582c7ff041399e34823a0be62549"
	for _, body := range []string{`{}`, `{"data":null}`, `{"data":{}}`, `{"data":{"id":"another","status":"active"}}`, `{"data":7}`, `<html>`, `null`, ``} {
		t.Run(body, func(t *testing.T) {
			t.Parallel()
			p := fixed(t, 200, body)
			if inst, err := p.Get(t.Context(), id); err == nil || kindOf(err) != "" {
				t.Errorf("get: got %+v, %v, want an error that says nothing of the machine", inst, err)
			}
			if all, err := p.List(t.Context()); err == nil {
				t.Errorf("list: got %v, want an error: none are none only where Lambda says so", all)
			}
			if err := p.Terminate(t.Context(), id); err == nil {
				t.Error("terminate: got nothing, want an error")
			}
		})
	}
	if all, err := fixed(t, 200, `{"data":[]}`).List(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("got %v, %v, want none", all, err)
	}
	// A page of a proxy, or another server at this address, is no word on the machine.
	for _, body := range []string{"<html>not found", `{"error":{"code":"global/not-found","message":"x"}}`, `{"detail":"Not Found"}`} {
		p := fixed(t, 404, body)
		if _, err := p.Get(t.Context(), id); kindOf(err) != gpu.Validation {
			t.Errorf("get: got %v, want not that it is gone", err)
		} else if !strings.Contains(body, "code") && !strings.Contains(err.Error(), "is the address of its API right?") {
			t.Errorf("get: got %v, want a way out", err)
		}
		if err := p.Terminate(t.Context(), id); err == nil {
			t.Error("terminate: got nothing, want an error")
		}
	}
}

func TestTerminate(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		opts   cloud.Options
		fault  cloud.Fault
		want   []gpu.Kind // of the calls; "" is success
		before func(*cloud.Account)
	}{
		{name: "twice", want: []gpu.Kind{"", ""}},
		{name: "slowly", opts: cloud.Options{Machine: cloud.Behaviour{Ending: time.Hour}, Leave: true}, want: []gpu.Kind{"", ""}},
		{
			name: "not yet", opts: cloud.Options{Quirks: []cloud.Quirk{cloud.LambdaNotYet}, Machine: cloud.Behaviour{Starting: time.Hour}},
			want: []gpu.Kind{gpu.Conflict, gpu.Conflict},
		},
		{name: "at another action", opts: cloud.Options{Quirks: []cloud.Quirk{cloud.LambdaBusy}}, want: []gpu.Kind{gpu.Conflict, ""}},
		{name: "refused for its rate", fault: cloud.Fault{Op: "terminate", Kind: cloud.TooMany, Times: 3}, want: []gpu.Kind{""}},
		{name: "500 after it was done", fault: cloud.Fault{Op: "terminate", Kind: cloud.ErrorAfter, Times: 1}, want: []gpu.Kind{""}},
		{name: "cut after it was done", fault: cloud.Fault{Op: "terminate", Kind: cloud.BodyCut, Times: 1}, want: []gpu.Kind{""}},
		{name: "no key", fault: cloud.Fault{Op: "terminate", Kind: cloud.BadKey, Times: 1}, want: []gpu.Kind{gpu.Auth, ""}},
		{
			name: "pages instead of refusals", opts: cloud.Options{Quirks: []cloud.Quirk{cloud.LambdaNoJSON}}, want: []gpu.Kind{gpu.Validation},
			before: func(a *cloud.Account) { a.Vanish(a.Rented()[0].ID) },
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			acct, p := account(t, tt.opts)
			req, _ := gputest.NewRequest(t, p)
			inst, err := p.Create(t.Context(), req)
			if err != nil {
				t.Fatal(err)
			}
			if tt.before != nil {
				tt.before(acct)
			}
			if tt.fault.Op != "" {
				acct.Fault(tt.fault)
			}
			for i, want := range tt.want {
				err := p.Terminate(t.Context(), inst.ID)
				if kindOf(err) != want || (err == nil) != (want == "") {
					t.Errorf("call %d: got %v, want kind %q", i+1, err, want)
				}
				if want == gpu.Conflict && !strings.Contains(err.Error(), "cannot be terminated yet: ") {
					t.Errorf("call %d: got %v, want Lambda's reason", i+1, err)
				}
			}
			if tt.name == "not yet" {
				acct.Advance(time.Hour)
				if err := p.Terminate(t.Context(), inst.ID); err != nil {
					t.Error(err)
				}
			}
		})
	}
}
