//go:build unix

package ssh_test

import (
	"strings"
	"testing"

	"github.com/bifrost-run/bifrost/engine/enginetest"
	"github.com/bifrost-run/bifrost/engine/ssh"
)

// TestPlaces checks what the other packages' tests rely on: where commands run, and what is missing
// there.
func TestPlaces(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		options enginetest.Options
		home    string // "" means Server.Home
		missing []string
		present []string
	}{
		{"current", enginetest.Options{}, "", nil, []string{"tar"}},
		{"root", enginetest.Options{User: enginetest.Root}, "", nil, []string{"tar", "tmux"}},
		{"plain", enginetest.Options{User: enginetest.Plain}, "", nil, []string{"tar", "tmux"}},
		{"without", enginetest.Options{Without: []string{"tmux", "git", "rsync"}}, "", []string{"tmux", "git", "rsync"}, []string{"tar", "sha256sum"}},
		{"plain without", enginetest.Options{User: enginetest.Plain, Without: []string{"tmux"}}, "", []string{"tmux"}, []string{"git"}},
		{"fish without", enginetest.Options{User: enginetest.Fish, Without: []string{"tmux"}}, "", []string{"tmux"}, []string{"tar"}},
		{"busybox", enginetest.Options{Busybox: true}, "/root", []string{"tmux", "git", "rsync", "python3", "bash"}, []string{"tar", "setsid", "xargs"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := enginetest.OpenSSH(t, test.options)
			c := s.Client(t)
			home := test.home
			if home == "" {
				home = s.Home
			}
			got := run(t, c, ssh.Command{Script: `printf '%s\n' "$HOME"; touch ~/"made here"; test -e /proc/self/stat && test -c /dev/null && echo ok`})
			if want := home + "\nok\n"; got != want {
				t.Errorf("got %q, want %q", got, want)
			}
			for _, name := range append(test.missing, test.present...) {
				got := run(t, c, ssh.Command{Script: "command -v " + name + " || :"})
				if (got == "") != contains(test.missing, name) {
					t.Errorf("%s: got path %q", name, strings.TrimSpace(got))
				}
			}
		})
	}
}

func contains(list []string, s string) bool {
	for _, l := range list {
		if l == s {
			return true
		}
	}
	return false
}
