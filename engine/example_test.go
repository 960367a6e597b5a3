package engine_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/bifrost-run/bifrost/engine"
	"github.com/bifrost-run/bifrost/gpu"
	"github.com/bifrost-run/bifrost/gpu/local"
)

// A job on a local node, from a Go program: describe it, run it, range over its lines, download.
// The node is a process of this very program, so its main begins with local.RunIfDaemon (here it
// is TestMain).
func Example() {
	state, err := os.MkdirTemp("", "bifrost-example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(state)
	if err := run(context.Background(), state); err != nil {
		log.Fatal(err)
	}
	// Output:
	// step 1
	// step 2
	// succeeded with 0, terminated and confirmed
	// loss 0.1
}

func run(ctx context.Context, state string) (err error) {
	eng, err := engine.Open(ctx, engine.Config{
		StateDir:  state,
		Providers: []gpu.Provider{local.New(local.Config{StateDir: state})},
	})
	if err != nil {
		return err
	}
	defer eng.Close()

	job := engine.Job{
		Name:      "train",
		Provision: &gpu.Query{Providers: []string{"local"}}, // or SSH: "root@gpu.example.org"
		Command:   engine.Shell(`echo step 1; echo step 2; echo "loss 0.1" > result.txt`),
	}
	result, err := eng.Run(ctx, job, engine.RunOptions{
		Body: func(ctx context.Context, h *engine.Handle) error {
			for line, err := range h.Logs(ctx, engine.LogOptions{Follow: true}) {
				if err != nil {
					return err
				}
				fmt.Println(line)
			}
			_, err := h.Download(ctx, "result.txt", state+"/", false)
			return err
		},
	})
	if err != nil {
		return err
	}
	fmt.Printf("%s with %d, %s\n", result.Status, result.ExitCode, result.Machine)
	text, err := os.ReadFile(filepath.Join(state, "result.txt"))
	fmt.Print(string(text))
	return err
}
