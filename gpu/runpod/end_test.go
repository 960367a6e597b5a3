package runpod_test

import (
	"net"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/bifrost-run/bifrost/gpu"
	"github.com/bifrost-run/bifrost/gpu/gputest"
	"github.com/bifrost-run/bifrost/gpu/gputest/cloud"
)

// TestEndsItself runs the end script on a pod. The server takes a pod's key for that pod and for nothing else,
// which is how the key is described; only a live account can tell whether API v2 does.
func TestEndsItself(t *testing.T) {
	t.Parallel()
	acct, p := account(t, cloud.Options{})
	req, signer := gputest.NewRequest(t, p)
	one := gputest.Create(t, p, req)
	req.Name += "-2"
	other := gputest.Create(t, p, req)

	run := func(env, script, arg string) (string, error) {
		inst, err := p.Get(t.Context(), one.ID)
		if err != nil {
			t.Fatal(err)
		}
		client, err := ssh.Dial("tcp", net.JoinHostPort(inst.Host, strconv.Itoa(inst.Port)), &ssh.ClientConfig{
			User: inst.User, Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)}, HostKeyCallback: ssh.InsecureIgnoreHostKey(),
		})
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		session, err := client.NewSession()
		if err != nil {
			t.Fatal(err)
		}
		session.Stdin = strings.NewReader(script)
		out, err := session.CombinedOutput(env + " sh -s " + arg)
		return string(out), err
	}
	left := func(want ...gpu.Instance) {
		t.Helper()
		var ids, got []string
		for _, inst := range want {
			ids = append(ids, inst.ID)
		}
		for _, m := range acct.Machines() {
			got = append(got, m.ID)
		}
		if strings.Join(got, " ") != strings.Join(ids, " ") {
			t.Errorf("there are %q, want %q", got, ids)
		}
	}
	if out, err := run("", p.EndScript(one.ID), "check"); err != nil {
		t.Errorf("check: %v: %s", err, out)
	}
	if out, err := run("RUNPOD_API_KEY= RUNPOD_POD_ID=", p.EndScript(one.ID), "check"); err == nil || !strings.Contains(out, "RUNPOD_API_KEY") {
		t.Errorf("check without a key: %v: %s", err, out)
	}
	if out, err := run("", p.EndScript(other.ID), ""); err == nil || !strings.Contains(out, "this machine is "+one.ID) {
		t.Errorf("another's script: %v: %s", err, out)
	}
	if out, err := run("RUNPOD_POD_ID="+other.ID, p.EndScript(other.ID), ""); err == nil || !strings.Contains(out, "403") {
		t.Errorf("another's script, believed: %v: %s", err, out)
	}
	if n := len(acct.Calls("terminate")); n != 1 {
		t.Errorf("%d calls of terminate, want the one that was refused", n)
	}
	left(one, other)
	_, _ = run("", p.EndScript(one.ID), "") // the connection ends with the machine
	left(other)
	if _, err := p.Get(t.Context(), one.ID); kindOf(err) != gpu.NotFound {
		t.Errorf("got %v, want kind not_found", err)
	}
	for _, c := range acct.Calls("terminate") {
		if strings.Contains(c.Path+c.Query+c.Body, "pod-key") {
			t.Errorf("a key is in %+v", c)
		}
	}
}
