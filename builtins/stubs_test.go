package builtins

import (
	"os/exec"
	"strings"
	"testing"
)

func TestPythonType(t *testing.T) {
	t.Parallel()
	l := New(nil, Options{})
	for _, test := range []struct {
		kind        string
		param       bool
		want, error string
	}{
		{"str", false, "str", ""},
		{"str or None", true, "str | None", ""},
		{"str or list of str", true, "str | Sequence[str]", ""},
		{"list of offer", false, "list[_Offer]", ""},
		{`"secure" or "community" or None`, true, `Literal["secure"] | Literal["community"] | None`, ""},
		{"function(a, b or c)", true, "Callable[..., Any]", ""},
		{"dict of str to str, secret, prepend(...) or None", true, "Mapping[str, str | _Secret | _Prepend | None]", ""},
		{"(value, error or None)", false, "tuple[Any, _Error | None]", ""},
		{"str, step or a list of these or None", true, "str | _Step | Sequence[str | _Step] | None", ""},
		{"list of (value, error or None)", false, "list[tuple[Any, _Error | None]]", ""},
		{"seconds or str", true, "float | str", ""},
		{"nosuch", false, "", `the type "nosuch" has no counterpart in Python: teach pythonType`},
		{"list of nosuch", false, "", `the type "nosuch" has no counterpart in Python: teach pythonType`},
		{"", false, "", `the type "" has no counterpart in Python: teach pythonType`},
	} {
		got, err := pythonType(l, test.kind, test.param)
		if text := errorText(err); text != test.error || err == nil && got != test.want {
			t.Errorf("pythonType(%q) = %q, error %q, want %q, error %q", test.kind, got, text, test.want, test.error)
		}
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// TestStubs fails for a kind that Python has no counterpart of, and for stubs that Python cannot read.
func TestStubs(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	if err := WriteStubs(&b); err != nil {
		t.Fatal(err)
	}
	l := New(nil, Options{})
	l.Walk(func(owner string, e *Entry) {
		if !strings.Contains(b.String(), "def "+e.Name+"(") && !pythonsOwn[e.Name] && !strings.Contains(b.String(), "\n"+e.Name+": _") {
			t.Errorf("the stubs have no %s of %s", e.Name, owner)
		}
	})
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Log("no python3: the stubs are not parsed")
		return
	}
	cmd := exec.Command(python, "-c", "import ast, sys; ast.parse(sys.stdin.read())")
	cmd.Stdin = strings.NewReader(b.String())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("python3 cannot parse the stubs: %v\n%s", err, out)
	}
}
