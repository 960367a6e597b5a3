package prime

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bifrost-run/bifrost/gpu"
	"github.com/bifrost-run/bifrost/gpu/gputest"
	"github.com/bifrost-run/bifrost/gpu/gputest/cloud"
)

func TestInstance(t *testing.T) {
	t.Parallel()
	const whole = `{"id": "p1", "name": "bifrost-x", "gpuName": "H100_80GB", "gpuCount": 8, "socket": "SXM5", "priceHr": 31.92, "createdAt": "2026-11-24T12:00:00.5",
		"status": "ACTIVE", "sshConnection": "ubuntu@203.0.113.9", "ip": "203.0.113.9", "installationStatus": "FINISHED", "installationProgress": 100,
		"installationFailure": null, "isSpot": true, "primePortMapping": [{"internal": "80", "external": "8080", "usedBy": "WEB_SERVER"},
		{"internal": "22", "external": "22077", "protocol": "TCP", "usedBy": "SSH", "description": null}], "aNewField": 7}`
	want := gpu.Instance{
		Provider: "prime", ID: "p1", Name: "bifrost-x", State: gpu.Running, Host: "203.0.113.9", Port: 22077, User: "ubuntu", GPUType: "H100 80GB SXM", GPUCount: 8,
		PricePerHour: 31.92, Spot: true, Created: time.Date(2026, 11, 24, 12, 0, 0, 5e8, time.UTC),
	}
	with := func(change func(*gpu.Instance)) gpu.Instance {
		inst := want
		change(&inst)
		return inst
	}
	for _, tt := range []struct {
		name   string
		fields string // in place of the whole's
		want   gpu.Instance
	}{
		{"whole", `{}`, want},
		{"the connection's own port", `{"sshConnection": "ubuntu@203.0.113.9 -p 7"}`, with(func(i *gpu.Instance) { i.Port = 7 })},
		{"no mapping", `{"primePortMapping": null}`, with(func(i *gpu.Instance) { i.Port = 22 })},
		{"another kind of mapping", `{"primePortMapping": {"22": 22077}}`, with(func(i *gpu.Instance) { i.Port = 22 })},
		{"a mapping with numbers", `{"primePortMapping": [{"internal": 22, "external": 22078, "usedBy": "SSH"}]}`, with(func(i *gpu.Instance) { i.Port = 22078 })},
		{"times with a zone", `{"createdAt": "2026-11-24T13:00:00.5+01:00"}`, want},
		{"no time", `{"createdAt": "yesterday"}`, with(func(i *gpu.Instance) { i.Created = time.Time{} })},
		{"nulls", `{"gpuName": null, "gpuCount": null, "socket": null, "priceHr": null, "createdAt": null, "isSpot": null, "primePortMapping": null}`, with(func(i *gpu.Instance) {
			i.GPUType, i.GPUCount, i.PricePerHour, i.Created, i.Spot, i.Port = "", 0, 0, time.Time{}, false, 22
		})},
	} {
		var got pod
		merged := map[string]json.RawMessage{}
		for _, text := range []string{whole, tt.fields} {
			if err := json.Unmarshal([]byte(text), &merged); err != nil {
				t.Fatal(err)
			}
		}
		data, err := json.Marshal(merged)
		if err == nil {
			err = json.Unmarshal(data, &got)
		}
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		inst := got.instance()
		inst.Created = inst.Created.UTC()
		if diff := cmp.Diff(tt.want, inst); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
	}
}

