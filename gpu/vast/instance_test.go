package vast_test

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bifrost-run/bifrost/gpu"
	"github.com/bifrost-run/bifrost/gpu/gputest"
	"github.com/bifrost-run/bifrost/gpu/gputest/cloud"
	"github.com/bifrost-run/bifrost/gpu/vast"
)

func TestStates(t *testing.T) {
	t.Parallel()
	const stopped = `,"cur_state":"stopped","intended_status":"stopped","next_state":"stopped"`
	tests := []struct {
		fields string
		want   gpu.State
	}{
		{`"actual_status":null`, gpu.Starting},
		{`"status_msg":"waiting"`, gpu.Starting},
		{`"actual_status":"created"`, gpu.Starting},
		{`"actual_status":"loading","status_msg":"pulling"`, gpu.Starting},
		{`"actual_status":"scheduling"`, gpu.Starting},
		{`"actual_status":"created","status_msg":"Error: OCI runtime create failed: no such device"`, gpu.Failed},
		{`"actual_status":"running"`, gpu.Running},
		{`"actual_status":"running","intended_status":"stopped"`, gpu.Running},
		{`"actual_status":"stopped"`, gpu.Stopped},
		{`"actual_status":"exited","cur_state":"stopped","intended_status":"running","next_state":"running"`, gpu.Stopped},
		{`"actual_status":"exited"` + stopped, gpu.Failed},
		{`"actual_status":"stopped"` + stopped, gpu.Failed},
		{`"actual_status":null` + stopped, gpu.Failed},
		{`"actual_status":"offline"`, gpu.Unknown},
		{`"actual_status":"unknown"`, gpu.Unknown},
		{`"actual_status":"RUNNING"`, gpu.Unknown},
		{`"actual_status":"teleporting"`, gpu.Unknown},
	}
	for _, tt := range tests {
		p, _ := answering(t, 200, `{"instances":{"id":7,`+tt.fields+`}}`)
		inst, err := p.Get(t.Context(), "7")
		if err != nil || inst.State != tt.want {
			t.Errorf("%s: got %s, %v, want %s", tt.fields, inst.State, err, tt.want)
		}
	}
}

func TestAddress(t *testing.T) {
	t.Parallel()
	const relay = `"ssh_host":"ssh5.vast.ai","ssh_port":14321`
	const ports = `"ports":{"22/tcp":[{"HostIp":"0.0.0.0","HostPort":"41022"}],"8080/tcp":[{"HostIp":"0.0.0.0","HostPort":"41080"}]}`
	tests := []struct {
		name, fields string
		host         string
		port         int
	}{
		{"direct", `"actual_status":"running","public_ipaddr":"203.0.113.4 ",` + ports + "," + relay, "203.0.113.4", 41022},
		{"direct, port as a number", `"actual_status":"running","public_ipaddr":"203.0.113.4","ports":{"22/tcp":[{"HostPort":41022}]}`, "203.0.113.4", 41022},
		{"no ports", `"actual_status":"running","public_ipaddr":"203.0.113.4","ports":null,` + relay, "ssh5.vast.ai", 14321},
		{"no port of SSH", `"actual_status":"running","public_ipaddr":"203.0.113.4","ports":{"8080/tcp":null},` + relay, "ssh5.vast.ai", 14321},
		{"ports of another shape", `"actual_status":"running","public_ipaddr":"203.0.113.4","ports":["22"],` + relay, "ssh5.vast.ai", 14321},
		{"port that is none", `"actual_status":"running","public_ipaddr":"203.0.113.4","ports":{"22/tcp":[{"HostPort":""}]},` + relay, "ssh5.vast.ai", 14321},
		{"no address", `"actual_status":"running","public_ipaddr":null,` + ports + "," + relay, "ssh5.vast.ai", 14321},
		{"relay of jupyter", `"actual_status":"running","image_runtype":"jupyter_direc ssh_proxy",` + relay, "ssh5.vast.ai", 14322},
		{"direct port of jupyter", `"actual_status":"running","image_runtype":"jupyter_direc","public_ipaddr":"203.0.113.4",` + ports + "," + relay, "203.0.113.4", 41022},
		{"not running yet", `"actual_status":"loading",` + relay, "", 0},
		{"nothing", `"actual_status":"running","ssh_host":null,"ssh_port":null`, "", 0},
		{"relay port as text", `"actual_status":"running","ssh_host":"ssh5.vast.ai","ssh_port":"14321"`, "ssh5.vast.ai", 14321},
	}
	for _, tt := range tests {
		p, _ := answering(t, 200, `{"instances":{"id":7,`+tt.fields+`}}`)
		inst, err := p.Get(t.Context(), "7")
		if err != nil || inst.Host != tt.host || inst.Port != tt.port || inst.User != "root" {
			t.Errorf("%s: got %s@%s:%d, %v, want root@%s:%d", tt.name, inst.User, inst.Host, inst.Port, err, tt.host, tt.port)
		}
	}
}

