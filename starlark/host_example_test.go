package starlark_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"os"
	"path/filepath"
	"testing/fstest"
	"time"

	star "go.starlark.net/starlark"

	"github.com/bifrost-run/bifrost/starlark"
	"github.com/bifrost-run/bifrost/starlark/policy"
)

// script writes a script into a folder of its own and returns its path.
func script(text string) string {
	dir, err := os.MkdirTemp("", "host-example")
	if err != nil {
		log.Fatal(err)
	}
	path := filepath.Join(dir, "main.star")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		log.Fatal(err)
	}
	return path
}

// The zero Host runs scripts that compute and print, within the default limits, and that can do nothing
// else.
func ExampleHost() {
	file := script(`
def main(argv):
    print("hello", argv[0])
    return 3
`)
	defer os.RemoveAll(filepath.Dir(file))

	host := &starlark.Host{Stdout: os.Stdout}
	outcome, err := host.Exec(context.Background(), file, []string{"world"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("exit code", outcome.ExitCode)
	// Output:
	// hello world
	// exit code 3
}

// A program adds builtins of its own as values of go.starlark.net. One that has an effect asks the run's gate
// first, so that the program's policy decides about it as about all others.
func ExampleHost_builtin() {
	file := script(`print(fetch("gpu-prices"))` + "\n")
	defer os.RemoveAll(filepath.Dir(file))

	fetch := star.NewBuiltin("fetch", func(t *star.Thread, b *star.Builtin, args star.Tuple, kwargs []star.Tuple) (star.Value, error) {
		var table string
		if err := star.UnpackArgs(b.Name(), args, kwargs, "table", &table); err != nil {
			return nil, err
		}
		thread := starlark.ThreadOf(t)
		if err := thread.Run().Gate.Ask(thread.Context(), policy.Request{Capability: policy.ReadFile, Target: "/tables/" + table}); err != nil {
			return nil, err
		}
		return star.String("rows of " + table), nil
	})
	host := &starlark.Host{
		Predeclared: star.StringDict{"fetch": fetch},
		Gate: policy.NewGate(func(_ context.Context, r policy.Request) error {
			if r.Capability == policy.ReadFile && r.Target == "/tables/gpu-prices" {
				return nil
			}
			return errors.New("only the prices are for scripts")
		}),
		Stdout: os.Stdout,
	}
	if _, err := host.Exec(context.Background(), file, nil); err != nil {
		log.Fatal(err)
	}
	// Output: rows of gpu-prices
}

// Errors have types: what is wrong before anything runs, what stops a run with its place, and a script that
// ends itself.
func ExampleHost_errors() {
	for _, text := range []string{"x = 1 +\n", "def main():\n    fail(1 // 0)\n"} {
		file := script(text)
		defer os.RemoveAll(filepath.Dir(file))

		_, err := new(starlark.Host).Exec(context.Background(), file, nil)
		var static *starlark.StaticError
		var failed *starlark.Error
		switch {
		case errors.As(err, &static):
			fmt.Println("nothing ran:", static.Problems[0].Message)
		case errors.As(err, &failed):
			fmt.Printf("line %d: %s\n", failed.Frames[0].Line, failed.Message)
		}
	}
	// Output:
	// nothing ran: got newline, want primary expression
	// line 2: floored division by zero
}

// Check finds everything that is wrong with a script and its modules without running any of it.
func ExampleHost_Check() {
	file := script(`
load("./settings.star", "steps")
print(stepz)
`)
	defer os.RemoveAll(filepath.Dir(file))

	err := new(starlark.Host).Check(context.Background(), file)
	var static *starlark.StaticError
	if errors.As(err, &static) {
		for _, p := range static.Problems {
			fmt.Printf("line %d: %s: %s\n", p.Line, p.Kind, p.Message)
		}
	}
	// Output:
	// line 2: load: "./settings.star" does not exist
	// line 3: name: undefined: stepz
}

// Test calls one function of a file that is loaded anew, so that no test sees what another one left. Package
// startest adds assertions and runs whole folders.
func ExampleHost_Test() {
	file := script(`
def double(x):
    return 2 * x

def test_double():
    if double(4) != 8:
        fail("4 is not doubled")

def test_text():
    if double("ab") != "abba":
        fail("got", double("ab"))
`)
	defer os.RemoveAll(filepath.Dir(file))

	host := new(starlark.Host)
	tests, err := host.Tests(context.Background(), file)
	if err != nil {
		log.Fatal(err)
	}
	for _, test := range tests {
		err := host.Test(context.Background(), file, test.Name)
		var failed *starlark.Error
		if errors.As(err, &failed) {
			fmt.Printf("%s: line %d: %s\n", test.Name, failed.Frames[0].Line, failed.Message)
		} else if err == nil {
			fmt.Printf("%s: ok\n", test.Name)
		}
	}
	// Output:
	// test_double: ok
	// test_text: line 11: fail: got abab
}

// A program brings modules of its own as file systems, such as an embed.FS. Scripts load them by name,
// and they can do what the script can.
func ExampleHost_libraries() {
	file := script(`
load("@team//prices.star", "cost")
print(cost(hours = 3))
`)
	defer os.RemoveAll(filepath.Dir(file))

	host := &starlark.Host{
		Libraries: map[string]fs.FS{"team": fstest.MapFS{
			"prices.star": {Data: []byte("def cost(hours):\n    return hours * 2\n")},
		}},
		Stdout: os.Stdout,
	}
	if _, err := host.Exec(context.Background(), file, nil); err != nil {
		log.Fatal(err)
	}
	// Output: 6
}

// Every run has limits, and a program sets tighter ones for scripts that it trusts less. What was exceeded is
// in the error.
func ExampleHost_limits() {
	file := script(`
def main():
    for i in range(1000000000000):
        pass
`)
	defer os.RemoveAll(filepath.Dir(file))

	host := &starlark.Host{Limits: starlark.Limits{Steps: 100_000, Wall: time.Minute}}
	_, err := host.Exec(context.Background(), file, nil)
	var limit *starlark.LimitError
	if errors.As(err, &limit) {
		fmt.Println(limit.Limit, limit.Max)
	}
	// Output: steps 100000
}
