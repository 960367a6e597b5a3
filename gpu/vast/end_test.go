package vast_test

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/bifrost-run/bifrost/gpu/gputest"
	"github.com/bifrost-run/bifrost/gpu/gputest/cloud"
)

// TestSelfEnd runs the script on a machine of the test's account, which lets the machine's own key end that
// machine only.
func TestSelfEnd(t *testing.T) {
	t.Parallel()
	acct, p := account(t, cloud.Options{})
	gputest.TestSelfEnd(t, p)
	for _, m := range acct.Rented() {
		if script := p.EndScript(m.ID); strings.Contains(script, acct.Key) || strings.Contains(script, m.Env["CONTAINER_API_KEY"]) {
			t.Errorf("a key is in the script of %s", m.ID)
		}
	}
}

func TestEndScriptOfNothing(t *testing.T) {
	t.Parallel()
	_, p := account(t, cloud.Options{})
	for _, id := range []string{"", "x", "7; rm -rf /"} {
		if out, err := exec.CommandContext(t.Context(), "/bin/sh", "-c", p.EndScript(id), "sh", "check").CombinedOutput(); err == nil {
			t.Errorf("%q: got success, %s", id, out)
		}
	}
}
