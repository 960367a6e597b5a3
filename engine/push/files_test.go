package push

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{"train.py": "print(1)\n", "lib/a.py": "", "skip/me.bin": "0123", ".bifrostignore": "skip/\n"} {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("train.py", filepath.Join(dir, "link.py")); err != nil {
		t.Fatal(err)
	}
	got, err := Files(t.Context(), dir, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(got, func(a, b File) int { return slices.Compare([]byte(a.Path), []byte(b.Path)) })
	want := []File{{".bifrostignore", 6}, {"lib/a.py", 0}, {"link.py", 0}, {"train.py", 9}}
	if !slices.Equal(got, want) {
		t.Errorf("Files = %v, want %v", got, want)
	}
}
