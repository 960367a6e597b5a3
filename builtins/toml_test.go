package builtins

import (
	"strings"
	"testing"
)

// TestTOMLDumps writes values and reads them back.
func TestTOMLDumps(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]string{
		`{}`:                                                          "",
		`{"b": 1, "a": [1, 2.5, "x", True]}`:                          "b = 1\na = [1, 2.5, \"x\", true]\n",
		`{"t": {"x": 1, "u": {"y": 2}}, "k": 3}`:                      "k = 3\n\n[t]\nx = 1\n\n[t.u]\ny = 2\n",
		`{"l": [{"a": 1}, {"b": {"c": 2}}]}`:                          "[[l]]\na = 1\n\n[[l]]\n\n[l.b]\nc = 2\n",
		`{"m": [1, {"a": 1, "b": []}]}`:                               "m = [1, { a = 1, b = [] }]\n",
		`{"x y": "a\"\n\té", "": ""}`:                                 "\"x y\" = \"a\\\"\\n\\té\"\n\"\" = \"\"\n",
		`{"f": [1e16, 1e-7, float("inf"), -0.0, 1.0]}`:                "f = [1.0e+16, 1.0e-07, inf, -0.0, 1.0]\n",
		`{"d": datetime(2024, 5, 6, 7, 8, 9, tzinfo = timezone.utc)}`: "d = 2024-05-06T07:08:09+00:00\n",
		`{"e": {}}`: "[e]\n",
	} {
		got, err := evaluate(t, "toml.dumps("+value+")")
		if err != nil || pythonRepr(got) != pythonQuote(want) {
			t.Errorf("dumps(%s) = %s, %v, want %q", value, pythonRepr(got), err, want)
		}
		if same, err := evaluate(t, "toml.loads(toml.dumps("+value+")) == "+value); err != nil || !bool(same.Truth()) {
			t.Errorf("%s: what was written reads otherwise: %v", value, err)
		}
	}
}

func TestTOMLDumpsRefuses(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]string{
		`[1]`:                "data: got list, want a dict, a struct or a record",
		`{"a": {"b": None}}`: "a.b: TOML has no None",
		`{"a": [1, len]}`:    "a[1]: TOML has nothing for a value of type builtin_function_or_method",
		`{1: 2}`:             "[1]: the key is of type int",
		`{"n": 1 << 64}`:     "n: TOML has no int of more than 64 bits",
		`{"env": {"HF_TOKEN": secret("HF_TOKEN")}}`: "env.HF_TOKEN: <secret HF_TOKEN> is not to be encoded",
		`secret("HF_TOKEN")`:                        "<secret HF_TOKEN> is not to be encoded",
	} {
		if _, err := evaluate(t, "toml.dumps("+value+")"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("dumps(%s): %v, want %q", value, err, want)
		}
	}
}
