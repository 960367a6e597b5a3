package main

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/bifrost-run/bifrost/starlark"
)

// TestFormatIsStable formats every script of the repository twice: the second time nothing changes, and
// the examples are formatted already.
func TestFormatIsStable(t *testing.T) {
	t.Parallel()
	count := 0
	stable := func(name string, source []byte) []byte {
		if starlark.CheckSyntax(name, source, nil) != nil {
			return source
		}
		once, err := formatSource(name, source)
		if err != nil {
			return source // b"…"
		}
		count++
		twice, err := formatSource(name, once)
		if err != nil || !bytes.Equal(once, twice) {
			t.Errorf("%s: formatting it again gives (error %v)\n%s\nafter\n%s", name, err, twice, once)
		}
		return once
	}
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		switch filepath.Ext(path) {
		case ".star":
			source, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			if formatted := stable(path, source); filepath.Base(filepath.Dir(path)) == "examples" && !bytes.Equal(source, formatted) {
				t.Errorf("%s is not formatted: bifrost fmt examples", path)
			}
		case ".txtar":
			archive, err := txtar.ParseFile(path)
			if err != nil {
				return err
			}
			for _, f := range archive.Files {
				if filepath.Ext(f.Name) == ".star" {
					stable(path+":"+f.Name, f.Data)
				}
			}
		}
		return nil
	})
	if err != nil || count < 100 {
		t.Errorf("formatted %d scripts, error %v", count, err)
	}
}
