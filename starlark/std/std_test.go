package std

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.starlark.net/syntax"
)

// TestFS wants every module of this folder in FS with a test beside it, and no test in FS.
func TestFS(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("*.star")
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, file := range files {
		module, isTest := strings.CutSuffix(file, "_test.star")
		if isTest {
			if !slices.Contains(files, module+".star") {
				t.Errorf("%s tests no module", file)
			}
			continue
		}
		want = append(want, file)
		if test := strings.TrimSuffix(file, ".star") + "_test.star"; !slices.Contains(files, test) {
			t.Errorf("%s has no %s", file, test)
		}
	}
	got, err := fs.Glob(FS, "*")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got, want) {
		t.Errorf("FS has %v, want %v", got, want)
	}
}

// TestDocs wants a docstring of every module and of every public function, with each of its parameters.
func TestDocs(t *testing.T) {
	t.Parallel()
	files, err := fs.Glob(FS, "*.star")
	if err != nil || len(files) < 6 {
		t.Fatalf("modules %v, %v", files, err)
	}
	for _, file := range files {
		source, err := fs.ReadFile(FS, file)
		if err != nil {
			t.Fatal(err)
		}
		f, err := new(syntax.FileOptions).Parse(file, source, 0)
		if err != nil {
			t.Fatal(err)
		}
		if docOf(f.Stmts) == "" {
			t.Errorf("%s: no docstring", file)
		}
		for _, stmt := range f.Stmts {
			def, ok := stmt.(*syntax.DefStmt)
			if !ok || strings.HasPrefix(def.Name.Name, "_") {
				continue
			}
			doc := docOf(def.Body)
			for _, param := range def.Params {
				name := paramName(param)
				if name != "" && !strings.Contains(doc, "\n      "+name+": ") {
					t.Errorf("%s: %s: its docstring says nothing of %s", file, def.Name.Name, name)
				}
			}
			if doc == "" {
				t.Errorf("%s: %s: no docstring", file, def.Name.Name)
			}
		}
	}
}

func docOf(stmts []syntax.Stmt) string {
	if len(stmts) == 0 {
		return ""
	}
	expr, ok := stmts[0].(*syntax.ExprStmt)
	if !ok {
		return ""
	}
	lit, ok := expr.X.(*syntax.Literal)
	if !ok {
		return ""
	}
	return fmt.Sprint(lit.Value)
}

// paramName is the name as the docstring has it; "" of the star before the keywords.
func paramName(param syntax.Expr) string {
	switch p := param.(type) {
	case *syntax.Ident:
		return p.Name
	case *syntax.BinaryExpr:
		return p.X.(*syntax.Ident).Name
	case *syntax.UnaryExpr:
		if p.X != nil {
			return p.Op.String() + p.X.(*syntax.Ident).Name
		}
	}
	return ""
}
