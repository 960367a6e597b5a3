package local

import (
	"context"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/bifrost-run/bifrost/gpu"
)

// gpus are those of this machine; the zero value is none.
type gpus struct {
	name   string
	vramGB float64 // per GPU
	count  int
}

// detectGPUs asks nvidia-smi. Where there is none, or it fails, there are no GPUs that a job could
// use.
func detectGPUs(ctx context.Context) gpus {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second) // its first run may load the driver
	defer cancel()
	cmd := exec.CommandContext(ctx, "nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader,nounits")
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	if err != nil {
		return gpus{}
	}
	return parseGPUs(string(out))
}

// parseGPUs reads lines of "NVIDIA H100 80GB HBM3, 81559", the memory in MiB. On a machine with
// several types the first counts for all.
func parseGPUs(csv string) gpus {
	var g gpus
	for line := range strings.Lines(csv) {
		name, memory, ok := strings.Cut(strings.TrimSpace(line), ", ")
		mib, err := strconv.ParseFloat(memory, 64)
		if !ok || err != nil {
			continue
		}
		if g.count++; g.count == 1 {
			g.name, g.vramGB = gpu.Canonical(name, mib/1024, "")
		}
	}
	return g
}
