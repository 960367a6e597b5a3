package plan

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestCannotAct reads the package's source. It may hold the World, whose methods look; of the packages
// that act it may name plain data and nothing else, so that there is nothing in it to act with.
func TestCannotAct(t *testing.T) {
	t.Parallel()
	allowed := map[string][]string{ // what is used of a package; nil: everything, for it touches nothing
		"cmp": nil, "context": nil, "errors": nil, "fmt": {"Sprintf"}, "iter": nil, "slices": nil, "strings": nil, "sync": nil,
		"os":   {"FileMode"},
		"time": {"Duration", "Time", "Now", "Second", "Hour"},
		"github.com/bifrost-run/bifrost/builtins": {"Engine", "Clock", "Job", "RunOptions", "Handle", "Node", "Server"},
		"github.com/bifrost-run/bifrost/engine": {
			"DefaultWorkspace", "Exec", "ExecResult", "Failure", "GPU", "Job", "Limits", "LogOptions", "NoOffer", "NodeSpec", "Offers", "Result", "Serve", "Step", "Submit", "Transfer",
		},
		"github.com/bifrost-run/bifrost/gpu": {"Offer", "Query"},
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		seen++
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		uses := map[string][]string{}
		for _, spec := range file.Imports {
			path, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			names, ok := allowed[path]
			if !ok || spec.Name != nil {
				t.Errorf("%s imports %s: a plan needs nothing of it", name, path)
			}
			uses[filepath.Base(path)] = names
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.SelectorExpr:
				pkg, ok := n.X.(*ast.Ident)
				if !ok || pkg.Obj != nil { // a variable
					return true
				}
				if names := uses[pkg.Name]; names != nil && !slices.Contains(names, n.Sel.Name) {
					t.Errorf("%s: %s.%s: of package %s a plan may name plain data alone", fset.Position(n.Pos()), pkg.Name, n.Sel.Name, pkg.Name)
				}
			case *ast.TypeAssertExpr:
				t.Errorf("%s: a type assertion could find more in the World than it shows", fset.Position(n.Pos()))
			}
			return true
		})
	}
	if seen < 4 {
		t.Errorf("%d files were read, which is not the package", seen)
	}
	world := reflect.TypeFor[World]()
	var methods []string
	for i := range world.NumMethod() {
		methods = append(methods, world.Method(i).Name)
	}
	if want := []string{"Files", "Offers"}; !slices.Equal(methods, want) {
		t.Errorf("World has the methods %v, want %v: those that look", methods, want)
	}
}
