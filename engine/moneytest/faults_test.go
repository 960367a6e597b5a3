package moneytest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bifrost-run/bifrost/engine"
	"github.com/bifrost-run/bifrost/gpu"
	"github.com/bifrost-run/bifrost/gpu/gputest/clients"
	"github.com/bifrost-run/bifrost/gpu/gputest/cloud"
	"github.com/bifrost-run/bifrost/gpu/prime"
)

// A faultCase is one fault at one call of one provider, once or for as long as the first command runs.
type faultCase struct {
	provider string
	op       string
	kind     cloud.Kind
	times    int // 0 is throughout
}

// none is the case in which nothing goes wrong.
const none cloud.Kind = "none"

func (c faultCase) String() string {
	if c.kind == none {
		return c.provider + ": no fault"
	}
	times := "once"
	if c.times == 0 {
		times = "throughout"
	}
	return fmt.Sprintf("%s %s: %s, %s", c.provider, c.op, c.kind, times)
}

// A faultRow is what came of it.
type faultRow struct {
	faultCase
	err   error // of the first command
	after count // the first command
	left  count // after the next one
	wrong []string
}

// TestFaults is the table of faults: one command rents a machine, logs in and ends it, while one call of the
// provider's API goes wrong. After it the journal knows every machine that there is at the provider; after the
// next command there is none.
func TestFaults(t *testing.T) {
	t.Parallel()
	var cases []faultCase
	for _, provider := range available(t) {
		acct := cloud.New(t, provider, cloud.Options{})
		cases = append(cases, faultCase{provider: provider, kind: none})
		for _, op := range acct.Ops() {
			for _, kind := range cloud.Kinds() {
				for _, times := range []int{1, 0} {
					cases = append(cases, faultCase{provider, op, kind, times})
				}
			}
		}
	}
	if os.Getenv(allEnv) == "" {
		all := len(cases)
		cases = sample(cases, fewFaults)
		t.Logf("%d of %d faults; make money has all", len(cases), all)
	}
	rows := make([]faultRow, len(cases))
	var wg sync.WaitGroup
	slots := make(chan struct{}, 12) // most of a case is waiting
	for i, c := range cases {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			rows[i] = runFault(t, c)
		})
	}
	wg.Wait()
	for _, r := range rows {
		for _, w := range r.wrong {
			t.Errorf("%s: %s", r.faultCase, w)
		}
	}
	t.Log("\n" + faultTable(rows))
}

// runFault runs one case.
func runFault(t *testing.T, c faultCase) (row faultRow) {
	row.faultCase = c
	defer func() {
		if r := recover(); r != nil {
			row.wrong = append(row.wrong, fmt.Sprintf("panic: %v", r))
		}
	}()
	wrong := func(format string, args ...any) { row.wrong = append(row.wrong, fmt.Sprintf(format, args...)) }
	state, err := stateDir()
	if err != nil {
		wrong("%v", err)
		return row
	}
	defer os.RemoveAll(state)
	var reports sync.Mutex
	var quirks []cloud.Quirk
	if c.provider == prime.Name && c.op == "summary" { // which is asked where the listing is empty
		quirks = append(quirks, cloud.PrimeBlank)
	}
	acct, err := cloud.Start(c.provider, cloud.Options{Shallow: true, Quirks: quirks, Report: func(format string, args ...any) {
		reports.Lock()
		defer reports.Unlock()
		wrong(format, args...)
	}})
	if err != nil {
		wrong("%v", err)
		return row
	}
	defer func() {
		if err := acct.Close(); err != nil {
			wrong("%v", err)
		}
	}()
	var seen transcript
	p := clients.New(c.provider, acct.URL, acct.Key)
	if c.op == "list" { // nothing asks for it unless it must
		acct.Fault(cloud.Fault{Op: "create", Kind: cloud.CutAfter, Times: 1})
	}
	switch {
	case c.kind == none:
	case c.kind == cloud.Refused && c.times == 0:
		p = withDown(p, acct, c.op)
	default:
		acct.Fault(cloud.Fault{Op: c.op, Kind: c.kind, Times: c.times})
	}
	ctx, cancel := context.WithTimeoutCause(t.Context(), 2*time.Minute, errors.New("it takes more than two minutes"))
	defer cancel()
	cfg := config(state, p, seen.sink)
	if c.times == 0 && (c.op == "get" || c.op == "status" || c.op == "prepare") {
		cfg.Timing.Boot = 500 * time.Millisecond // no machine will ever be ready
	}
	row.err = command(ctx, cfg, func(e *engine.Engine) error {
		_, err := e.Acquire(ctx, engine.NodeSpec{Provision: &gpu.Query{Providers: []string{c.provider}}})
		return err
	})
	if c.kind == none && (row.err != nil || len(acct.Rented()) != 1) {
		wrong("it rented %d machines", len(acct.Rented()))
	}
	if c.kind != none && c.kind != cloud.Refused && len(acct.Calls(c.op)) == 0 {
		wrong("the call was never made")
	}
	acct.Heal()
	acct.Up()
	row.after = take(ctx, acct, state)
	if row.after.known != row.after.there {
		wrong("%d machines at the provider, the journal knows %d", row.after.there, row.after.known)
	}
	next := command(ctx, config(state, clients.New(c.provider, acct.URL, acct.Key), seen.sink), func(e *engine.Engine) error {
		if err := e.Settle(ctx); err != nil {
			return err
		}
		_, err := e.Reap(ctx, false)
		return err
	})
	row.left = take(ctx, acct, state)
	if row.left.there > 0 || row.left.open > 0 {
		wrong("after the next command (%v): %d machines at the provider, %d open records", next, row.left.there, row.left.open)
	}
	row.wrong = append(row.wrong, row.left.wrong...)
	if row.err != nil && strings.Contains(row.err.Error(), acct.Key) || strings.Contains(strings.Join(seen.all(), "\n"), acct.Key) {
		wrong("the key was told")
	}
	if len(row.wrong) > 0 {
		wrong("the first command: %v\n%s", row.err, strings.Join(seen.all(), "\n"))
	}
	return row
}

// command is what a command of bifrost does with an engine.
func command(ctx context.Context, cfg engine.Config, do func(*engine.Engine) error) error {
	e, err := engine.Open(ctx, cfg)
	if err != nil {
		return err
	}
	err = do(e)
	if closed := e.Close(); err == nil {
		err = closed
	}
	return err
}

// faultTable sums rows up, a line for each call.
func faultTable(rows []faultRow) string {
	type sum struct{ cases, failed, there, known, left, rented int }
	sums := map[string]*sum{}
	var order []string
	total := &sum{}
	for _, r := range rows {
		name := fmt.Sprintf("%-8s %-10s", r.provider, cmp.Or(r.op, "(no fault)"))
		if sums[name] == nil {
			sums[name] = &sum{}
			order = append(order, name)
		}
		for _, s := range []*sum{sums[name], total} {
			s.cases++
			if r.err != nil {
				s.failed++
			}
			s.there += r.after.there
			s.known += r.after.known
			s.left += r.left.there + r.left.open
			s.rented += r.left.rented
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%-19s %6s %16s %7s %12s %11s %5s\n", "", "cases", "command failed", "rented", "at provider", "in journal", "left")
	line := func(name string, s *sum) {
		fmt.Fprintf(&b, "%-19s %6d %16d %7d %12d %11d %5d\n", name, s.cases, s.failed, s.rented, s.there, s.known, s.left)
	}
	for _, name := range order {
		line(name, sums[name])
	}
	line("all", total)
	return b.String()
}
