package builtins

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	star "go.starlark.net/starlark"

	"github.com/bifrost-run/bifrost/engine"
	"github.com/bifrost-run/bifrost/starlark/policy"
)

// TestDetach ends the script where it stands: neither the body nor what follows with_job runs on.
func TestDetach(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, script string }{
		{"in the body", "def body(handle):\n    attempt(detach)\n    print('after')\n\nwith_job(job, body)\nprint('after')\n"},
		{"in attempt", "def body(handle):\n    detach()\n    print('after')\n\nattempt(with_job, job, body)\nprint('after')\n"},
		{"as it starts", "with_job(job)\nprint('after')\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "x.star")
			script := "job = remote_job(ssh = 'gpu', command = 'x', timeout = None)\n" + test.script
			if err := os.WriteFile(path, []byte(script), 0o644); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			var ended engine.Result
			opts := Options{Ended: func(r engine.Result, _ error) { ended = r }}
			if test.name == "as it starts" {
				opts.Started = func(Handle) { cancel(engine.ErrDetach) }
			}
			out := new(syncBuffer)
			host := testHost(New(&fakeEngine{io.Discard}, opts), out, policy.Typed())
			host.Predeclared["detach"] = star.NewBuiltin("detach", func(*star.Thread, *star.Builtin, star.Tuple, []star.Tuple) (star.Value, error) {
				cancel(engine.ErrDetach)
				return star.None, nil
			})
			_, err := host.Exec(ctx, path, nil)
			if !errors.Is(err, engine.ErrDetach) {
				t.Errorf("Exec = %v, want the cause in its chain", err)
			}
			if ended.Status != "detached" {
				t.Errorf("the run ended as %q, want detached", ended.Status)
			}
			if strings.Contains(out.b.String(), "after") {
				t.Errorf("the script went on: %q", out.b.String())
			}
		})
	}
}
