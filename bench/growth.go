//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/bifrost-run/bifrost/engine"
	"github.com/bifrost-run/bifrost/gpu"
)

// A growth is work of which there can be more and more, done at no distance.
type growth struct {
	name  string
	unit  string
	sizes []int
	run   func(ctx context.Context, b *bench, n int) (sample, error)
	why   string // where its cost does not grow evenly
}

// A step is one size of a growth.
type step struct {
	n    int
	took time.Duration
	peak int64
}

// growthRuns is how often each size is measured; the median counts.
const growthRuns = 3

func (g growth) measure(ctx context.Context, b *bench) ([]step, error) {
	var all []step
	for i, n := range g.sizes {
		if b.quick && i == len(g.sizes)-1 && i > 1 {
			break
		}
		b.note("growth, %s: %d %s", g.name, n, g.unit)
		var runs []sample
		for len(runs) < growthRuns {
			s, err := g.run(ctx, b, n)
			if err != nil {
				return all, err
			}
			runs = append(runs, s)
			if s.Took > 2*time.Second {
				break // it says enough
			}
		}
		all = append(all, step{n, median(runs), peak(runs)})
	}
	return all, nil
}

// growthHead begins the table of growths.
const growthHead = "| work | of | time | memory | each | against the size before |\n|---|---|---|---|---|---|\n"

// writeSteps prints the sizes of one growth. What is done more often may cost more time only as often.
func (g growth) writeSteps(w io.Writer, all []step) {
	for i, s := range all {
		against := ""
		if i > 0 {
			more, longer := float64(s.n)/float64(all[i-1].n), s.took.Seconds()/all[i-1].took.Seconds()
			against = fmt.Sprintf("×%.4g in number, ×%.2f in time", more, longer)
			if longer > 1.25*more {
				against += ", **more than linear**"
			}
		}
		fmt.Fprintf(w, "| %s | %s %s | %s | %s | %s | %s |\n", g.name, grouped(s.n), g.unit, seconds(s.took), size(s.peak),
			seconds(s.took/time.Duration(s.n)), against)
	}
	if g.why != "" {
		fmt.Fprintf(w, "| | | | | | %s |\n", g.why)
	}
}

