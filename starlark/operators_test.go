package starlark

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestGuardedOperators compares what the guarded operators and methods do with what the language says.
func TestGuardedOperators(t *testing.T) {
	t.Parallel()
	const script = `
def check(got, want):
    if got != want:
        fail("got %r, want %r" % (got, want))

def main():
    check([2 * 3, 2.5 * 2, 2 * "ab", "ab" * 2, [1] * 2, 2 * (1,), b"x" * 2], [6, 5.0, "abab", "abab", [1, 1], (1, 1), b"xx"])
    check(["" * 5, [] * 5, "x" * 0, "x" * -1, -1 * [1], "" * (1 << 20)], ["", [], "", "", [], ""])
    check([7 % 3, -7 % 3, 7.5 % 2, "%s-%d" % ("a", 1), "%s" % 1, "%%" % (), "%(k)s" % {"k": 2}], [1, 2, 1.5, "a-1", "1", "%", "2"])
    check(["$%.2f" % 3, "%5d|%-10s|%02d" % (1, "x", 1), "%(p).1f" % {"p": 2.25}, "%s" % [1.0]], ["$3.00", "    1|x         |01", "2.2", "[1.0]"])
    check([", ".join(["a", "b"]), ", ".join([]), "-".join(("a",)), "a".join({"x": 1, "y": 2})], ["a, b", "", "a", "xay"])
    check(["aXbX".replace("X", "--"), "aXbX".replace("X", "", 1), "ab".replace("", "-")], ["a--b--", "abX", "-a-b-"])
    check(["{} {}".format(1, 2), "{0}{0}".format("a"), "{k}".format(k = [1]), "{{}}".format()], ["1 2", "aa", "[1]", "{}"])
    check([getattr("{}", "format")(1), getattr(",", "join")(["a", "b"]), getattr("a", "nothing", 3), getattr("a", "upper")()], ["1", "a,b", 3, "A"])
    check([f(["a", "b"]) for f in ["+".join]], ["a+b"])

    x = 2
    x *= 3
    check(x, 6)
    s = "%s!"
    s %= "a"
    check(s, "a!")
    calls = []

    def at(i):
        calls.append(i)
        return i

    items = [2, "%d"]
    items[0] *= 4
    items[at(0)] *= 2
    items[1] %= 5
    check([items, calls], [[16, "5"], [0]])
    same = [1]
    other = same
    same += [2]
    check(other, [1, 2])
    check(type(", ".join), "builtin_function_or_method")
`
	if err := runText(t, &Host{}, script); err != nil {
		t.Error(err)
	}
}

func TestGuardsRefuse(t *testing.T) {
	t.Parallel()
	for _, script := range []string{
		`[0] * (1 << 29)`,
		`(1 << 29) * [0]`,
		`(0,) * (1 << 40)`,
		`"x" * (1 << 27)`,
		`(1 << 500) * "x"`,
		`b"x" * (1 << 27)`,
		"def main():\n    x = 3\n    for _ in range(60):\n        x = x * x\n",
		"def main():\n    x = 3\n    for _ in range(60):\n        x *= x\n",
		"def main():\n    x = {'k': 3}\n    for _ in range(60):\n        x['k'] *= x['k']\n",
		"def main():\n    x = [3]\n    for _ in range(60):\n        x[len('')] = x[0] * x[0]\n",
		`",".join(["x" * (1 << 20)] * 1000)`,
		`getattr(",", "join")(["x" * (1 << 20)] * 1000)`,
		`[j(["x" * (1 << 20)] * 1000) for j in [",".join]]`,
		`("x" * (1 << 20)).replace("x", "y" * (1 << 20))`,
		`("x" * (1 << 20)).replace("", "y" * (1 << 20))`,
		`("{0}" * 100000).format("x" * (1 << 25))`,
		`("{k}" * 100000).format(k = "x" * (1 << 25))`,
		`("%(k)s" * 100000) % {"k": "x" * (1 << 25)}`,
		"def main():\n    x = []\n    for _ in range(1000000):\n        x = [x]\n    print('%s' % (x,))\n",
		"def main():\n    x = []\n    for _ in range(1000000):\n        x = [x]\n    print('{}'.format(x))\n",
	} {
		t.Run(script, func(t *testing.T) {
			t.Parallel()
			err := runText(t, &Host{}, script)
			var limit *LimitError
			if !errors.As(err, &limit) {
				t.Errorf("Exec = %v, want a *LimitError", err)
			}
		})
	}
}

// TestGuardsAreUnseen looks at what users see where something is wrong beside a guard.
func TestGuardsAreUnseen(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ script, want string }{
		{`[1] * "a"`, `unknown binary op: list * string`},
		{`"%d" % "a"`, `%d format: a real number is required, not string`},
		{`{} * 2`, `unknown binary op: dict * int`},
		{`",".join([1])`, `join: in list, want string, got int`},
		{`",".jion([1])`, `string has no .jion field or method`},
		{`(1).format()`, `int has no .format field or method`},
		{`"{}".format()`, `format: tuple index out of range`},
		{`operand(1)`, `undefined: operand`},
	} {
		err := runText(t, &Host{}, test.script)
		if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), operandGuard) {
			t.Errorf("%s: %v, want %q", test.script, err, test.want)
		}
	}
}

func runText(t *testing.T, host *Host, script string) error {
	t.Helper()
	file := filepath.Join(t.TempDir(), "main.star")
	if err := os.WriteFile(file, []byte(script+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := host.Exec(t.Context(), file, nil)
	return err
}

func BenchmarkMultiply(b *testing.B) {
	for _, bench := range []struct{ name, script string }{
		{"guarded", "def main():\n    x = 0\n    for i in range(1000000):\n        x = i * 3\n"},
		{"plus", "def main():\n    x = 0\n    for i in range(1000000):\n        x = i + 3\n"},
	} {
		b.Run(bench.name, func(b *testing.B) {
			file := filepath.Join(b.TempDir(), "main.star")
			if err := os.WriteFile(file, []byte(bench.script), 0o600); err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				if _, err := new(Host).Exec(b.Context(), file, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
