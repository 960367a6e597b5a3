package main

import "testing"

func TestSplitPlace(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		arg, id, remote string
		ok              bool
	}{
		{"train-7f3k:out.json", "train-7f3k", "out.json", true},
		{"@last:", "@last", "", true},
		{"@last:a:b", "@last", "a:b", true},
		{"local:7f3k:x/y", "local:7f3k", "x/y", true},
		{"local:7f3k:", "local:7f3k", "", true},
		{"local:x/y", "local", "x/y", true}, // a job of that name, or an unknown one
		{"runpod:a:~/x", "runpod:a", "~/x", true},
		{"ssh:root@gpu:22:/data", "ssh:root@gpu:22", "/data", true},
		{"ssh:root@[::1]:22:x:y", "ssh:root@[::1]:22", "x:y", true},
		{"./a:b", "", "./a:b", false},
		{"/a:b", "", "/a:b", false},
		{"plain", "", "plain", false},
		{":x", "", ":x", false},
	} {
		id, remote, ok := splitPlace(tt.arg)
		if id != tt.id || remote != tt.remote || ok != tt.ok {
			t.Errorf("splitPlace(%q): got %q %q %t want %q %q %t", tt.arg, id, remote, ok, tt.id, tt.remote, tt.ok)
		}
	}
}
