package starlark

import (
	"context"
	"fmt"
	"strings"

	star "go.starlark.net/starlark"
	"go.starlark.net/syntax"
)

// A Test is a function of a test file.
type Test struct {
	Name string
	Line int
}

// Tests reads a test file and everything that it loads, runs nothing, and lists its functions test_… in
// their order. The error is a *StaticError.
func (h *Host) Tests(_ context.Context, file string) ([]Test, error) {
	entry, g, err := h.read(file)
	if err != nil {
		return nil, err
	}
	defer g.loader.close()
	var defs []*syntax.DefStmt
	if entry != nil { // nil where the file cannot be read
		defs = entry.tests
	}
	var tests []Test
	for _, def := range defs {
		tests = append(tests, Test{Name: def.Name.Name, Line: int(def.Def.Line)})
		if required := requiredParams(def); required > 0 {
			g.fail(entry, def.Name.NamePos, "test", &fileError{"a test takes no arguments", "write def " + def.Name.Name + "():"})
		}
	}
	return tests, g.err()
}

// testsIn are the functions of a file that are tests.
func testsIn(file *syntax.File) []*syntax.DefStmt {
	var tests []*syntax.DefStmt
	for _, stmt := range file.Stmts {
		if def, ok := stmt.(*syntax.DefStmt); ok && strings.HasPrefix(def.Name.Name, "test_") {
			tests = append(tests, def)
		}
	}
	return tests
}

// Test loads a file anew and calls one of its functions. The function main of the file, if there is
// one, is not called. The errors are those of Exec.
func (h *Host) Test(ctx context.Context, file, name string) error {
	r, err := h.start(file, nil)
	if err != nil {
		return err
	}
	defer r.loader.close()
	err = r.within(ctx, func(t *Thread, globals star.StringDict) error {
		fn, ok := globals[name].(*star.Function)
		if !ok {
			return fmt.Errorf("there is no function %s", name)
		}
		_, err := t.Call(fn, nil, nil)
		return err
	})
	if err == nil {
		return nil
	}
	return r.diagnose(err)
}

// Failure is err as it would be reported if it stopped the script where the builtin that is running was
// called. The script goes on.
func (t *Thread) Failure(err error) *Error {
	return t.run.diagnose(&stopped{cause: err, at: &star.EvalError{Msg: err.Error(), CallStack: t.star.CallStack()}})
}
