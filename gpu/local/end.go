//go:build unix

package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

const supported = true

// A process is one of this machine's.
type process struct {
	pid, parent int
	dead        bool // a zombie
}

func detached() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }

func askToStop(pid int) { _ = syscall.Kill(pid, syscall.SIGTERM) } // whether it does is seen from the lock

// endPatience is how long a process may take to die of SIGKILL.
const endPatience = 10 * time.Second

// endDescendants ends all that descends from root, but not root: SIGTERM first, SIGKILL after
// grace.
func endDescendants(ctx context.Context, root int, grace time.Duration) error {
	return endAll(ctx, grace, func() ([]int, error) {
		all, err := processes()
		return descendants(all, map[int]bool{root: true}), err
	})
}

// endTree ends root and all that descends from it. Root is stopped first, so that its descendants
// cannot pass to another parent meanwhile.
func endTree(ctx context.Context, root int, grace time.Duration) error {
	_ = syscall.Kill(root, syscall.SIGSTOP)
	if err := endDescendants(ctx, root, grace); err != nil {
		return err
	}
	if err := syscall.Kill(root, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return err
	}
	return nil
}

// endMarked ends all processes that carry the mark of instance id, and what descends from them. It
// is for those whose daemon was killed.
func endMarked(ctx context.Context, id string) error {
	return endAll(ctx, 0, func() ([]int, error) {
		all, err := processes()
		if err != nil {
			return nil, err
		}
		roots, err := marked(all, id)
		if err != nil {
			return nil, err
		}
		delete(roots, os.Getpid()) // bifrost itself may be run on an instance
		found := descendants(all, roots)
		for pid := range roots {
			found = append(found, pid)
		}
		return found, nil
	})
}

// endAll kills what find finds until it finds nothing: a process may start others while it is
// being killed.
func endAll(ctx context.Context, grace time.Duration, find func() ([]int, error)) error {
	start := time.Now()
	asked := map[int]bool{}
	for {
		pids, err := find()
		if err != nil || len(pids) == 0 {
			return err
		}
		if time.Since(start) > grace+endPatience {
			return fmt.Errorf("processes %v do not end", pids)
		}
		for _, pid := range pids {
			if time.Since(start) >= grace {
				_ = syscall.Kill(pid, syscall.SIGKILL) // what is left is found again
			} else if !asked[pid] {
				asked[pid] = true
				_ = syscall.Kill(pid, syscall.SIGTERM)
				_ = syscall.Kill(pid, syscall.SIGCONT) // what is stopped would not hear it
			}
		}
		if err := pause(ctx, pollEvery); err != nil {
			return err
		}
	}
}

// descendants returns those of all, the dead and this process aside, that descend from one of roots.
func descendants(all []process, roots map[int]bool) []int {
	children := map[int][]process{}
	for _, p := range all {
		children[p.parent] = append(children[p.parent], p)
	}
	var found []int
	seen := map[int]bool{}
	var walk func(int)
	walk = func(pid int) {
		for _, p := range children[pid] {
			if seen[p.pid] {
				continue
			}
			seen[p.pid] = true
			if !p.dead && !roots[p.pid] && p.pid != os.Getpid() {
				found = append(found, p.pid)
			}
			walk(p.pid)
		}
	}
	for root := range roots {
		walk(root)
	}
	return found
}

// endTmux ends the tmux servers whose sockets are in an instance's folder for them.
func endTmux(ctx context.Context, sockets string) {
	found, _ := filepath.Glob(filepath.Join(sockets, "tmux-*", "*")) // the pattern is well formed
	for _, socket := range found {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		_ = exec.CommandContext(ctx, "tmux", "-S", socket, "kill-server").Run() // most were killed before
		cancel()
	}
}
