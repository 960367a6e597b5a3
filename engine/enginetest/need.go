//go:build unix

package enginetest

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// Need skips the test when one of the programs is missing on this machine, or root where "root" is
// asked for. With CI=true in the environment the test fails instead: a check that never runs
// protects nothing.
func Need(t testing.TB, what ...string) {
	t.Helper()
	var missing []string
	for _, w := range what {
		if w == "root" {
			if os.Geteuid() != 0 {
				missing = append(missing, "root")
			}
			continue
		}
		if _, err := program(w); err != nil {
			missing = append(missing, w)
		}
	}
	if missing == nil {
		return
	}
	reason := fmt.Sprintf("this test needs %s", strings.Join(missing, ", "))
	if os.Getenv("CI") == "true" {
		t.Fatal(reason)
	}
	t.Skip(reason)
}

// program finds an executable, also in the folders that an ordinary user's PATH leaves out.
func program(name string) (string, error) {
	if p, err := exec.LookPath(name); err == nil {
		return p, nil
	}
	for _, dir := range []string{"/usr/sbin", "/sbin", "/usr/local/sbin"} {
		if p, err := exec.LookPath(dir + "/" + name); err == nil {
			return p, nil
		}
	}
	return "", exec.ErrNotFound
}
