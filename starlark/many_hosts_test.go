package starlark

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	star "go.starlark.net/starlark"

	"github.com/bifrost-run/bifrost/starlark/policy"
)

// TestManyHosts runs many hosts at once, each with a script, a library, a policy, limits and a secret of its
// own. Every fifth fails, is cancelled, hits a limit or is refused something, which none of the others sees.
func TestManyHosts(t *testing.T) {
	t.Parallel()
	const hosts = 60
	var together, ended sync.WaitGroup // together: all are in the middle of their scripts
	together.Add(hosts)
	for n := range hosts {
		arrive := sync.OnceFunc(together.Done)
		h := newLoneHost(t, n, func() { arrive(); together.Wait() })
		ended.Go(func() {
			defer arrive()
			h.run(t)
		})
	}
	ended.Wait()
}

// A loneHost is a host of many, and what its script must have seen.
type loneHost struct {
	number   int
	host     *Host
	out      bytes.Buffer
	file     string
	cancel   context.CancelCauseFunc
	ctx      context.Context
	cause    error
	redactor Redactor
}

// The ways in which a script of TestManyHosts ends.
const (
	endsWell = iota
	endsFailing
	endsCancelled
	endsAtItsLimit
	endsRefused
	waysToEnd
)

func newLoneHost(t *testing.T, number int, meet func()) *loneHost {
	t.Helper()
	h := &loneHost{number: number, cause: fmt.Errorf("the user stopped host %d", number)}
	h.ctx, h.cancel = context.WithCancelCause(t.Context())
	h.redactor.Add(fmt.Sprintf("SECRET_%d", number), fmt.Sprintf("value-of-%d", number))
	dir := t.TempDir()
	h.file = filepath.Join(dir, "main.star")
	writeFile(t, filepath.Join(dir, "own.star"), fmt.Sprintf("own = %d\n", number))
	writeFile(t, h.file, `
load("./own.star", "own")
load("@lib//number.star", library = "number")

def main(argv):
    meet()
    print(own, library, number, argv[0], "value-of-%d" % own)
    ask("/%d" % own)
    if way == 1:
        fail("host", own)
    if way == 2:
        stop()
    for _ in range(1 << 50 if way in [2, 3] else 10):
        pass
    if way == 4:
        ask("/%d" % (own + 1))
    return own
`)
	builtin := func(name string, fn func(t *Thread, args star.Tuple) error) *star.Builtin {
		return star.NewBuiltin(name, func(t *star.Thread, _ *star.Builtin, args star.Tuple, _ []star.Tuple) (star.Value, error) {
			return star.None, fn(ThreadOf(t), args)
		})
	}
	h.host = &Host{
		Predeclared: star.StringDict{
			"number": star.MakeInt(number), "way": star.MakeInt(number % waysToEnd),
			"meet": builtin("meet", func(*Thread, star.Tuple) error { meet(); return nil }),
			"stop": builtin("stop", func(*Thread, star.Tuple) error { h.cancel(h.cause); return nil }),
			"ask": builtin("ask", func(t *Thread, args star.Tuple) error {
				path, _ := star.AsString(args[0])
				return t.Run().Gate.Ask(t.Context(), policy.Request{Capability: policy.ReadFile, Target: path})
			}),
		},
		Libraries: map[string]fs.FS{"lib": fstest.MapFS{"number.star": {Data: []byte(fmt.Sprintf("number = %d\n", number))}}},
		Stdout:    &h.out,
		Redactor:  &h.redactor,
		// The heap is the process's, so that none is limited by it here.
		Limits: Limits{Steps: uint64(100_000 + number), Heap: NoLimit},
		Gate: policy.NewGate(func(_ context.Context, r policy.Request) error {
			if own := fmt.Sprintf("/%d", number); r.Target != own {
				return fmt.Errorf("host %d reads %s alone", number, own)
			}
			return nil
		}),
	}
	return h
}

func (h *loneHost) run(t *testing.T) {
	t.Helper()
	n := h.number
	outcome, err := h.host.Exec(h.ctx, h.file, []string{fmt.Sprint("arg-", n)})
	h.cancel(nil)
	if got, want := h.out.String(), fmt.Sprintf("%[1]d %[1]d %[1]d arg-%[1]d <secret SECRET_%[1]d>\n", n); got != want {
		t.Errorf("host %d prints %q, want %q", n, got, want)
	}
	var limit *LimitError
	var denied *policy.Denied
	var failed *Error
	switch errors.As(err, &failed); n % waysToEnd {
	case endsWell:
		if err != nil || outcome.ExitCode != n {
			t.Errorf("host %d: exit code %d, %v", n, outcome.ExitCode, err)
		}
	case endsFailing:
		if failed == nil || failed.Message != fmt.Sprint("fail: host ", n) {
			t.Errorf("host %d: %v, want its own failure", n, err)
		}
	case endsCancelled:
		if !errors.Is(err, h.cause) {
			t.Errorf("host %d: %v, want %v", n, err, h.cause)
		}
	case endsAtItsLimit:
		if !errors.As(err, &limit) || limit.Limit != "steps" || limit.Max != int64(100_000+n) {
			t.Errorf("host %d: %v, want its own limit of steps", n, err)
		}
	case endsRefused:
		if !errors.As(err, &denied) || !strings.Contains(denied.Reason.Error(), fmt.Sprintf("host %d ", n)) {
			t.Errorf("host %d: %v, want its own gate to refuse", n, err)
		}
	}
}
