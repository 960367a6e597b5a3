// Command embed is a Go program whose users write scripts: bifrost's host and builtins, a builtin and a
// library of the program's own, and a policy that allows next to nothing.
//
//	go run ./examples/embed examples/embed/nightly.star
package main

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"

	star "go.starlark.net/starlark"

	"github.com/bifrost-run/bifrost/builtins"
	"github.com/bifrost-run/bifrost/engine"
	"github.com/bifrost-run/bifrost/gpu"
	"github.com/bifrost-run/bifrost/gpu/local"
	"github.com/bifrost-run/bifrost/starlark"
	"github.com/bifrost-run/bifrost/starlark/policy"
)

//go:embed team/*.star
var library embed.FS

func main() {
	if local.RunIfDaemon() { // a local node is a process of this very program
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: embed FILE")
		os.Exit(2)
	}
	state, err := os.UserCacheDir()
	if err == nil {
		err = run(ctx, filepath.Join(state, "embed"), os.Args[1], os.Stdout)
	}
	var exit *starlark.ExitError
	var shown interface{ Render(w io.Writer) error }
	switch {
	case errors.As(err, &exit):
		os.Exit(exit.Code)
	case errors.As(err, &shown): // the place in the script, the reason, the way out
		_ = shown.Render(os.Stderr)
		os.Exit(1)
	case err != nil:
		fmt.Fprintln(os.Stderr, "embed:", err)
		os.Exit(1)
	}
}

// run runs one script. Everything that its jobs hold is released when it returns.
func run(ctx context.Context, state, script string, out io.Writer) (err error) {
	eng, err := engine.Open(ctx, engine.Config{
		StateDir:  state,
		Providers: []gpu.Provider{local.New(local.Config{StateDir: state})},
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, eng.Close()) }()

	team, err := fs.Sub(library, "team")
	if err != nil {
		return err
	}
	predeclared := builtins.New(builtins.Wrap(eng), builtins.Options{JobOutput: out}).Predeclared()
	predeclared["experiment"] = star.NewBuiltin("experiment", experiment)

	host := &starlark.Host{
		Predeclared: predeclared,
		Libraries:   map[string]fs.FS{"team": team},
		Gate:        policy.NewGate(localOnly),
		Stdout:      out,
		Describe:    builtins.Describe,
		HabitHint:   builtins.HabitHint,
	}
	_, err = host.Exec(ctx, script, nil)
	return err
}

// localOnly lets scripts read what they push and use nodes on this machine: no cloud, no host, no variable,
// no file written.
func localOnly(_ context.Context, r policy.Request) error {
	switch {
	case r.Capability == policy.ReadFile:
		return nil
	case r.Capability == policy.Rent && r.Target == "local":
		return nil
	case r.Capability == policy.SSH: // to the node that it rented: its id begins with the provider
		return nil
	}
	return errors.New("this program's scripts use nodes on this machine alone")
}

// experiment returns what this program knows of an experiment, here always the same.
func experiment(_ *star.Thread, b *star.Builtin, args star.Tuple, kwargs []star.Tuple) (star.Value, error) {
	var name string
	if err := star.UnpackArgs(b.Name(), args, kwargs, "name", &name); err != nil {
		return nil, err
	}
	settings := star.NewDict(2)
	for key, value := range map[string]star.Value{"name": star.String(name), "steps": star.MakeInt(3)} {
		if err := settings.SetKey(star.String(key), value); err != nil {
			return nil, err
		}
	}
	return settings, nil
}
