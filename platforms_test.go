package bifrost_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/go/packages"
)

// TestPlatforms checks that everything compiles for the systems that the client runs on beside this one.
// Only types are checked, and of the packages of others only what they declare: compiling them takes minutes.
func TestPlatforms(t *testing.T) {
	t.Parallel()
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for _, platform := range []string{"darwin/arm64", "windows/amd64"} {
		t.Run(strings.ReplaceAll(platform, "/", "-"), func(t *testing.T) {
			t.Parallel()
			system, arch, _ := strings.Cut(platform, "/")
			loaded, err := packages.Load(&packages.Config{
				Mode:    packages.NeedName | packages.NeedFiles | packages.NeedCompiledGoFiles | packages.NeedImports | packages.NeedDeps | packages.NeedTypes | packages.NeedSyntax | packages.NeedTypesSizes | packages.NeedModule,
				Context: t.Context(),
				Env:     append(os.Environ(), "GOOS="+system, "GOARCH="+arch, "CGO_ENABLED=0"),
				ParseFile: func(set *token.FileSet, name string, src []byte) (*ast.File, error) {
					file, err := parser.ParseFile(set, name, src, parser.SkipObjectResolution)
					if rel, rerr := filepath.Rel(here, name); file != nil && (rerr != nil || strings.HasPrefix(rel, "..")) {
						for _, d := range file.Decls {
							if f, ok := d.(*ast.FuncDecl); ok {
								f.Body = nil
							}
						}
					}
					return file, err
				},
			}, "./cmd/bifrost")
			if err != nil {
				t.Fatal(err)
			}
			seen := 0
			packages.Visit(loaded, nil, func(p *packages.Package) {
				if p.Module == nil || !p.Module.Main {
					return
				}
				seen++
				for _, e := range p.Errors {
					t.Error(e)
				}
			})
			if seen < 20 {
				t.Errorf("%d packages were checked, want the whole program", seen)
			}
		})
	}
}
