package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/engine/journal"
	"github.com/bifrost-run/bifrost/engine/report"
	"github.com/bifrost-run/bifrost/engine/ssh"
	"github.com/bifrost-run/bifrost/gpu"
)

// A Config says what an Engine works with. The caller reads the environment; the engine does not.
type Config struct {
	StateDir     string            // journal, logs, keys; made when missing
	Providers    []gpu.Provider    // those that can be rented from
	Absent       map[string]string // providers that cannot be asked, by name, with what is missing: "RUNPOD_API_KEY is not set"
	IdentityFile string            // SSH key named by the user (-i); "" means the usual ones
	Home         string            // for ~/.ssh; "" means the user's home
	AgentSocket  string            // $SSH_AUTH_SOCK
	WorkDir      string            // what relative local paths start at; "" means the current folder
	Report       report.Sink

	// Patience is how long the node of a running job may be silent before Run and Follow give up
	// waiting: they then return an error of kind lost, the job stays as it is, and Follow goes on with
	// it once the node answers. 0 means DefaultPatience. Steps before and after the job are tried
	// again for two minutes, or for Patience where that is less.
	Patience time.Duration

	// Confirm asks the user before something that cannot be taken back; nil refuses.
	Confirm func(ctx context.Context, question string) (bool, error)

	// MaxCostPerHour is what the machines of this engine's run may cost together, in USD per hour; 0 means
	// no limit.
	MaxCostPerHour float64
	// Limits are what each machine and job may cost.
	Limits Limits

	// Withhold returns why a file in a folder that is pushed or uploaded must stay here, and Protect why
	// one that comes with a download must not be written; "" where there is no reason. Both get absolute
	// paths. What is withheld is left out with a notice, what is protected is a file that did not arrive.
	// Nil has no reasons.
	Withhold, Protect func(path string) string

	// Timing has the waits for machines; its zero value is right for people.
	Timing Timing
	// Now is the time of day; nil is that of the system. What must pass before something is given up or
	// ended is measured on a clock that nobody sets.
	Now func() time.Time

	// Guardian is the argv of a process that calls Engine.Guard with the run id appended to it. With
	// nil there is no guardian: what a killed process leaves is settled by the next Engine only.
	Guardian []string
	// GuardianEnv is the environment of that process, which runs in another folder; nil is this one's.
	GuardianEnv []string
}

// The causes that end a Run before its job has ended. Give one to the context's cancel function;
// any other cause counts as ErrStop.
var (
	ErrStop   = errors.New("stopped")  // stop the job, fetch the results, release the machine
	ErrDetach = errors.New("detached") // leave the job running; the guardian finishes it
)

// An Engine runs jobs. It is safe for concurrent use; all its runs share one connection per node.
type Engine struct {
	cfg     Config
	journal *journal.Journal
	runID   string // names this process's runs in the journal and the lock that says it lives

	unasked sync.Once  // says which machines nobody can look after
	renting sync.Mutex // held from the look at what the run costs until the next machine is among it

	mu       sync.Mutex
	lock     *journal.RunLock       // held from the first effect until Close
	guarded  bool                   // a guardian was started
	clients  map[string]*ssh.Client // by node id
	acquired []*Node                // by Acquire: released by Close
}

// Open opens the journal in cfg.StateDir and returns an engine. Nothing is dialled.
func Open(ctx context.Context, cfg Config) (*Engine, error) {
	if cfg.WorkDir == "" {
		dir, err := os.Getwd()
		if err != nil {
			return nil, &fault.Error{Kind: fault.Invalid, Op: "open", Target: "current folder", Err: err, Hint: "change to a folder that exists"}
		}
		cfg.WorkDir = dir
	}
	cfg.Timing = cfg.Timing.orDefaults()
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	j, err := journal.Open(ctx, filepath.Join(cfg.StateDir, "journal.db"))
	if err != nil {
		return nil, err
	}
	return &Engine{cfg: cfg, journal: j, runID: newRunID(), clients: map[string]*ssh.Client{}}, nil
}

func newRunID() string {
	return fmt.Sprintf("%s-%d", time.Now().UTC().Format("20060102-150405.000000"), os.Getpid())
}

// Close releases the nodes that Acquire returned and nobody kept, closes the connections and the
// journal. It takes as long as the releases do.
func (e *Engine) Close() error {
	e.mu.Lock()
	acquired := e.acquired
	e.acquired = nil
	e.mu.Unlock()
	var errs []error
	for _, n := range acquired {
		ctx, cancel := context.WithTimeout(context.Background(), e.cfg.Timing.Release)
		errs = append(errs, n.release(ctx, "the script ended"))
		cancel()
	}
	e.mu.Lock()
	clients := e.clients
	e.clients = map[string]*ssh.Client{}
	e.mu.Unlock()
	for _, c := range clients {
		c.Close()
	}
	if e.lock != nil {
		errs = append(errs, e.lock.Release())
	}
	return errors.Join(append(errs, e.journal.Close())...)
}

// claim takes the lock that tells every other process that this run has an owner who will finish
// what it began. Nothing is rented or started before it is held.
func (e *Engine) claim() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.lock != nil {
		return nil
	}
	lock, err := e.journal.LockRun(e.runID)
	if err != nil {
		return fmt.Errorf("claim run: %w", err)
	}
	e.lock = lock
	return nil
}

// localPath returns a path of the user's as an absolute one, keeping a trailing slash.
func (e *Engine) localPath(p string) string {
	if filepath.IsAbs(p) {
		return p
	}
	abs := filepath.Join(e.cfg.WorkDir, p)
	if p != "" && os.IsPathSeparator(p[len(p)-1]) {
		abs += string(filepath.Separator)
	}
	return abs
}

// jobDir is where this machine keeps what belongs to a job: its log, those of its bootstrap.
func (e *Engine) jobDir(id string) string { return filepath.Join(e.cfg.StateDir, "jobs", id) }
