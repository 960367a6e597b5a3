package engine

import (
	"context"
	"time"

	"github.com/bifrost-run/bifrost/engine/journal"
	"github.com/bifrost-run/bifrost/engine/report"
	"github.com/bifrost-run/bifrost/gpu"
)

// A Config says what an Engine works with. The caller reads the environment; the engine does not.
type Config struct {
	StateDir     string         // journal, logs, keys; made when missing
	Providers    []gpu.Provider // those that can be rented from
	IdentityFile string         // SSH key named by the user (-i); "" means the usual ones
	Home         string         // for ~/.ssh; "" means the user's home
	AgentSocket  string         // $SSH_AUTH_SOCK
	WorkDir      string         // what relative local paths start at; "" means the current folder
	Report       report.Sink

	// Confirm asks the user a question before something that cannot be taken back; nil refuses.
	Confirm func(ctx context.Context, question string) (bool, error)

	// Guardian is the argv of a process that calls Engine.Guard with the run id appended to it. With
	// nil there is no guardian: what a killed process leaves is settled by the next Engine only.
	Guardian []string
}
