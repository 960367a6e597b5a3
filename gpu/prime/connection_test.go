package prime

import (
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"testing"
)

func TestParseConnection(t *testing.T) {
	t.Parallel()
	root := func(host string, port int) connection { return connection{user: "root", host: host, port: port} }
	for _, tt := range []struct {
		json string
		want connection // zero is none
	}{
		{`"root@203.0.113.9 -p 22077"`, root("203.0.113.9", 22077)},
		{`"root@203.0.113.9"`, root("203.0.113.9", 0)},
		{`"ubuntu@203.0.113.9"`, connection{user: "ubuntu", host: "203.0.113.9"}},
		{`"ssh root@203.0.113.9 -p 22077"`, root("203.0.113.9", 22077)},
		{`"  ssh   -p 22077  root@203.0.113.9 \n"`, root("203.0.113.9", 22077)},
		{`"root@203.0.113.9 -p22077"`, root("203.0.113.9", 22077)},
		{`"root@203.0.113.9 -p=22077"`, root("203.0.113.9", 22077)},
		{`"ssh -i ~/.ssh/id_ed25519 -o StrictHostKeyChecking=no -A root@203.0.113.9 -p 1"`, root("203.0.113.9", 1)},
		{`"ssh 203.0.113.9 -l ubuntu"`, connection{user: "ubuntu", host: "203.0.113.9"}},
		{`"203.0.113.9"`, root("203.0.113.9", 0)},
		{`"root@203.0.113.9:22077"`, root("203.0.113.9", 22077)},
		{`"ssh://root@203.0.113.9:22077"`, root("203.0.113.9", 22077)},
		{`"root@203.0.113.9:22 -p 22077"`, root("203.0.113.9", 22077)},
		{`"root@node-1.example.com -p 2222"`, root("node-1.example.com", 2222)},
		{`"root@2001:db8::9 -p 22077"`, root("2001:db8::9", 22077)},
		{`"root@[2001:db8::9]:22077"`, root("2001:db8::9", 22077)},
		{`"root@[2001:db8::9]"`, root("2001:db8::9", 0)},
		{`["root@203.0.113.9 -p 22077"]`, root("203.0.113.9", 22077)},
		{`["root@203.0.113.9 -p 1", "root@203.0.113.10 -p 2"]`, root("203.0.113.9", 1)},
		{`[null, "root@203.0.113.10 -p 2"]`, root("203.0.113.10", 2)},
		{`["", "root@203.0.113.10"]`, root("203.0.113.10", 0)},
		{`["ssh", "root@203.0.113.9", "-p", "22077"]`, root("203.0.113.9", 22077)},
		{`["root@203.0.113.9", "-p22077"]`, root("203.0.113.9", 22077)},

		{`null`, connection{}},
		{``, connection{}},
		{`""`, connection{}},
		{`"ssh"`, connection{}},
		{`" "`, connection{}},
		{`[]`, connection{}},
		{`[null]`, connection{}},
		{`[[["root@203.0.113.9"]]]`, connection{}},
		{`7`, connection{}},
		{`{"host": "203.0.113.9"}`, connection{}},
		{`"root@"`, connection{}},
		{`"root@203.0.113.9 -p"`, connection{}},
		{`"root@203.0.113.9 -p 0"`, connection{}},
		{`"root@203.0.113.9 -p 70000"`, connection{}},
		{`"root@203.0.113.9 -p null"`, connection{}},
		{`"root@203.0.113.9:"`, connection{}},
		{`"root@[203.0.113.9"`, connection{}},
		{`"root@[2001:db8::9]22"`, connection{}},
		{`"root@fe80::1%eth0"`, connection{}},
		{`"root@203.0.113.9 reboot"`, connection{}},
		{`"root@$(reboot)"`, connection{}},
		{`"-oProxyCommand=reboot"`, connection{}},
		{`"ro ot@203.0.113.9"`, connection{}},
		{`"@203.0.113.9"`, root("203.0.113.9", 0)},
		{`"a@b@203.0.113.9"`, connection{}},
		{`"Pending..."`, connection{}},
	} {
		got, ok := parseConnection(json.RawMessage(tt.json))
		if !ok {
			got = connection{}
		}
		if got != tt.want {
			t.Errorf("%s: got %+v, %v, want %+v", tt.json, got, ok, tt.want)
		}
	}
}

func FuzzParseConnection(f *testing.F) {
	for _, seed := range []string{
		`"root@203.0.113.9 -p 22077"`, `["ssh", "root@h", "-p", "2"]`, `[null, "ubuntu@[2001:db8::9]:22"]`, `"ssh -l x -o y ssh://h:1"`, `null`, `"-"`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, ok := parseConnection(json.RawMessage(text))
		if !ok {
			return
		}
		if c.user == "" || c.host == "" || c.host[0] == '-' || c.user[0] == '-' || c.port < 0 || c.port > 65535 {
			t.Fatalf("%s: got %+v", text, c)
		}
		if _, err := netip.ParseAddr(c.host); err != nil && !hostName().MatchString(c.host) {
			t.Fatalf("%s: got the host %q", text, c.host)
		}
		plain := c.user + "@" + c.host
		if c.port > 0 {
			plain = c.user + "@" + net.JoinHostPort(c.host, strconv.Itoa(c.port))
		}
		again, ok := parseConnection(fmt.Appendf(nil, "%q", plain))
		if !ok || again != c {
			t.Fatalf("%s: got %+v, and of its plain form %+v, %v", text, c, again, ok)
		}
	})
}
