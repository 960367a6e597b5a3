package plan

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/bifrost-run/bifrost/engine"
	"github.com/bifrost-run/bifrost/gpu"
)

// A World is what a plan may look at. None of its methods changes anything.
type World interface {
	// Offers searches what could be rented.
	Offers(ctx context.Context, query gpu.Query, explain bool) (engine.Offers, error)
	// Files lists what a push of the local folder would send.
	Files(ctx context.Context, source string) ([]File, error)
}

// A File is one that would be sent.
type File struct {
	Path string
	Size int64 // bytes
}

// A Step is something that the script would do.
type Step struct {
	Op      string         // "rent", "connect", "push", "bootstrap", "start", "results", "release", …
	Text    string         // what, on one line
	Details []string       // more of it, a line each
	Data    map[string]any // the same for programs
}

// A StopError ends a plan at a question that only a real machine can answer. No script can catch it.
type StopError struct{ Question string }

func (e *StopError) Error() string { return e.Question }

func stop(format string, args ...any) error { return &StopError{fmt.Sprintf(format, args...)} }

// rentStep describes the machine that would be rented.
func rentStep(query gpu.Query, kept []gpu.Offer, timeout time.Duration, maxCost float64) Step {
	best := kept[0]
	s := Step{Op: "rent", Text: describe(best), Data: map[string]any{"offers": len(kept), "price_per_hour": best.PriceTotal, "best": offerData(best)}}
	for _, o := range kept[1:min(len(kept), 3)] {
		s.Details = append(s.Details, "else "+describe(o))
	}
	if len(kept) > 3 {
		s.Details = append(s.Details, fmt.Sprintf("%d offers match", len(kept)))
	}
	most := 0.0
	switch limit := affordable(maxCost, best.PriceTotal); {
	case best.PriceTotal == 0:
		s.Details = append(s.Details, "it costs nothing")
	case limit > 0 && (timeout == 0 || limit < timeout):
		most = maxCost
		s.Details = append(s.Details, fmt.Sprintf("$%.2f per hour; at most $%.2f, the max_cost, which is reached after %s", best.PriceTotal, maxCost, limit.Round(time.Second)))
	case timeout > 0:
		most = best.PriceTotal * timeout.Hours()
		s.Details = append(s.Details, fmt.Sprintf("$%.2f per hour; $%.2f when the job runs into its timeout of %s", best.PriceTotal, most, timeout))
	default:
		s.Details = append(s.Details, fmt.Sprintf("$%.2f per hour, without a limit", best.PriceTotal))
	}
	if most > 0 {
		s.Data["most"] = most
	}
	return s
}

func affordable(usd, perHour float64) time.Duration {
	if usd <= 0 || perHour <= 0 {
		return 0
	}
	return time.Duration(usd / perHour * float64(time.Hour))
}

func describe(o gpu.Offer) string {
	parts := []string{o.Provider}
	for _, part := range []string{o.CloudType, o.Region} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	if o.Spot {
		parts = append(parts, "spot")
	}
	what := "machine without a GPU"
	if o.GPUCount > 0 {
		what = fmt.Sprintf("%dx %s", o.GPUCount, cmp.Or(o.GPUType, "GPU"))
	}
	return fmt.Sprintf("%s at $%.2f per hour (%s)", what, o.PriceTotal, strings.Join(parts, ", "))
}

func offerData(o gpu.Offer) map[string]any {
	return map[string]any{
		"provider": o.Provider, "gpu_type": o.GPUType, "gpu_count": o.GPUCount, "price_per_gpu": o.PricePerGPU, "price_total": o.PriceTotal,
		"cloud_type": o.CloudType, "region": o.Region, "spot": o.Spot,
	}
}

// pushStep describes what would be sent.
func pushStep(source, workspace string, files []File) Step {
	var bytes int64
	for _, f := range files {
		bytes += f.Size
	}
	s := Step{
		Op: "push", Text: fmt.Sprintf("%s to %s: %d files, %s", source, workspace, len(files), size(bytes)),
		Data: map[string]any{"source": source, "workspace": workspace, "files": len(files), "bytes": bytes},
	}
	largest := slices.SortedFunc(slices.Values(files), func(a, b File) int { return cmp.Or(cmp.Compare(b.Size, a.Size), cmp.Compare(a.Path, b.Path)) })
	for _, f := range largest[:min(len(largest), 3)] {
		if f.Size > 0 && len(files) > 1 {
			s.Details = append(s.Details, fmt.Sprintf("%s, %s", f.Path, size(f.Size)))
		}
	}
	return s
}

func size(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	case n >= 1<<10:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%d bytes", n)
}

// startStep describes a job; of its environment the names alone.
func startStep(op string, s engine.Submit) Step {
	names := []string{}
	for _, v := range s.Env {
		names = append(names, v.Name)
	}
	step := Step{Op: op, Text: s.Command.String(), Data: map[string]any{"command": s.Command.String(), "env": names, "timeout_s": s.Timeout.Seconds()}}
	if s.WorkingDir != "" {
		step.Details = append(step.Details, "in "+s.WorkingDir)
	}
	if len(names) > 0 {
		step.Details = append(step.Details, "with "+strings.Join(names, ", "))
	}
	if s.Timeout > 0 {
		step.Details = append(step.Details, "timeout "+s.Timeout.String())
	} else if op == "start" {
		step.Details = append(step.Details, "no timeout")
	}
	return step
}
