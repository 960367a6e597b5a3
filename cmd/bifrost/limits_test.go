package main

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"github.com/bifrost-run/bifrost/starlark"
)

func TestLimitFlags(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		arg  string
		want starlark.Limits
		ok   bool
	}{
		{"--max-steps=5", starlark.Limits{Steps: 5}, true},
		{"--max-steps=1_000", starlark.Limits{Steps: 1000}, true},
		{"--max-steps=none", starlark.Limits{Steps: starlark.NoLimit}, true},
		{"--max-heap=2GiB", starlark.Limits{Heap: 2 << 30}, true},
		{"--max-heap=512m", starlark.Limits{Heap: 512 << 20}, true},
		{"--max-heap=none", starlark.Limits{Heap: starlark.NoLimit}, true},
		{"--max-value=1.5KiB", starlark.Limits{Value: 1536}, true},
		{"--max-value=100", starlark.Limits{Value: 100}, true},
		{"--max-value=" + starlark.Bytes(starlark.DefaultValue), starlark.Limits{Value: starlark.DefaultValue}, true},
		{"--max-wall=90s", starlark.Limits{Wall: 90 * time.Second}, true},
		{"--max-wall=90", starlark.Limits{Wall: 90 * time.Second}, true},
		{"--max-wall=" + (2 * time.Hour).String(), starlark.Limits{Wall: 2 * time.Hour}, true},
		{"--max-steps=0", starlark.Limits{}, false},
		{"--max-steps=-1", starlark.Limits{}, false},
		{"--max-steps=1e9", starlark.Limits{}, false},
		{"--max-steps=", starlark.Limits{}, false},
		{"--max-heap=big", starlark.Limits{}, false},
		{"--max-heap=1XB", starlark.Limits{}, false},
		{"--max-heap=1e300G", starlark.Limits{}, false},
		{"--max-heap=-1G", starlark.Limits{}, false},
		{"--max-heap=NaN", starlark.Limits{}, false},
		{"--max-heap=GiB", starlark.Limits{}, false},
		{"--max-wall=soon", starlark.Limits{}, false},
		{"--max-wall=-1s", starlark.Limits{}, false},
		{"--max-wall=0", starlark.Limits{}, false},
	} {
		var got starlark.Limits
		cmd := &cobra.Command{}
		addLimitFlags(cmd, &got)
		err := cmd.ParseFlags([]string{test.arg})
		if (err == nil) != test.ok {
			t.Errorf("%s: got error %v want one %v", test.arg, err, !test.ok)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s: -want +got:\n%s", test.arg, diff)
		}
	}
}