func TestState(t *testing.T) {
	t.Parallel()
	const there = `"sshConnection": "root@203.0.113.9 -p 22077"`
	for _, tt := range []struct {
		json    string
		want    gpu.State
		message string
	}{
		{`{"status": "PROVISIONING", "installationStatus": "PENDING"}`, gpu.Starting, ""},
		{`{"status": "PENDING"}`, gpu.Starting, ""},
		{`{"status": "ACTIVE", "installationStatus": "FINISHED", ` + there + `}`, gpu.Running, ""},
		{`{"status": "ACTIVE", "installationStatus": "ACTIVE", "installationProgress": 100, ` + there + `}`, gpu.Running, ""},
		{`{"status": "ACTIVE", "installationStatus": null, "installationProgress": 100, ` + there + `}`, gpu.Running, ""},
		{`{"status": "ACTIVE", "installationStatus": "ACTIVE", "installationProgress": 99, ` + there + `}`, gpu.Starting, ""},
		{`{"status": "ACTIVE", "installationStatus": null, ` + there + `}`, gpu.Starting, ""},
		{`{"status": "ACTIVE", "installationStatus": "FINISHED", "sshConnection": null}`, gpu.Starting, ""},
		{`{"status": "ACTIVE", "installationStatus": "FINISHED", "sshConnection": [null]}`, gpu.Starting, ""},
		{`{"status": "ACTIVE", "installationStatus": "ERROR", "installationFailure": "no driver", ` + there + `}`, gpu.Failed, "no driver"},
		{`{"status": "PROVISIONING", "installationStatus": "ERROR"}`, gpu.Failed, "its installation is ERROR"},
		{`{"status": "ACTIVE", "installationStatus": "TERMINATED"}`, gpu.Failed, "its installation is TERMINATED"},
		{`{"status": "ERROR", "installationFailure": "no such host"}`, gpu.Failed, "no such host"},
		{`{"status": "ERROR", "installationFailure": {"message": "odd"}}`, gpu.Failed, "odd"},
		{`{"status": "ERROR"}`, gpu.Failed, "Prime calls it ERROR"},
		{`{"status": "STOPPED", "sshConnection": ""}`, gpu.Stopped, ""},
		{`{"status": "DELETING", ` + there + `}`, gpu.Failed, "Prime is deleting it"},
		{`{"status": "TERMINATED", ` + there + `}`, gpu.Terminated, ""},
		{`{"status": "UNKNOWN", "installationStatus": "FINISHED", ` + there + `}`, gpu.Unknown, "Prime calls it UNKNOWN"},
		{`{"status": "RUNNING", "installationStatus": "FINISHED", ` + there + `}`, gpu.Unknown, "Prime calls it RUNNING"},
		{`{"status": null, ` + there + `}`, gpu.Unknown, "Prime calls it"},
	} {
		var p pod
		if err := json.Unmarshal([]byte(tt.json), &p); err != nil {
			t.Errorf("%s: %v", tt.json, err)
			continue
		}
		if inst := p.instance(); inst.State != tt.want || inst.Message != tt.message {
			t.Errorf("%s: got %s, %q; want %s, %q", tt.json, inst.State, inst.Message, tt.want, tt.message)
		}
	}
}

// A machine comes up step by step, and each is told.
func TestGet(t *testing.T) {
	t.Parallel()
	acct, p := account(t, cloud.Options{Machine: cloud.Behaviour{
		Pending: time.Minute, Starting: time.Minute, Ending: time.Minute, Hidden: 10 * time.Second, Dear: 1,
	}})
	req, _ := gputest.NewRequest(t, p)
	made, err := p.Create(t.Context(), req)
	if err != nil || made.State != gpu.Starting || made.Host != "" {
		t.Fatalf("Create: got %+v, %v", made, err)
	}
	at := func(after time.Duration, want gpu.State, reachable bool) {
		t.Helper()
		acct.Advance(after)
		inst, err := p.Get(t.Context(), made.ID)
		if err != nil || inst.State != want || (inst.Host != "") != reachable || inst.Name != req.Name || inst.PricePerHour != req.Offer.PriceTotal+1 {
			t.Errorf("got %+v, %v, want %s, reachable: %v", inst, err, want, reachable)
		}
	}
	at(0, gpu.Starting, false) // its status is not there yet
	at(20*time.Second, gpu.Starting, false)
	at(time.Minute, gpu.Starting, true) // the software comes yet, SSH may be tried
	at(time.Minute, gpu.Running, true)
	acct.SetState(made.ID, "unknown", "")
	at(0, gpu.Unknown, true)
	acct.SetState(made.ID, cloud.Failed, "disk full")
	at(0, gpu.Failed, false)
	if err := p.Terminate(t.Context(), made.ID); err != nil {
		t.Fatal(err)
	}
	at(0, gpu.Failed, true) // it is being deleted, and costs
	acct.Advance(time.Minute)
	if inst, err := p.Get(t.Context(), made.ID); !isNotFound(err) {
		t.Errorf("got %+v, %v, want not_found", inst, err)
	}
}