// grouped prints a number with its thousands apart.
func grouped(n int) string {
	text := strconv.Itoa(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

var growths = []growth{
	{name: "download, 1 kB each", unit: "files", sizes: []int{100, 1000, 10_000, 100_000}, run: growFiles("download")},
	{name: "upload, 1 kB each", unit: "files", sizes: []int{100, 1000, 10_000, 100_000}, run: growFiles("upload")},
	{name: "first push, 1 kB each", unit: "files", sizes: []int{100, 1000, 10_000, 100_000}, run: growFiles("push")},
	{name: "push, nothing changed", unit: "files", sizes: []int{100, 1000, 10_000, 100_000}, run: growFiles("push again")},
	{name: "log of a job that has ended", unit: "kB", sizes: []int{1, 1000, 100_000, 1_000_000}, run: growLog},
	{name: "ps", unit: "jobs in the journal", sizes: []int{1, 100, 1000, 10_000}, run: growPs()},
	{name: "ps -a", unit: "jobs in the journal", sizes: []int{1, 100, 1000, 10_000}, run: growPs("-a")},
	{name: "offers asked for and ranked", unit: "offers", sizes: []int{10, 100, 1000, 10_000}, run: growOffers},
	{name: "jobs at once on one node, 1 s each", unit: "jobs", sizes: []int{1, 8, 64}, run: growJobs},
	{name: "script: a loop", unit: "iterations", sizes: []int{10_000, 100_000, 1_000_000, 10_000_000}, run: growScript(scriptLoop)},
	{name: "script: parallel", unit: "items", sizes: []int{2, 20, 200, 2000}, run: growScript(scriptParallel)},
	{name: "script: modules that load each other", unit: "modules", sizes: []int{3, 30, 300, 3000}, run: growScript(scriptModules)},
}

// growFiles moves a folder of small files.
func growFiles(op string) func(context.Context, *bench, int) (sample, error) {
	return func(ctx context.Context, b *bench, n int) (sample, error) {
		near := b.sites[b.trips[0]]
		from, to := b.file(fmt.Sprintf("grow/%d", n)), b.onNode("grow/to")
		if op == "download" {
			from, to = b.onNode(fmt.Sprintf("grow/%d", n)), b.file("grow/to")
		}
		if _, err := b.once(from, func(path string) error { return writeResults(path, n, 1000, 5) }); err != nil {
			return sample{}, err
		}
		if err := errors.Join(os.RemoveAll(to), os.MkdirAll(filepath.Dir(to), 0o755)); err != nil {
			return sample{}, err
		}
		o := b.order(near, op)
		o.Local, o.Remote = from, to
		switch op {
		case "download":
			o.Local, o.Remote = to, from
		case "push", "push again":
			o.Op, o.Cache = "push", b.file(fmt.Sprintf("grow/cache-%d", b.next()))
			defer os.RemoveAll(o.Cache)
			if op == "push again" {
				if _, err := place(ctx, o); err != nil {
					return sample{}, err
				}
			}
		}
		s, err := place(ctx, o)
		if err != nil {
			return s, err
		}
		return s, sameTree(from, to)
	}
}

func growLog(ctx context.Context, b *bench, kilobytes int) (sample, error) {
	id, log, err := b.finishedJob(ctx, kilobytes*10)
	if err != nil {
		return sample{}, err
	}
	o := b.order(b.sites[b.trips[0]], "follow")
	o.Remote, o.Local = id, b.file(fmt.Sprintf("grow/log-%d", b.next()))
	defer os.Remove(o.Local)
	s, err := place(ctx, o)
	if err != nil {
		return s, err
	}
	return s, sameFile(log, o.Local)
}

func growPs(more ...string) func(context.Context, *bench, int) (sample, error) {
	return func(ctx context.Context, b *bench, n int) (sample, error) {
		dir, argv, err := psOf(n, more...)(ctx, b)
		if err != nil {
			return sample{}, err
		}
		p, err := b.bifrostOf(ctx, dir, dir, argv...)
		if want := n; err == nil && len(more) > 0 && len(p.out) < want {
			err = fmt.Errorf("ps lists %d jobs, want %d", len(p.out), want)
		}
		return sample{Took: p.took(), Peak: p.peak}, err
	}
}

func growJobs(ctx context.Context, b *bench, n int) (sample, error) {
	c, err := b.jobsAtOnce(b.sites[b.trips[0]], n)
	if err != nil {
		return sample{}, err
	}
	return b.turn(ctx, b.sites[b.trips[0]], c)
}

func growOffers(ctx context.Context, b *bench, n int) (sample, error) {
	o := b.order(b.sites[b.trips[0]], "offers")
	o.Local = strconv.Itoa(n)
	s, err := place(ctx, o)
	s.Took = s.Extra // the start of the process apart
	return s, err
}

// A market is a provider that has offers and rents nothing.
type market struct {
	gpu.Provider
	offers []gpu.Offer
}

func (m market) Name() string { return "market" }

func (m market) Offers(context.Context, gpu.Query) ([]gpu.Offer, error) { return m.offers, nil }

// rankOffers has an engine ask a market with so many offers, and takes the time of that.
func rankOffers(ctx context.Context, count string, s *sample) error {
	n, err := strconv.Atoi(count)
	if err != nil {
		return err
	}
	m := market{}
	types := []string{"A100 80GB SXM", "H100 80GB SXM", "RTX 4090", "L40S"}
	for i := range n {
		m.offers = append(m.offers, gpu.Offer{
			Provider: "market", ID: fmt.Sprintf("m-%d", i), GPUType: types[i%4], VRAMGB: 80, GPUCount: 1 + i%2, PricePerGPU: 1 + float64(i*7919%1000)/500,
			CloudType: "secure", Region: []string{"EU", "US"}[i%3%2], CUDA: "12.4",
		})
	}
	dir, err := os.MkdirTemp("", "bifrost-offers-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	e, err := engine.Open(ctx, engine.Config{StateDir: dir, Providers: []gpu.Provider{m}})
	if err != nil {
		return err
	}
	defer e.Close()
	start := time.Now()
	got, err := e.Offers(ctx, gpu.Query{Type: "A100", Count: 1, MaxPrice: 2.5, MinVRAM: 40}, true)
	s.Extra = time.Since(start)
	if err == nil && len(got.Kept)+len(got.Missed) != n {
		err = fmt.Errorf("%d offers of %d were ranked", len(got.Kept)+len(got.Missed), n)
	}
	return err
}

// growScript runs a script that needs no node; write makes it.
func growScript(write func(dir string, n int) error) func(context.Context, *bench, int) (sample, error) {
	return func(ctx context.Context, b *bench, n int) (sample, error) {
		dir := b.file(fmt.Sprintf("script-%d", b.next()))
		defer os.RemoveAll(dir)
		err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, "bifrost.toml"), nil, 0o644))
		if err == nil {
			err = write(dir, n)
		}
		if err != nil {
			return sample{}, err
		}
		p, err := b.bifrost(ctx, dir, "exec", "main.star")
		if err == nil {
			_, err = find(p.out, fmt.Sprintf("result %d", n))
		}
		return sample{Took: p.took(), Peak: p.peak}, err
	}
}

func scriptLoop(dir string, n int) error {
	return os.WriteFile(filepath.Join(dir, "main.star"), fmt.Appendf(nil, `def main(argv):
    total = 0
    for i in range(%d):
        total += 1
    print("result %%d" %% total)
`, n), 0o644)
}

func scriptParallel(dir string, n int) error {
	return os.WriteFile(filepath.Join(dir, "main.star"), fmt.Appendf(nil, `def main(argv):
    done = parallel(lambda i: i * i, range(%d), limit = 16)
    print("result %%d" %% len([value for value, err in done if not err]))
`, n), 0o644)
}

// scriptModules writes a graph: each module loads two of its own, and the last one, which all share.
func scriptModules(dir string, n int) error {
	for i := range n {
		var text strings.Builder
		for _, k := range []int{2*i + 1, 2*i + 2} {
			if k < n {
				fmt.Fprintf(&text, "load(\"./m%d.star\", \"count%d\")\n", k, k)
			}
		}
		if i < n-1 {
			fmt.Fprintf(&text, "load(\"./m%d.star\", shared = \"helper\")\n", n-1)
		}
		fmt.Fprintf(&text, "\ncount%d = 1", i)
		for _, k := range []int{2*i + 1, 2*i + 2} {
			if k < n {
				fmt.Fprintf(&text, " + count%d", k)
			}
		}
		text.WriteString("\n\ndef helper(a, b = 2):\n    \"\"\"Adds.\"\"\"\n    return a + b\n")
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("m%d.star", i)), []byte(text.String()), 0o644); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(dir, "main.star"), []byte("load(\"./m0.star\", \"count0\")\n\nprint(\"result %d\" % count0)\n"), 0o644)
}
