package runpod_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bifrost-run/bifrost/gpu"
	"github.com/bifrost-run/bifrost/gpu/gputest"
	"github.com/bifrost-run/bifrost/gpu/gputest/cloud"
)

// TestPods reads pods in all their states, and in those that nobody knows.
func TestPods(t *testing.T) {
	t.Parallel()
	const (
		proxy  = `"proxy": {"host": "ssh.runpod.io", "port": 22, "username": "abc-64411eb2", "command": "ssh abc-64411eb2@ssh.runpod.io"}`
		direct = `"direct": {"host": "203.0.113.9", "port": 17740, "username": "root", "command": "ssh root@203.0.113.9 -p 17740"}`
	)
	for name, test := range map[string]struct {
		fields string
		want   gpu.Instance
	}{
		"provisioning": {`"status": "PROVISIONING", "ssh": {"proxy": null, "direct": null}, "runtime": null, "gpu": null`, gpu.Instance{State: gpu.Starting}},
		"starting":     {`"status": "STARTING", "ssh": {` + proxy + `, "direct": null}, "runtime": {}`, gpu.Instance{State: gpu.Starting}},
		"running, no port": {
			`"status": "RUNNING", "ports": ["22/tcp"], "ssh": {` + proxy + `, "direct": null}, "runtime": {"ports": null}`,
			gpu.Instance{State: gpu.Starting, Message: "its SSH port has no public address yet"},
		},
		"running": {
			`"status": "RUNNING", "ports": ["22/tcp"], "ssh": {` + proxy + `, ` + direct + `}, "gpu": {"id": "NVIDIA  GeForce RTX 4090", "count": 2}, "cost": 0.88, "createdAt": "2026-11-23T10:00:00.5Z", "new": {"a": [1]}`,
			gpu.Instance{
				State: gpu.Running, Host: "203.0.113.9", Port: 17740, User: "root", GPUType: "RTX 4090 24GB", GPUCount: 2, PricePerHour: 0.88,
				Created: time.Date(2026, 11, 23, 10, 0, 0, 5e8, time.UTC),
			},
		},
		"running, no user": {
			`"status": "RUNNING", "ssh": {"direct": {"host": "203.0.113.9", "port": 1, "username": null}}, "gpu": {"id": "NVIDIA A40"}`,
			gpu.Instance{State: gpu.Running, Host: "203.0.113.9", Port: 1, User: "root", GPUType: "A40 48GB", GPUCount: 1},
		},
		"running, without SSH": {
			`"status": "RUNNING", "ports": ["8888/http"], "ssh": {` + proxy + `, "direct": null}`,
			gpu.Instance{State: gpu.Running, Message: "it was created without the port 22/tcp, so there is no SSH to it"},
		},
		"exited, old port": {
			`"status": "EXITED", "ports": ["22/tcp"], "ssh": {` + proxy + `, ` + direct + `}, "cost": 0, "gpu": {"id": "NVIDIA A40", "count": 1}`,
			gpu.Instance{State: gpu.Stopped, Message: "stopped, or its main process ended", GPUType: "A40 48GB", GPUCount: 1},
		},
		"error":      {`"status": "ERROR", "ssh": {` + direct + `}`, gpu.Instance{State: gpu.Failed}},
		"terminated": {`"status": "TERMINATED", "ssh": null`, gpu.Instance{State: gpu.Terminated}},
		"new status": {`"status": "MIGRATING", "ssh": {` + direct + `}`, gpu.Instance{State: gpu.Unknown, Message: `status "MIGRATING"`}},
		"small":      {`"status": "running", "ssh": {` + direct + `}`, gpu.Instance{State: gpu.Unknown, Message: `status "running"`}},
		"no status":  {`"createdAt": "yesterday", "cost": null, "name": null`, gpu.Instance{State: gpu.Unknown, Message: `status ""`}},
		"bare":       {`"status": null, "ports": null, "env": null, "gpu": {"id": null, "count": null}`, gpu.Instance{State: gpu.Unknown, Message: `status ""`}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text := `{"id": "abc", ` + test.fields + `}`
			test.want.Provider, test.want.ID = "runpod", "abc"
			_, p := serve(t, answer{200, text, ""})
			if got, err := p.Get(t.Context(), "abc"); err != nil || got != test.want {
				t.Errorf("got  %+v, %v\nwant %+v", got, err, test.want)
			}
			_, p = serve(t, answer{200, `{"pods": [` + text + `]}`, ""})
			if got, err := p.List(t.Context()); err != nil || len(got) != 1 || got[0] != test.want {
				t.Errorf("listed %+v, %v\nwant   %+v", got, err, test.want)
			}
		})
	}
}