// What Prime does not know yet cannot be told from what is gone: the caller knows how old it is.
func TestYoung(t *testing.T) {
	t.Parallel()
	acct, p := account(t, cloud.Options{Quirks: []cloud.Quirk{cloud.PrimeLate}, Machine: cloud.Behaviour{Hidden: 10 * time.Second}})
	req, _ := gputest.NewRequest(t, p)
	made, err := p.Create(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	if inst, err := p.Get(t.Context(), made.ID); !isNotFound(err) {
		t.Errorf("Get: got %+v, %v, want not_found", inst, err)
	}
	if err := p.Terminate(t.Context(), made.ID); err != nil {
		t.Errorf("Terminate: %v", err)
	}
	acct.Advance(10 * time.Second)
	if inst, err := p.Get(t.Context(), made.ID); err != nil || inst.State != gpu.Running {
		t.Errorf("Get later: got %+v, %v, want it running: it was not ended", inst, err)
	}
	if err := p.Terminate(t.Context(), made.ID); err != nil {
		t.Errorf("Terminate: %v", err)
	}
}

// What is gone is shown for a while, and is not there.
func TestRemembered(t *testing.T) {
	t.Parallel()
	acct, p := account(t, cloud.Options{Quirks: []cloud.Quirk{cloud.PrimeRemembers}})
	req, _ := gputest.NewRequest(t, p)
	made := gputest.Create(t, p, req)
	acct.Vanish(made.ID) // as when the balance is used up
	inst, err := p.Get(t.Context(), made.ID)
	if err != nil || inst.State != gpu.Terminated {
		t.Errorf("Get: got %+v, %v, want terminated", inst, err)
	}
	if calls := acct.Calls("status"); len(calls) > 0 {
		t.Errorf("asked for the status of what is gone")
	}
	all, err := p.List(t.Context())
	if err != nil || len(all) != 1 || all[0].State != gpu.Terminated {
		t.Errorf("List: got %+v, %v, want it terminated", all, err)
	}
}

func TestListPages(t *testing.T) {
	t.Parallel()
	acct, p := account(t, cloud.Options{Page: 2, Leave: true})
	var want []string
	for range 5 {
		req, _ := gputest.NewRequest(t, p)
		if _, err := p.Create(t.Context(), req); err != nil {
			t.Fatal(err)
		}
		want = append(want, req.Name)
	}
	all, err := p.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, inst := range all {
		got = append(got, inst.Name)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	var queries []string
	for _, call := range acct.Calls("list") {
		queries = append(queries, call.Query)
	}
	if got, want := strings.Join(queries, " "), "limit=100&offset=0 limit=100&offset=2 limit=100&offset=4"; got != want {
		t.Errorf("asked for %s, want %s", got, want)
	}
}

// Calls that may happen twice are sent again until they come through.
func TestRepeats(t *testing.T) {
	t.Parallel()
	for _, kind := range []cloud.Kind{cloud.CutAfter, cloud.ErrorAfter, cloud.BodyCut, cloud.Garbage, cloud.TooMany} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			acct, p := account(t, cloud.Options{})
			req, _ := gputest.NewRequest(t, p)
			made := gputest.Create(t, p, req)
			for op, call := range map[string]func() error{
				"offers": func() error { _, err := p.Offers(t.Context(), gpu.Query{}); return err },
				"get":    func() error { _, err := p.Get(t.Context(), made.ID); return err },
				"status": func() error { _, err := p.Get(t.Context(), made.ID); return err },
				"list":   func() error { _, err := p.List(t.Context()); return err },
				"keys":   func() error { _, err := p.RegisterKey(t.Context(), req.AuthorizedKey); return err },
			} {
				acct.Fault(cloud.Fault{Op: op, Kind: kind, Times: 2})
				if err := call(); err != nil {
					t.Errorf("%s: %v", op, err)
				}
			}
			acct.Fault(cloud.Fault{Op: "terminate", Kind: kind, Times: 2})
			if err := p.Terminate(t.Context(), made.ID); err != nil {
				t.Errorf("terminate: %v", err)
			}
			if left := acct.Machines(); len(left) > 0 {
				t.Errorf("left: %+v", left)
			}
		})
	}
}

func isNotFound(err error) bool {
	var refused *gpu.Error
	return errors.As(err, &refused) && refused.Kind == gpu.NotFound
}

// TestNothingIsNotGone: an answer about something else must not read as a machine that is gone, or as an
// account that has none.
func TestNothingIsNotGone(t *testing.T) {
	t.Parallel()
	for _, body := range []string{`{}`, `{"detail": "try later"}`, `{"data": null}`, `{"data": [], "total_count": 2}`, `{"id": "other", "name": "x", "status": "ACTIVE"}`} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, body) }))
		t.Cleanup(server.Close)
		p := New(Config{URL: server.URL, Key: "k", Unpaced: true})
		if inst, err := p.Get(t.Context(), "pod-1"); err == nil || isNotFound(err) {
			t.Errorf("Get, %s: got %+v, %v, want an error that says nothing of the machine", body, inst, err)
		}
		if all, err := p.List(t.Context()); err == nil {
			t.Errorf("List, %s: got %+v, want an error", body, all)
		}
	}
	acct, p := account(t, cloud.Options{})
	req, _ := gputest.NewRequest(t, p)
	made := gputest.Create(t, p, req)
	acct.Fault(cloud.Fault{Op: "status", Kind: cloud.NotFound, Times: 1})
	if inst, err := p.Get(t.Context(), made.ID); err != nil || inst.Name != req.Name {
		t.Errorf("without a status: got %+v, %v, want what the details tell", inst, err)
	}
}

// TestPageIsNotGone: the page of a proxy with status 404 says nothing of a machine either.
func TestPageIsNotGone(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "<html>", http.StatusNotFound) }))
	defer server.Close()
	p := New(Config{URL: server.URL, Key: "a-key-of-tests", Unpaced: true})
	if inst, err := p.Get(t.Context(), "pod-1"); err == nil || isNotFound(err) {
		t.Errorf("Get: got %+v, %v, want an error that says nothing of the machine", inst, err)
	}
	if err := p.Terminate(t.Context(), "pod-1"); err == nil {
		t.Error("Terminate: got no error")
	}
}
