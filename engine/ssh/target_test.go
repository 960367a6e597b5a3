package ssh_test

import (
	"strings"
	"testing"

	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/engine/ssh"
)

func TestParseTarget(t *testing.T) {
	t.Parallel()
	good := []struct {
		in   string
		want ssh.Target
		text string // "" means in
	}{
		{"host", ssh.Target{Host: "host"}, ""},
		{"root@host", ssh.Target{User: "root", Host: "host"}, ""},
		{"root@host:22", ssh.Target{User: "root", Host: "host", Port: 22}, ""},
		{"host:65535", ssh.Target{Host: "host", Port: 65535}, ""},
		{"user@10.0.0.1:2222", ssh.Target{User: "user", Host: "10.0.0.1", Port: 2222}, ""},
		{"user@[::1]:2222", ssh.Target{User: "user", Host: "::1", Port: 2222}, ""},
		{"[fe80::1%eth0]", ssh.Target{Host: "fe80::1%eth0"}, ""},
		{"::1", ssh.Target{Host: "::1"}, "[::1]"},
		{"ssh://root@host:22", ssh.Target{User: "root", Host: "host", Port: 22}, "root@host:22"},
		{"ssh://host/", ssh.Target{Host: "host"}, "host"},
		{"me@example.com@host", ssh.Target{User: "me@example.com", Host: "host"}, ""},
		{"gpu_1.lab", ssh.Target{Host: "gpu_1.lab"}, ""},
	}
	for _, test := range good {
		got, err := ssh.ParseTarget(test.in)
		if err != nil || got != test.want {
			t.Errorf("ParseTarget(%q) = %+v, %v; want %+v", test.in, got, err, test.want)
			continue
		}
		want := test.text
		if want == "" {
			want = test.in
		}
		if got.String() != want {
			t.Errorf("ParseTarget(%q).String() = %q, want %q", test.in, got.String(), want)
		}
	}
	bad := []struct{ in, says string }{
		{"", "empty"},
		{"ssh://", "empty"},
		{"root@", "no host"},
		{"@host", "no user"},
		{":22", "no host"},
		{"host:", `port ""`},
		{"host:abc", `port "abc"`},
		{"host:0", `port "0"`},
		{"host:99999", `port "99999"`},
		{"host:-1", `port "-1"`},
		{"a b", "space"},
		{" host", "space"},
		{"host\n", "space"},
		{"-oProxyCommand=x", "dash"},
		{"-x@host", "dash"},
		{"root@-host", "dash"},
		{"root:secret@host", "password"},
		{"ssh://host/path", "path"},
		{"host/path", "character"},
		{"a:b:c", "colon"},
		{"[::1", "]"},
		{"[::1]22", "follows"},
		{"[host]:22", "IPv6"},
		{"host;rm", "character"},
	}
	for _, test := range bad {
		got, err := ssh.ParseTarget(test.in)
		if err == nil {
			t.Errorf("ParseTarget(%q) = %+v, want an error", test.in, got)
			continue
		}
		if !strings.Contains(err.Error(), test.says) {
			t.Errorf("ParseTarget(%q): %v, want %q in it", test.in, err, test.says)
		}
		if fault.KindOf(err) != fault.Invalid || fault.HintOf(err) == "" {
			t.Errorf("ParseTarget(%q): kind %s, hint %q", test.in, fault.KindOf(err), fault.HintOf(err))
		}
	}
}

func FuzzParseTarget(f *testing.F) {
	for _, s := range []string{"root@host:22", "user@[::1]:2222", "ssh://a@b", "-x", "a@b@c:1", "[fe80::1%25en0]:1", "host:"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		target, err := ssh.ParseTarget(s)
		if err != nil {
			return
		}
		if target.Host == "" || strings.HasPrefix(target.Host, "-") || strings.HasPrefix(target.User, "-") || target.Port < 0 || target.Port > 65535 {
			t.Errorf("ParseTarget(%q) = %+v", s, target)
		}
		again, err := ssh.ParseTarget(target.String())
		if err != nil || again != target {
			t.Errorf("%q -> %+v -> %q -> %+v, %v", s, target, target.String(), again, err)
		}
	})
}
