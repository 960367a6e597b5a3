//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/bifrost-run/bifrost/engine/follow"
	"github.com/bifrost-run/bifrost/engine/push"
	"github.com/bifrost-run/bifrost/engine/session"
	"github.com/bifrost-run/bifrost/engine/ssh"
	"github.com/bifrost-run/bifrost/engine/transfer"
)

// An order is one piece of work of ours. It is done by a process of its own, as the peers' is, so that
// start, memory and garbage collection count as theirs do.
type order struct {
	Op     string
	Target ssh.Target
	Home   string // with .ssh
	Open   bool   // connect first, and measure from then on
	Local  string
	Remote string
	Cache  string
}

// A sample is one run of a contender.
type sample struct {
	Took  time.Duration
	Peak  int64         // bytes of memory, 0 where nobody looked
	Extra time.Duration // a second time that the run gave
	Net   traffic

	// Work and More are when Took and Extra began and ended; zero is the whole run. Trips and MoreTrips are
	// the round trips in them.
	Work, More       span
	Trips, MoreTrips float64
}

// A span is the time between two moments.
type span struct{ From, To time.Time }

// orderArg as the first argument makes this program do an order.
const orderArg = "order"

// place runs an order in a process of its own. The sample has the time that the order took from within
// when it is on an open connection, else that of the whole process.
func place(ctx context.Context, o order) (sample, error) {
	text, err := json.Marshal(o)
	if err != nil {
		return sample{}, err
	}
	self, err := os.Executable()
	if err != nil {
		return sample{}, err
	}
	var out, stderr bytes.Buffer
	cmd := command(ctx, self, orderArg, string(text))
	cmd.Stdout, cmd.Stderr = &out, &stderr
	start := time.Now()
	if err := cmd.Run(); err != nil {
		return sample{}, fmt.Errorf("%s: %w: %s", o.Op, err, strings.TrimSpace(stderr.String()))
	}
	took := time.Since(start)
	var s sample
	if err := json.Unmarshal(out.Bytes(), &s); err != nil {
		return sample{}, fmt.Errorf("%s: %w", o.Op, err)
	}
	if !o.Open {
		s.Took = took
	}
	return s, nil
}

// command is exec.Command for a process that ends with this one, its children with it.
func command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = os.Environ()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// doOrder is the other end of place.
func doOrder(ctx context.Context, text string) error {
	var o order
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		return err
	}
	work, ok := ops[o.Op]
	if !ok {
		return fmt.Errorf("no such order: %q", o.Op)
	}
	client, err := ssh.Open(ssh.Config{Target: o.Target, Home: o.Home})
	if err != nil {
		return err
	}
	defer client.Close()
	if o.Open {
		if err := client.Run(ctx, ssh.Command{Script: ":"}); err != nil {
			return err
		}
	}
	var s sample
	start := time.Now()
	if err := work(ctx, client, o, &s); err != nil {
		return err
	}
	end := time.Now()
	if s.Took == 0 {
		s.Took = end.Sub(start)
	}
	if o.Open {
		s.Work = span{start, end}
	}
	if s.Peak, err = peakOf("self"); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(s)
}

// peakOf returns the most memory that a process has had, in bytes. (What getrusage tells of a process
// begins with that of its parent.)
func peakOf(pid string) (int64, error) {
	status, err := os.ReadFile(filepath.Join("/proc", pid, "status"))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		var kib int64
		if _, err := fmt.Sscanf(line, "VmHWM: %d kB", &kib); err == nil {
			return kib << 10, nil
		}
	}
	return 0, errors.New("no VmHWM in the status of a process")
}

// ops is what an order can ask for.
var ops = map[string]func(ctx context.Context, node ssh.Runner, o order, s *sample) error{
	"true": func(ctx context.Context, node ssh.Runner, _ order, _ *sample) error {
		return node.Run(ctx, ssh.Command{Script: "true"})
	},
	"commands": func(ctx context.Context, node ssh.Runner, _ order, s *sample) error {
		var all []time.Duration
		for range 9 {
			start := time.Now()
			if err := node.Run(ctx, ssh.Command{Script: "true"}); err != nil {
				return err
			}
			all = append(all, time.Since(start))
		}
		slices.Sort(all)
		s.Took = all[len(all)/2]
		return nil
	},
	"download": func(ctx context.Context, node ssh.Runner, o order, _ *sample) error {
		_, err := transfer.Download(ctx, node, transfer.Request{Remote: o.Remote, Local: o.Local})
		return err
	},
	"upload": func(ctx context.Context, node ssh.Runner, o order, _ *sample) error {
		_, err := transfer.Upload(ctx, node, transfer.UploadRequest{Local: o.Local, Remote: o.Remote})
		return err
	},
	"push": func(ctx context.Context, node ssh.Runner, o order, _ *sample) error {
		_, err := push.Push(ctx, node, push.Request{Source: o.Local, Workspace: o.Remote, Client: "bench@bench 0", Cache: o.Cache})
		return err
	},
	"start": func(ctx context.Context, node ssh.Runner, o order, _ *sample) error {
		_, err := session.Start(ctx, node, session.Spec{ID: o.Remote, Name: o.Remote, Shell: o.Local, NoTmux: true})
		return err
	},
	"offers": func(ctx context.Context, _ ssh.Runner, o order, s *sample) error { return rankOffers(ctx, o.Local, s) },
	"follow": func(ctx context.Context, node ssh.Runner, o order, _ *sample) error {
		local, err := follow.OpenCopy(o.Local)
		if err != nil {
			return err
		}
		defer local.Close()
		_, err = follow.Follow(ctx, node, follow.Request{JobID: o.Remote, Log: local}, io.Discard)
		return err
	},
}