func TestInstance(t *testing.T) {
	t.Parallel()
	p, _ := answering(t, 200, `{"instances":{"id":7654321,"label":"bifrost-9f3c1a","actual_status":"loading","intended_status":"running",
		"cur_state":"running","next_state":"running","status_msg":" pulling ","gpu_name":"A100 SXM4","num_gpus":2,"gpu_ram":40960,
		"dph_base":2.3,"dph_total":2.31,"is_bid":true,"start_date":1795400000.5,"ports":null,"cpu_cores":null,"new_field":{"a":[1]}}}`)
	got, err := p.Get(t.Context(), "7654321")
	if err != nil {
		t.Fatal(err)
	}
	want := gpu.Instance{
		Provider: vast.Name, ID: "7654321", Name: "bifrost-9f3c1a", State: gpu.Starting, Message: "pulling", User: "root", GPUType: "A100 40GB SXM",
		GPUCount: 2, PricePerHour: 2.31, Spot: true, Created: time.Unix(1795400000, 5e8),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	all, err := answeringNulls(t).List(t.Context())
	if want := []gpu.Instance{{Provider: vast.Name, ID: "7", State: gpu.Starting, User: "root"}}; err != nil || !cmp.Equal(all, want) {
		t.Errorf("List of nulls: got %+v, %v, want %+v", all, err, want)
	}
}

// answeringNulls lists one instance that has an id and otherwise null, wherever something is read.
func answeringNulls(t *testing.T) *vast.Provider {
	fields := `"id":7`
	for _, name := range []string{
		"label", "actual_status", "intended_status", "cur_state", "next_state", "status_msg", "gpu_name", "num_gpus", "gpu_ram", "dph_total", "is_bid",
		"image_runtype", "ssh_host", "ssh_port", "public_ipaddr", "ports", "start_date",
	} {
		fields += fmt.Sprintf(`,%q:null`, name)
	}
	p, _ := answering(t, 200, `{"success":null,"next_token":null,"instances":[{`+fields+`}]}`)
	return p
}

func TestListPages(t *testing.T) {
	t.Parallel()
	acct, p := account(t, cloud.Options{Leave: true})
	req, _ := gputest.NewRequest(t, p)
	const machines = 57 // two pages and a part
	for i := range machines {
		req.Name = "bifrost-" + strconv.Itoa(i)
		if _, err := p.Create(t.Context(), req); err != nil {
			t.Fatal(err)
		}
	}
	all, err := p.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, inst := range all {
		seen[inst.Name] = true
	}
	if len(all) != machines || len(seen) != machines || len(acct.Calls("list")) != 3 {
		t.Errorf("got %d instances of %d names in %d calls, want %d, each once, in 3", len(all), len(seen), len(acct.Calls("list")), machines)
	}
}

// TestTerminateIsRepeated checks that no machine lives on because a call to end it came too early.
func TestTerminateIsRepeated(t *testing.T) {
	t.Parallel()
	for _, kind := range []cloud.Kind{cloud.TooMany, cloud.TooManyAfter, cloud.ErrorBefore, cloud.ErrorAfter, cloud.CutBefore, cloud.CutAfter} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			acct, p := account(t, cloud.Options{})
			req, _ := gputest.NewRequest(t, p)
			inst := gputest.Create(t, p, req)
			acct.Fault(cloud.Fault{Op: "terminate", Kind: kind, Times: 1})
			if err := p.Terminate(t.Context(), inst.ID); err != nil || len(acct.Machines()) != 0 {
				t.Errorf("got %v, %d machines, want none", err, len(acct.Machines()))
			}
		})
	}
}
