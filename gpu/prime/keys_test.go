package prime

import (
	"strings"
	"testing"

	"github.com/bifrost-run/bifrost/gpu/gputest/cloud"
)

const (
	laptopKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFzsHHCTgTPMQOQDmRcSXDIpJRXpQZcHmJbNkcPZl4Ai" // the account's own
	newKey    = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGLWPJyTYAYmKcq0LFmMMRC9RW3bTKVbyEpsLhpQXrMM"
)

func TestRegisterKey(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		fault cloud.Fault
		key   string
		ref   string // "" is a new one
		added int    // calls
	}{
		{"known under another comment", cloud.Fault{Op: "none"}, laptopKey + " me@elsewhere\n", "key-of-a-laptop", 0},
		{"new", cloud.Fault{Op: "none"}, newKey + " bifrost", "", 1},
		{"the answer is lost", cloud.Fault{Op: "register", Kind: cloud.CutAfter, Times: 1}, newKey, "", 1},
		{"the answer is cut", cloud.Fault{Op: "register", Kind: cloud.BodyCut, Times: 1}, newKey, "", 1},
		{"the server fails after it", cloud.Fault{Op: "register", Kind: cloud.ErrorAfter, Times: 1}, newKey, "", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			acct, p := account(t, cloud.Options{Page: 1})
			acct.Fault(tt.fault)
			ref, err := p.RegisterKey(t.Context(), tt.key)
			if err != nil || ref == "" || tt.ref != "" && ref != tt.ref || tt.ref == "" && ref == "key-of-a-laptop" {
				t.Fatalf("got %q, %v, want %q", ref, err, tt.ref)
			}
			if again, err := p.RegisterKey(t.Context(), tt.key); err != nil || again != ref {
				t.Errorf("the second time: got %q, %v, want %q", again, err, ref)
			}
			added := acct.Calls("register")
			if len(added) != tt.added {
				t.Errorf("registered %d times, want %d", len(added), tt.added)
			}
			if tt.added > 0 && (!strings.Contains(added[0].Body, newKey+`"`) || !strings.Contains(added[0].Body, `"name":"bifrost-`)) {
				t.Errorf("registered as %s", added[0].Body)
			}
		})
	}
	_, p := account(t, cloud.Options{})
	if ref, err := p.RegisterKey(t.Context(), "no key"); err == nil {
		t.Errorf("got %q of what is no key", ref)
	}
}

func TestRegisterKeyFails(t *testing.T) {
	t.Parallel()
	acct, p := account(t, cloud.Options{})
	acct.Fault(cloud.Fault{Op: "register", Kind: cloud.Forbidden})
	if ref, err := p.RegisterKey(t.Context(), newKey); err == nil || !strings.Contains(err.Error(), "Missing permission") {
		t.Errorf("got %q, %v, want the refusal", ref, err)
	}
}
