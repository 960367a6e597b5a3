package engine

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/bifrost-run/bifrost/engine/fault"
)

// A GPU is one line of nvidia-smi on a node.
type GPU struct {
	Index         int
	Name          string
	MemoryUsedMB  int
	MemoryTotalMB int
	Utilization   int // percent
}

// A GPU counts as busy above one of these.
const (
	busyMemoryMB    = 1000
	busyUtilization = 5
)

// Busy reports whether something else uses the GPU: more than 1000 MB or more than 5 %.
func (g GPU) Busy() bool { return g.MemoryUsedMB > busyMemoryMB || g.Utilization > busyUtilization }

// GPUs asks nvidia-smi on the node.
func (n *Node) GPUs(ctx context.Context) ([]GPU, error) {
	r, err := n.Exec(ctx, Exec{
		Command:    Argv("nvidia-smi", "--query-gpu=index,name,memory.used,memory.total,utilization.gpu", "--format=csv,noheader,nounits"),
		WorkingDir: "~", Timeout: time.Minute,
	})
	if err != nil {
		return nil, err
	}
	if r.ExitCode != 0 {
		hint := "see whether the driver works: bifrost ssh " + n.ID() + " nvidia-smi"
		if r.ExitCode == 127 {
			hint = "the node has no nvidia-smi: is it a machine with NVIDIA GPUs?"
		}
		return nil, &fault.Error{Kind: fault.NotFound, Op: "gpus", Target: n.ID(), Err: fmt.Errorf("nvidia-smi: exit code %d: %s", r.ExitCode, lastLines(r.Stderr+r.Stdout, 3)), Hint: hint}
	}
	return parseGPUs(r.Stdout)
}

func parseGPUs(text string) ([]GPU, error) {
	reader := csv.NewReader(strings.NewReader(text))
	reader.FieldsPerRecord = 5
	reader.TrimLeadingSpace = true
	records, err := reader.ReadAll()
	if err != nil {
		return nil, fmt.Errorf("read nvidia-smi: %w", err)
	}
	gpus := make([]GPU, 0, len(records))
	for _, rec := range records {
		g := GPU{Name: strings.TrimSpace(rec[1])}
		for _, f := range []struct {
			to   *int
			text string
		}{{&g.Index, rec[0]}, {&g.MemoryUsedMB, rec[2]}, {&g.MemoryTotalMB, rec[3]}, {&g.Utilization, rec[4]}} {
			text := strings.TrimSpace(f.text)
			if strings.HasPrefix(text, "[") { // "[N/A]": MIG and some virtual GPUs tell no figure
				continue
			}
			v, err := strconv.ParseFloat(text, 64)
			if err != nil {
				return nil, fmt.Errorf("read nvidia-smi: %q is not a number", f.text)
			}
			*f.to = int(v)
		}
		gpus = append(gpus, g)
	}
	return gpus, nil
}

// WaitForGPUs returns when the GPUs of these indices are free, or an error of kind timeout that
// says which are busy. No ids means all.
func (n *Node) WaitForGPUs(ctx context.Context, ids []int, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for {
		gpus, err := n.GPUs(ctx)
		var busy []string
		if err == nil {
			if busy, err = busyOf(gpus, ids); err != nil {
				return &fault.Error{Kind: fault.NotFound, Op: "wait for gpus", Target: n.ID(), Err: err}
			}
			if len(busy) == 0 {
				return nil
			}
		} else if ctx.Err() == nil {
			return err
		}
		if sleep(ctx, 5*time.Second) != nil {
			if cause := context.Cause(ctx); !errors.Is(cause, context.DeadlineExceeded) {
				return cause
			}
			return &fault.Error{
				Kind: fault.Timeout, Op: "wait for gpus", Target: n.ID(), Err: fmt.Errorf("still busy after %s: %s", timeout, strings.Join(busy, ", ")),
				Hint: "see who uses them: bifrost ssh " + n.ID() + " nvidia-smi", ExitCode: 124,
			}
		}
	}
}

func busyOf(gpus []GPU, ids []int) (busy []string, err error) {
	byIndex := map[int]GPU{}
	for _, g := range gpus {
		byIndex[g.Index] = g
		if ids == nil && g.Busy() {
			busy = append(busy, g.describe())
		}
	}
	for _, id := range ids {
		g, ok := byIndex[id]
		if !ok {
			return nil, fmt.Errorf("there is no GPU %d: the node has %d", id, len(gpus))
		}
		if g.Busy() {
			busy = append(busy, g.describe())
		}
	}
	return busy, nil
}

func (g GPU) describe() string {
	return fmt.Sprintf("GPU %d (%d MB, %d %%)", g.Index, g.MemoryUsedMB, g.Utilization)
}
