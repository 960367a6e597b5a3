package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bifrost-run/bifrost/gpu/local"
	"github.com/bifrost-run/bifrost/starlark"
)

func TestMain(m *testing.M) {
	if local.RunIfDaemon() {
		return
	}
	os.Exit(m.Run())
}

func TestRun(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	if err := run(t.Context(), t.TempDir(), "nightly.star", &out); err != nil {
		t.Fatal(err)
	}
	if got, want := out.String(), "step 1\nstep 2\nstep 3\nnightly: succeeded\n"; got != want {
		t.Errorf("it prints %q, want %q", got, want)
	}
}

func TestPolicy(t *testing.T) {
	t.Parallel()
	for _, script := range []string{
		`secret("HF_TOKEN")`,
		`acquire_node(provision = gpu_query(providers = "runpod"))`,
	} {
		file := filepath.Join(t.TempDir(), "x.star")
		if err := os.WriteFile(file, []byte(script+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		err := run(context.Background(), t.TempDir(), file, &bytes.Buffer{})
		var shown *starlark.Error
		if !errors.As(err, &shown) || !strings.Contains(shown.Message, "nodes on this machine alone") {
			t.Errorf("%s: %v, want a refusal", script, err)
		}
	}
}
