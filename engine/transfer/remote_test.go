package transfer

import "testing"

func TestResolveRemote(t *testing.T) {
	t.Parallel()
	tests := []struct {
		dir, path string
		want      remotePath
	}{
		{"~/ws", "results", remotePath{"~/ws/results", false}},
		{"~/ws", "./results", remotePath{"~/ws/results", false}},
		{"~/ws", "results/", remotePath{"~/ws/results", true}},
		{"~/ws/", "foo/../results", remotePath{"~/ws/results", false}},
		{"~/ws", "", remotePath{"~/ws", true}},
		{"~/ws", ".", remotePath{"~/ws", true}},
		{"~/ws", "./", remotePath{"~/ws", true}},
		{"~/ws", "a/..", remotePath{"~/ws", true}},
		{"~/ws", "..", remotePath{"~", true}},
		{"~", "..", remotePath{"~/..", true}},
		{"~/ws", "~/x", remotePath{"~/x", false}},
		{"~/ws", "~", remotePath{"~", true}},
		{"~/ws", "/x//y/", remotePath{"/x/y", true}},
		{"/", "etc", remotePath{"/etc", false}},
		{"", "x", remotePath{"~/x", false}},
		{"ws", "x", remotePath{"~/ws/x", false}},
		{"/a b", "-x", remotePath{"/a b/-x", false}},
		{"~/ws", "~user", remotePath{"~/ws/~user", false}},
		{"/", "/", remotePath{"/", true}},
	}
	for _, tt := range tests {
		if got := resolveRemote(tt.dir, tt.path); got != tt.want {
			t.Errorf("resolveRemote(%q, %q) = %v, want %v", tt.dir, tt.path, got, tt.want)
		}
	}
}
