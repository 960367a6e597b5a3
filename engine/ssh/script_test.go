package ssh_test

import (
	"strings"
	"testing"

	"github.com/bifrost-run/bifrost/engine/ssh"
)

// TestEncode checks what keeps the exec request the same in every login shell.
func TestEncode(t *testing.T) {
	t.Parallel()
	all := make([]byte, 0, 255)
	for i := 1; i < 256; i++ {
		all = append(all, byte(i))
	}
	for name, cmd := range map[string]ssh.Command{
		"inline":   {Script: "printf %s " + ssh.Quote(string(all))},
		"private":  {Script: "true", Private: "A=" + ssh.Quote(string(all))},
		"long":     {Script: "printf %s " + strings.Repeat(ssh.Quote(string(all)), 100)},
		"terminal": {Script: "true", Private: "A=1", Pty: &ssh.Pty{}},
	} {
		exec, stdin, err := ssh.Encode(cmd, ssh.ExecLimitBytes)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if len(exec) > ssh.ExecLimitBytes {
			t.Errorf("%s: %d bytes in the request", name, len(exec))
		}
		inner, ok := strings.CutPrefix(exec, "exec /bin/sh -c '")
		inner, ok2 := strings.CutSuffix(inner, "'")
		if !ok || !ok2 {
			t.Errorf("%s: got %q", name, exec)
		}
		if i := strings.IndexAny(inner, "'!\n\r`^"); i >= 0 {
			t.Errorf("%s: %q in the request", name, inner[i])
		}
		if strings.Contains(inner, `\\`) {
			t.Errorf("%s: two backslashes in a row", name)
		}
		for _, c := range []byte(inner) {
			if c < ' ' || c > '~' {
				t.Errorf("%s: byte %#x in the request", name, c)
				break
			}
		}
		if (name == "inline") != (stdin == nil) {
			t.Errorf("%s: %d bytes for stdin", name, len(stdin))
		}
	}
	secret, _, err := ssh.Encode(ssh.Command{Private: "TOKEN=hush"}, ssh.ExecLimitOpenSSH)
	if err != nil || strings.Contains(secret, "hush") {
		t.Errorf("the private part is in the request: %q, %v", secret, err)
	}
	if _, _, err := ssh.Encode(ssh.Command{Script: "a\x00b"}, ssh.ExecLimitBytes); err == nil {
		t.Error("NUL: no error")
	}
}

func TestQuote(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":       "''",
		"plain":  "plain",
		"a b":    "'a b'",
		"it's":   `'it'\''s'`,
		"a=b":    "'a=b'",
		"~":      "'~'",
		"\xff\n": "'\xff\n'",
	} {
		if got := ssh.Quote(in); got != want {
			t.Errorf("Quote(%q) = %q, want %q", in, got, want)
		}
	}
	for in, want := range map[string]string{
		"~":       `"$HOME"`,
		"~/":      `"$HOME"/`,
		"~/a b":   `"$HOME"/'a b'`,
		"~//x":    `"$HOME"/x`,
		"~user":   "'~user'",
		"-rf":     "./-rf",
		"/a/~/b":  "'/a/~/b'",
		"x/$HOME": "'x/$HOME'",
	} {
		if got := ssh.QuotePath(in); got != want {
			t.Errorf("QuotePath(%q) = %q, want %q", in, got, want)
		}
	}
}
