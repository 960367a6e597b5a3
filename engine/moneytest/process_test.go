package moneytest

import (
	"context"
	"database/sql/driver"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"modernc.org/sqlite"

	"github.com/bifrost-run/bifrost/engine"
	"github.com/bifrost-run/bifrost/gpu/gputest/clients"
	"github.com/bifrost-run/bifrost/gpu/local"
)

func TestMain(m *testing.M) {
	if local.RunIfDaemon() {
		return
	}
	for role, run := range map[string]func(process) error{guardianEnv: process.guard, clientEnv: process.run} {
		text := os.Getenv(role)
		if text == "" {
			continue
		}
		var p process
		err := json.Unmarshal([]byte(text), &p)
		if err == nil {
			err = run(p)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func (p process) config() engine.Config {
	cfg := config(p.State, clients.New(p.Provider, p.URL, p.Key), nil)
	cfg.Guardian = []string{"env", "-u", clientEnv, process{State: p.State, Provider: p.Provider, URL: p.URL, Key: p.Key}.environment(guardianEnv), executable()}
	return cfg
}

// guard is the guardian's process: its argument is the run.
func (p process) guard() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	return command(ctx, p.config(), func(e *engine.Engine) error { return e.Guard(ctx, os.Args[len(os.Args)-1]) })
}

// run is the client's process.
func (p process) run() error {
	if p.Moment.Transition > 0 {
		if err := p.dieAt(); err != nil {
			return err
		}
	}
	ctx := context.Background()
	return command(ctx, p.config(), func(e *engine.Engine) error {
		_, err := e.Run(ctx, job(p.Provider), engine.RunOptions{})
		return err
	})
}

// dieAt makes this process kill itself at its moment. A trigger of this process's own connections to the
// journal tells of each transition, before it is committed.
func (p process) dieAt() error {
	var n atomic.Int64
	err := sqlite.RegisterScalarFunction("transition", 0, func(*sqlite.FunctionContext, []driver.Value) (driver.Value, error) {
		if n.Add(1) == int64(p.Moment.Transition) {
			if p.Moment.Committed {
				go p.dieCommitted()
			} else {
				p.die()
			}
		}
		return int64(0), nil
	})
	if err != nil {
		return err
	}
	sqlite.RegisterConnectionHook(func(conn sqlite.ExecQuerierContext, _ string) error {
		_, err := conn.ExecContext(context.Background(),
			"CREATE TEMP TRIGGER IF NOT EXISTS dying AFTER INSERT ON main.transitions BEGIN SELECT transition(); END", nil)
		return err
	})
	return nil
}

// dieCommitted waits until the journal has the transition.
func (p process) dieCommitted() {
	for {
		if n, err := transitions(context.Background(), p.State); err == nil && n >= p.Moment.Transition {
			p.die()
		}
		time.Sleep(100 * time.Microsecond)
	}
}

func (p process) die() {
	if p.Moment.Guardian {
		p.killGuardians()
	}
	if self, err := os.FindProcess(os.Getpid()); err == nil {
		_ = self.Kill()
	}
	select {}
}