// TestStates is the same through the cloud: what a machine does is what its provider's words say.
func TestStates(t *testing.T) {
	t.Parallel()
	acct, p := account(t, cloud.Options{
		Machine: cloud.Behaviour{Pending: time.Hour, Starting: time.Hour, Ending: time.Hour},
		Quirks:  []cloud.Quirk{cloud.RunpodOldPorts, cloud.RunpodTombstones, cloud.RunpodLatePort},
	})
	req, _ := gputest.NewRequest(t, p)
	id := gputest.Create(t, p, req).ID
	var got []string
	look := func() {
		inst, err := p.Get(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprintf("%s %v", inst.State, inst.Host != ""))
	}
	look()
	acct.Advance(time.Hour)
	look()
	acct.Advance(time.Hour)
	look() // its port comes later
	look()
	look()
	acct.SetState(id, cloud.Stopped, "")
	look()
	acct.SetState(id, cloud.Failed, "")
	look()
	acct.SetState(id, "MIGRATING", "")
	look()
	acct.SetState(id, cloud.Running, "")
	if err := p.Terminate(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	look() // it takes a while to go
	acct.Advance(time.Hour)
	look()
	want := []string{
		"starting false", "starting false", "starting false", "starting false", "running true", "stopped false", "failed false", "unknown false",
		"running true", "terminated false",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ page, calls int }{{0, 1}, {2, 3}, {5, 1}} {
		t.Run(fmt.Sprint(test.page), func(t *testing.T) {
			t.Parallel()
			acct, p := account(t, cloud.Options{Page: test.page})
			req, _ := gputest.NewRequest(t, p)
			var want []string
			for i := range 5 {
				req.Name = fmt.Sprint("bifrost-", i)
				want = append(want, gputest.Create(t, p, req).ID)
			}
			all, err := p.List(t.Context())
			var got []string
			for _, inst := range all {
				got = append(got, inst.ID)
			}
			if err != nil || !slices.Equal(got, want) || len(acct.Calls("list")) != test.calls {
				t.Errorf("got %q, %v with %d calls, want %q with %d", got, err, len(acct.Calls("list")), want, test.calls)
			}
		})
	}
	_, p := serve(t, answer{200, `{"pods": null}`, ""})
	if all, err := p.List(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("no pods: got %v, %v", all, err)
	}
}

// TestIDs: an id is part of a path, so one that is none is not asked for.
func TestIDs(t *testing.T) {
	t.Parallel()
	s, p := serve(t, answer{200, `{"pods": []}`, ""})
	for _, id := range []string{"", ".", "..", "../pods", "a/action", "a?x=1", "a b", "a\nb", "ä"} {
		if _, err := p.Get(t.Context(), id); kindOf(err) != gpu.NotFound {
			t.Errorf("Get(%q): got %v, want kind not_found", id, err)
		}
		if err := p.Terminate(t.Context(), id); err != nil {
			t.Errorf("Terminate(%q): %v", id, err)
		}
	}
	if got := s.requests(); len(got) > 0 {
		t.Errorf("asked %q", got)
	}
}

// TestTerminate: an empty answer of status 204 and one of 404 are both the end; others are errors, and what
// may pass is tried again.
func TestTerminate(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		answers []answer
		want    gpu.Kind
		calls   int
	}{
		{[]answer{{204, "", ""}}, "", 1},
		{[]answer{{404, `{"title": "Not Found", "status": 404, "detail": "pod not found"}`, ""}}, "", 1},
		{[]answer{{500, "", ""}, {502, "<html>", ""}, {429, "", ""}, {204, "", ""}}, "", 4},
		{[]answer{{409, `{"detail": "Pod belongs to a cluster"}`, ""}}, gpu.Conflict, 1},
		{[]answer{{401, `{"detail": "missing bearer token"}`, ""}}, gpu.Auth, 1},
		{[]answer{{403, `{"detail": "access denied"}`, ""}}, gpu.Forbidden, 1},
	} {
		s, p := serve(t, test.answers...)
		err := p.Terminate(t.Context(), "abc")
		want := slices.Repeat([]string{"DELETE /v2/pods/abc"}, test.calls)
		if kindOf(err) != test.want || (err == nil) != (test.want == "") || !slices.Equal(s.requests(), want) {
			t.Errorf("%v: got %v after %q, want kind %q after %q", test.answers, err, s.requests(), test.want, want)
		}
	}
}

// TestNothingIsSaid: no key, neither the account's nor a pod's, is in what is told of a machine.
func TestNothingIsSaid(t *testing.T) {
	t.Parallel()
	acct, p := account(t, cloud.Options{})
	req, _ := gputest.NewRequest(t, p)
	inst := gputest.Create(t, p, req)
	text := fmt.Sprintf("%+v %+v %s", inst, req.Offer, p.EndScript(inst.ID))
	for _, secret := range []string{acct.Key, acct.Machines()[0].Env["RUNPOD_API_KEY"]} {
		if secret == "" || strings.Contains(text, secret) {
			t.Errorf("%q is in %s", secret, text)
		}
	}
}
