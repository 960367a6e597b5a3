package builtins

import (
	"errors"
	"fmt"
	"iter"
	"strings"
	"testing"

	star "go.starlark.net/starlark"

	"github.com/bifrost-run/bifrost/starlark"
)

// point is a value of two fields.
type point struct{ star.NoneType }

func (point) Type() string { return "point" }

func (point) fields() iter.Seq2[string, star.Value] {
	return func(yield func(string, star.Value) bool) {
		_ = yield("y", star.MakeInt(2)) && yield("x", star.NewList([]star.Value{star.MakeInt(1)}))
	}
}

func TestFieldsEncodeAsADict(t *testing.T) {
	t.Parallel()
	w := &jsonWriter{encoding: encoding{op: "json.dumps"}, item: ", ", key: ": "}
	if got, err := w.text(star.Tuple{point{}}); err != nil || got != `[{"y": 2, "x": [1]}]` {
		t.Errorf("text = %s, %v", got, err)
	}
}

// TestSecretsAreNotEncoded tries every way of encoding with a secret inside.
func TestSecretsAreNotEncoded(t *testing.T) {
	t.Parallel()
	const value = `{"config": {"env": {"HF_TOKEN": secret("HF_TOKEN")}}}`
	for _, call := range []string{
		"json.dumps(%s)", "json.dumps(%s, default = str)", "json.dumps(%s, default = lambda x: x)", "json.encode(%s)", "json.encode_indent(%s)",
		"toml.dumps(%s)", "yaml.dump(%s)", "yaml.safe_dump(%s)", "yaml.dumps(%s)",
	} {
		_, err := evaluate(t, strings.Replace(call, "%s", value, 1))
		if err == nil || !strings.Contains(err.Error(), "config.env.HF_TOKEN: <secret HF_TOKEN> is not to be encoded") {
			t.Errorf("%s: %v, want a refusal that says where the secret is", call, err)
		}
	}
}

// TestEncodingGivesUp encodes a value that is small here and endless as text.
func TestEncodingGivesUp(t *testing.T) {
	t.Parallel()
	var v star.Value = star.String("x")
	for range 30 {
		v = star.Tuple{v, v, v, v, v, v, v, v, v, v}
	}
	w := &jsonWriter{encoding: encoding{op: "json.dumps"}, item: ",", key: ":"}
	w.b.WriteString(strings.Repeat("x", longestText-1000)) // as if it had gone most of the way, which takes seconds
	_, err := w.text(v)
	var arg *ArgError
	if !errors.As(err, &arg) || !strings.Contains(err.Error(), "more than 64 MiB") {
		t.Errorf("text: %v, want the limit", err)
	}
}

// TestDataErrorsAreCaught looks at what a script sees of data that is wrong.
func TestDataErrorsAreCaught(t *testing.T) {
	t.Parallel()
	for _, call := range []string{"json.loads, '{'", "math.sqrt, -1"} {
		v, err := evaluate(t, "attempt("+call+")[1].kind")
		if err != nil || v != star.String("data") {
			t.Errorf("kind of %s = %v, %v, want data", call, v, err)
		}
	}
	if _, err := evaluate(t, "attempt(json.dumps, [len])"); err == nil {
		t.Error("attempt caught a value that cannot be encoded, which is a defect of the script")
	}
}

func TestModuleFunctionsAreNamedWhole(t *testing.T) {
	t.Parallel()
	if _, err := evaluate(t, "json.loads()"); err == nil || !strings.HasPrefix(starlark.Message(err), "json.loads: missing s") {
		t.Errorf("error %v, want it to name json.loads", err)
	}
}

// TestYAMLBombs reads documents that are small and would be endless if their aliases were copied.
func TestYAMLBombs(t *testing.T) {
	t.Parallel()
	var laughs, merges strings.Builder
	laughs.WriteString("a0: &a0 [x]\n")
	merges.WriteString("a0: &a0 {k: 1}\n")
	for i := range 40 {
		alias := fmt.Sprintf("*a%d, ", i)
		fmt.Fprintf(&laughs, "a%d: &a%d [%s]\n", i+1, i+1, strings.Repeat(alias, 9))
		fmt.Fprintf(&merges, "a%d: &a%d {<<: [%s]}\n", i+1, i+1, strings.Repeat(alias, 9))
	}
	lib := New(nil, Options{})
	if all, err := lib.parseYAML("yaml.safe_load", laughs.String()); err != nil || len(all) != 1 {
		t.Errorf("aliases of aliases: %v, want them shared", err)
	}
	if _, err := lib.parseYAML("yaml.safe_load", merges.String()); err == nil || !strings.Contains(err.Error(), "merges bring in more than") {
		t.Errorf("merges of merges: %v, want the limit", err)
	}
}
