package engine_test

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bifrost-run/bifrost/engine"
	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/engine/journal"
	"github.com/bifrost-run/bifrost/gpu"
)

type renting = func() (gpu.Instance, error)

// unanswered rents, if it acts, and gives no clear answer.
func unanswered(times int, err error) func(int, gpu.CreateRequest, renting) (gpu.Instance, error) {
	return func(_ int, _ gpu.CreateRequest, rent renting) (gpu.Instance, error) {
		for range times {
			if _, err := rent(); err != nil {
				return gpu.Instance{}, err
			}
		}
		return gpu.Instance{}, err
	}
}

// settled runs what the next command does, and checks that it leaves nothing: neither at the markets nor
// open in the journal.
func settled(t *testing.T, state string, change func(*engine.Config), markets ...*market) *events {
	t.Helper()
	eng, seen := openAt(t, state, func(c *engine.Config) {
		c.Guardian, c.Providers, c.Timing = nil, nil, quick
		for _, m := range markets {
			c.Providers = append(c.Providers, m)
		}
		if change != nil {
			change(c)
		}
	})
	if err := eng.Settle(t.Context()); err != nil {
		t.Errorf("settle: %v", err)
	}
	for _, m := range markets {
		if left := m.left(t); len(left) > 0 {
			t.Errorf("left at %s: %v", m.name, left)
		}
	}
	if nodes, err := eng.Nodes(t.Context(), false); err != nil || len(nodes) > 0 {
		t.Errorf("open in the journal: %+v, %v", nodes, err)
	}
	return seen
}

func TestAmbiguousCreate(t *testing.T) {
	t.Parallel()
	transient := &gpu.Error{Provider: "a", Op: "create", Kind: gpu.Transient, Status: 500, Message: "internal"}
	late := func(looks int) func(context.Context, int, []gpu.Instance) ([]gpu.Instance, error) {
		return func(_ context.Context, n int, all []gpu.Instance) ([]gpu.Instance, error) {
			if n < looks {
				return nil, nil
			}
			return all, nil
		}
	}
	tests := []struct {
		name    string
		a       market
		b       bool // there is another provider
		want    string
		kind    fault.Kind
		words   string
		creates int
	}{
		{"a 500 after it acted", market{create: unanswered(1, transient)}, false, "a", "", "", 1},
		{"no answer, and it is shown late", market{create: unanswered(1, errors.New("reset")), list: late(4)}, false, "a", "", "", 1},
		{"an answer without an id", market{create: unanswered(1, nil)}, false, "a", "", "", 1},
		{"it did not act", market{create: unanswered(0, errors.New("reset"))}, false, "", fault.Unreleased, "nobody knows whether it was created: reset", 1},
		{"it did not act, and there is another", market{create: unanswered(0, errors.New("reset"))}, true, "b", "", "", 1},
		{"it is not shown at all", market{create: unanswered(1, errors.New("reset")), list: late(1000)}, false, "", fault.Unreleased, "shows no machine of this name", 1},
		{"it cannot be listed", market{create: unanswered(1, errors.New("reset")), list: func(context.Context, int, []gpu.Instance) ([]gpu.Instance, error) {
			return nil, transient
		}}, false, "", fault.Unreleased, "internal", 1},
	}
	for i := range tests {
		tt := &tests[i]
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			state := t.TempDir()
			a, b := &tt.a, &market{name: "b", offers: priced(4)}
			a.name, a.offers = "a", priced(2, 3)
			markets := []*market{a}
			if tt.b {
				markets = append(markets, b)
			}
			eng, _ := openAt(t, state, trading(quick, markets...))
			n, err := eng.Acquire(t.Context(), engine.NodeSpec{Provision: &gpu.Query{}})
			switch {
			case tt.want != "":
				if err != nil || n.Provider() != tt.want {
					t.Errorf("got %v, %v, want a machine of %s", n, err, tt.want)
				}
			case fault.KindOf(err) != tt.kind || !strings.Contains(err.Error(), tt.words):
				t.Errorf("got %v (%s), want %s: %s", err, fault.KindOf(err), tt.kind, tt.words)
			}
			if got := a.called("create"); got != tt.creates {
				t.Errorf("%d create calls, want %d", got, tt.creates)
			}
			if err := eng.Close(); err != nil {
				t.Error(err)
			}
			a.list = nil // the provider is well again
			settled(t, state, nil, markets...)
		})
	}
}

// Of one create call there may be two machines. Local nodes have names of their own, so the list says so.
func TestSeveralMachines(t *testing.T) {
	t.Parallel()
	state := t.TempDir()
	var name string
	m := &market{name: "a", offers: priced(2)}
	m.create = func(_ int, req gpu.CreateRequest, rent renting) (gpu.Instance, error) {
		name = req.Name
		if _, err := rent(); err != nil {
			return gpu.Instance{}, err
		}
		req.Name += "-b"
		if _, err := m.below.Create(context.Background(), req); err != nil {
			return gpu.Instance{}, err
		}
		return gpu.Instance{}, errors.New("reset")
	}
	m.list = func(_ context.Context, _ int, all []gpu.Instance) ([]gpu.Instance, error) {
		for i := range all {
			all[i].Name = strings.TrimSuffix(all[i].Name, "-b")
		}
		return all, nil
	}
	m.get = func(_ int, inst gpu.Instance, err error) (gpu.Instance, error) {
		inst.Name = strings.TrimSuffix(inst.Name, "-b")
		return inst, err
	}
	eng, _ := openAt(t, state, trading(quick, m))
	_, err := eng.Acquire(t.Context(), engine.NodeSpec{Provision: &gpu.Query{}})
	if fault.KindOf(err) != fault.Conflict || !strings.Contains(err.Error(), name) || strings.Count(err.Error(), "a:") < 2 {
		t.Errorf("got %v, want a conflict that names both machines", err)
	}
	if left := m.left(t); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	nodes, err := eng.Nodes(t.Context(), true)
	if err != nil || len(nodes) != 2 || nodes[0].State != journal.NodeGone || nodes[1].State != journal.NodeGone {
		t.Errorf("journal: %+v, %v, want both, gone", nodes, err)
	}
}

// An intent is neither closed early nor kept for ever by a clock that was set.
func TestIntentsAndTheClock(t *testing.T) {
	t.Parallel()
	for _, jump := range []time.Duration{0, 1000 * time.Hour, -1000 * time.Hour} {
		for _, exists := range []bool{true, false} {
			t.Run(jump.String()+map[bool]string{true: ", it exists", false: ", it does not"}[exists], func(t *testing.T) {
				t.Parallel()
				state := t.TempDir()
				acts := map[bool]int{true: 1}[exists]
				hidden := atomic.Bool{}
				hidden.Store(true)
				m := &market{name: "a", offers: priced(2), create: unanswered(acts, errors.New("reset"))}
				m.list = func(_ context.Context, _ int, all []gpu.Instance) ([]gpu.Instance, error) {
					if hidden.Load() {
						return nil, nil
					}
					return all, nil
				}
				eng, _ := openAt(t, state, trading(quick, m))
				if _, err := eng.Acquire(t.Context(), engine.NodeSpec{Provision: &gpu.Query{}}); fault.KindOf(err) != fault.Unreleased {
					t.Fatal(err)
				}
				if err := eng.Close(); err != nil {
					t.Fatal(err)
				}
				// The first look of the next command does not show it yet.
				m.list = func(_ context.Context, n int, all []gpu.Instance) ([]gpu.Instance, error) {
					if hidden.Swap(false) {
						return nil, nil
					}
					return all, nil
				}
				settled(t, state, func(c *engine.Config) { c.Now = func() time.Time { return time.Now().Add(jump) } }, m)
			})
		}
	}
}

func TestReleaseGoesOn(t *testing.T) {
	t.Parallel()
	refusal := func(kind gpu.Kind) error {
		return &gpu.Error{Provider: "a", Kind: kind, Message: "says " + string(kind)}
	}
	tests := []struct {
		name string
		m    market
	}{
		{"429, again and again", market{terminate: func(n int, end func() error) error {
			if n < 6 {
				return refusal(gpu.RateLimited)
			}
			return end()
		}}},
		{"500 after it acted", market{terminate: func(n int, end func() error) error {
			if n == 0 {
				return errors.Join(refusal(gpu.Transient), end())
			}
			return end()
		}}},
		{"accepted and not done", market{terminate: func(n int, end func() error) error {
			if n < 2 {
				return nil
			}
			return end()
		}}},
	}
	for i := range tests {
		tt := &tests[i]
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m := &tt.m
			m.name, m.offers = "a", priced(2)
			eng, _ := open(t, trading(quick, m))
			n, err := eng.Acquire(t.Context(), engine.NodeSpec{Provision: &gpu.Query{}})
			if err != nil {
				t.Fatal(err)
			}
			if err := n.Terminate(t.Context()); err != nil {
				t.Error(err)
			}
			if left := m.left(t); len(left) > 0 {
				t.Errorf("left: %v", left)
			}
		})
	}
}

// One answer that a machine is gone proves nothing: the next may show it again.
func TestGoneIsReadTwice(t *testing.T) {
	t.Parallel()
	var ending atomic.Int32
	m := &market{name: "a", offers: priced(2)}
	m.terminate = func(n int, end func() error) error {
		ending.CompareAndSwap(0, 1)
		if n < 3 {
			return nil
		}
		return end()
	}
	m.get = func(_ int, inst gpu.Instance, err error) (gpu.Instance, error) {
		if ending.CompareAndSwap(1, 2) { // once
			return gpu.Instance{}, &gpu.Error{Provider: "a", Op: "get", Kind: gpu.NotFound, Message: "no such machine"}
		}
		return inst, err
	}
	eng, _ := open(t, trading(quick, m))
	n, err := eng.Acquire(t.Context(), engine.NodeSpec{Provision: &gpu.Query{}})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Terminate(t.Context()); err != nil || len(m.left(t)) > 0 {
		t.Errorf("got %v with %v left", err, m.left(t))
	}
}

// A termination that nobody can confirm is kind unreleased, and is tried on by the next command.
func TestUnreleased(t *testing.T) {
	t.Parallel()
	state := t.TempDir()
	m := &market{name: "a", offers: priced(2), terminate: func(int, func() error) error { return nil }}
	timing := quick
	timing.Release = 100 * time.Millisecond
	eng, _ := openAt(t, state, trading(timing, m))
	n, err := eng.Acquire(t.Context(), engine.NodeSpec{Provision: &gpu.Query{}})
	if err != nil {
		t.Fatal(err)
	}
	if err := eng.Close(); fault.KindOf(err) != fault.Unreleased || !strings.Contains(err.Error(), n.ID()) || !strings.Contains(fault.HintOf(err), "$2.00 per hour") {
		t.Errorf("got %v (%s), hint %q", err, fault.KindOf(err), fault.HintOf(err))
	}
	m.terminate = nil
	settled(t, state, nil, m)
}

// A key that is refused is told of while a release goes on, and does not keep the user for ever.
func TestTerminateWithAWrongKey(t *testing.T) {
	t.Parallel()
	state := t.TempDir()
	m := &market{name: "a", offers: priced(2)}
	timing := quick
	timing.Release = 100 * time.Millisecond
	eng, seen := openAt(t, state, trading(timing, m))
	keep := true
	n, err := eng.Acquire(t.Context(), engine.NodeSpec{Provision: &gpu.Query{}, KeepAlive: &keep})
	if err != nil {
		t.Fatal(err)
	}
	m.terminate = func(int, func() error) error {
		return &gpu.Error{Provider: "a", Op: "terminate", Kind: gpu.Auth, Message: "no such key"}
	}
	if err := eng.Terminate(t.Context(), n.ID()); fault.KindOf(err) != fault.Unreleased || !strings.Contains(err.Error(), "no such key") {
		t.Errorf("got %v (%s)", err, fault.KindOf(err))
	}
	if got := strings.Count(seen.text(), n.ID()+" costs on: a terminate: no such key; trying again"); got != 1 {
		t.Errorf("it was said %d times: %s", got, seen.text())
	}
	if err := eng.Close(); err != nil {
		t.Error(err)
	}
	m.terminate = nil
	settled(t, state, nil, m)
}

// The end of a run says what became of a machine that never became its node.
func TestMachineOfARunThatNeverHadIt(t *testing.T) {
	t.Parallel()
	refused := func(int, gpu.CreateRequest, renting) (gpu.Instance, error) {
		return gpu.Instance{}, &gpu.Error{Provider: "a", Op: "create", Kind: gpu.NoCapacity, Message: "none left"}
	}
	for _, tt := range []struct {
		name  string
		m     *market
		costs bool
		want  string // of Result.Machine
	}{
		{"it was ended", &market{}, false, "terminated and confirmed"},
		{"it cannot be ended", &market{terminate: func(int, func() error) error { return nil }}, true, "STILL RUNNING"},
		{"nobody knows", &market{create: unanswered(0, errors.New("reset"))}, true, "nobody knows whether bifrost-x-"},
		{"there was none", &market{create: refused}, false, "none was rented"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			state := t.TempDir()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			m := tt.m
			m.name, m.offers = "a", priced(2)
			if m.create == nil {
				m.create = func(_ int, _ gpu.CreateRequest, rent renting) (gpu.Instance, error) {
					defer cancel() // the user, before it has booted
					return rent()
				}
			}
			timing := quick
			if m.terminate != nil {
				timing.Release = 100 * time.Millisecond
			}
			eng, _ := openAt(t, state, trading(timing, m))
			res, err := eng.Run(ctx, engine.Job{Name: "x", Provision: &gpu.Query{}, Command: engine.Shell("true")}, engine.RunOptions{})
			if err == nil || !strings.Contains(res.Machine, tt.want) || res.Costs != tt.costs {
				t.Errorf("got %q, costs %t, error %v; want %q, %t", res.Machine, res.Costs, err, tt.want, tt.costs)
			}
			if cost := res.Cost > 0; cost != (ctx.Err() != nil) {
				t.Errorf("cost $%f, created %t", res.Cost, ctx.Err() != nil)
			}
			if err := eng.Close(); err != nil && !tt.costs {
				t.Error(err)
			}
			m.terminate = nil
			settled(t, state, nil, m)
		})
	}
}

// Machines of a provider without a key are told of, once, and stop nothing.
func TestAbsentProvider(t *testing.T) {
	t.Parallel()
	state := t.TempDir()
	idle := func(int, func() error) error { return nil }
	a, b := &market{name: "a", offers: priced(2), terminate: idle}, &market{name: "b", offers: priced(3), terminate: idle}
	eng, _ := openAt(t, state, trading(quick, a, b), func(c *engine.Config) { c.Timing.Release = 20 * time.Millisecond })
	for _, name := range []string{"a", "b"} {
		if _, err := eng.Acquire(t.Context(), engine.NodeSpec{Provision: &gpu.Query{Providers: []string{name}}}); err != nil {
			t.Fatal(err)
		}
	}
	nodes, err := eng.Nodes(t.Context(), false)
	if err != nil || len(nodes) != 2 {
		t.Fatal(nodes, err)
	}
	if err := eng.Close(); fault.KindOf(err) != fault.Unreleased {
		t.Errorf("close: %v", err)
	}
	a.terminate, b.terminate = nil, nil
	other, seen := openAt(t, state, func(c *engine.Config) {
		c.Guardian, c.Providers, c.Timing = nil, []gpu.Provider{b}, quick
		c.Absent = map[string]string{"a": "A_API_KEY is not set"}
	})
	if err := other.Settle(t.Context()); err != nil {
		t.Errorf("settle: %v", err)
	}
	if _, err := other.Reap(t.Context(), false); err != nil {
		t.Errorf("reap: %v", err)
	}
	const want = "a: 1 machine of it cannot be checked or ended and may cost $2.00 per hour: A_API_KEY is not set"
	if got := strings.Count(seen.text(), want); got != 1 {
		t.Errorf("said %d times: %s", got, want)
	}
	if len(a.left(t)) != 1 || len(b.left(t)) != 0 {
		t.Errorf("left: %v and %v, want one of a", a.left(t), b.left(t))
	}
	err = other.Terminate(t.Context(), "a:"+a.left(t)[0])
	if fault.KindOf(err) != fault.Unreleased || !strings.Contains(err.Error(), "A_API_KEY is not set") {
		t.Errorf("terminate: %v", err)
	}
	settled(t, state, nil, a, b)
}

// A provider that hangs is reported, and holds nothing else up.
func TestHangingProvider(t *testing.T) {
	t.Parallel()
	state := t.TempDir()
	hangs := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	a := &market{name: "a", offers: priced(2), offer: hangs, list: func(ctx context.Context, _ int, _ []gpu.Instance) ([]gpu.Instance, error) {
		return nil, hangs(ctx)
	}}
	b := &market{name: "b", offers: priced(3)}
	eng, seen := openAt(t, state, trading(quick, a, b), func(c *engine.Config) {
		c.Timing.Search, c.Timing.Ask = 50*time.Millisecond, 50*time.Millisecond
	})
	n, err := eng.Acquire(t.Context(), engine.NodeSpec{Provision: &gpu.Query{}})
	if err != nil || n.Provider() != "b" || !strings.Contains(seen.text(), "offers a: no answer within 50ms") {
		t.Errorf("got %v, %v, want one of b and a word about a", n, err)
	}
	if nodes, err := eng.ListNodes(t.Context()); err != nil || len(nodes) != 1 {
		t.Errorf("got %v, %v, want the one of b", nodes, err)
	}
	if _, err := eng.Reap(t.Context(), false); err != nil {
		t.Errorf("reap: %v", err)
	}
}

// A guardian ends a machine that never comes to boot although its process lives.
func TestGuardianOfAHangingBoot(t *testing.T) {
	t.Parallel()
	state := t.TempDir()
	m := &market{name: "a", offers: priced(2)}
	m.create = func(_ int, _ gpu.CreateRequest, rent renting) (gpu.Instance, error) {
		inst, err := rent()
		inst.Host, inst.State = "", gpu.Starting
		return inst, err
	}
	m.get = func(_ int, inst gpu.Instance, err error) (gpu.Instance, error) {
		if err == nil {
			inst.Host, inst.State = "", gpu.Starting
		}
		return inst, err
	}
	timing := quick
	timing.Boot, timing.NoJob, timing.Watch, timing.Guard = time.Hour, 20*time.Millisecond, time.Millisecond, time.Millisecond
	eng, _ := openAt(t, state, trading(timing, m))
	guard, _ := openAt(t, state, func(c *engine.Config) { c.Guardian, c.Providers, c.Timing = nil, []gpu.Provider{m}, timing })
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		for {
			nodes, err := guard.Nodes(ctx, false)
			if err != nil {
				done <- err
				return
			}
			if len(nodes) > 0 {
				done <- guard.Guard(ctx, nodes[0].RunID)
				return
			}
		}
	}()
	_, err := eng.Acquire(t.Context(), engine.NodeSpec{Provision: &gpu.Query{}})
	if err == nil || len(m.left(t)) > 0 {
		t.Errorf("got %v with %v left", err, m.left(t))
	}
	nodes, err := eng.Nodes(t.Context(), true)
	if err != nil || len(nodes) != 1 || nodes[0].State != journal.NodeGone || !strings.Contains(nodes[0].Note, "no job was started on it for 20ms") {
		t.Errorf("journal: %+v, %v", nodes, err)
	}
	cancel()
	<-done
}

// A keeper is a market at which an account must know a key before a machine is created, and whose machines
// need another call before anybody can log in.
type keeper struct {
	*market
	unready int      // calls to Prepare that are refused
	refuse  error    // by RegisterKey
	seen    []string // the calls, in order
	ref     string   // that create was given
}

func (k *keeper) RegisterKey(context.Context, string) (string, error) {
	k.seen = append(k.seen, "register")
	return "key-7", k.refuse
}

func (k *keeper) Create(ctx context.Context, req gpu.CreateRequest) (gpu.Instance, error) {
	k.seen, k.ref = append(k.seen, "create"), req.KeyRef
	return k.market.Create(ctx, req)
}

func (k *keeper) Prepare(context.Context, string, gpu.CreateRequest) error {
	k.seen = append(k.seen, "prepare")
	if k.unready--; k.unready >= 0 {
		return &gpu.Error{Provider: "a", Op: "prepare", Kind: gpu.Conflict, Message: "not yet"}
	}
	return nil
}

func TestKeys(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		refuse error
		want   string
	}{
		{"as it goes", nil, "register create prepare prepare prepare"},
		{"the key is refused", &gpu.Error{Provider: "a", Op: "register", Kind: gpu.Forbidden, Message: "read only"}, "register"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			k := &keeper{market: &market{name: "a", offers: priced(2, 3)}, unready: 2, refuse: tt.refuse}
			eng, _ := open(t, trading(quick, k.market), func(c *engine.Config) { c.Providers[0] = k })
			_, err := eng.Acquire(t.Context(), engine.NodeSpec{Provision: &gpu.Query{}})
			if got := strings.Join(k.seen, " "); got != tt.want {
				t.Errorf("calls %q, want %q", got, tt.want)
			}
			if tt.refuse == nil {
				if err != nil || k.ref != "key-7" {
					t.Errorf("got %v with the key %q", err, k.ref)
				}
				return
			}
			nodes, listErr := eng.Nodes(t.Context(), true)
			if fault.KindOf(err) != fault.Auth || !strings.Contains(err.Error(), "read only") || len(nodes) != 0 || listErr != nil {
				t.Errorf("got %v with %v in the journal, want a refusal before any intent", err, nodes)
			}
		})
	}
}

// A create that cannot be recorded is not made, and a machine whose id cannot be recorded is ended.
func TestJournalFails(t *testing.T) {
	t.Parallel()
	for _, moment := range []string{"before the intent", "after the create"} {
		t.Run(moment, func(t *testing.T) {
			t.Parallel()
			state := t.TempDir()
			broken := atomic.Bool{}
			m := &market{name: "a", offers: priced(2)}
			var db *sql.DB
			breakIt := func() {
				if _, err := db.Exec("CREATE TRIGGER full BEFORE " + map[string]string{
					"before the intent": "INSERT", "after the create": "UPDATE",
				}[moment] + " ON nodes BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END"); err != nil {
					t.Error(err)
				}
				broken.Store(true)
			}
			m.create = func(_ int, _ gpu.CreateRequest, rent renting) (gpu.Instance, error) {
				if !broken.Load() {
					breakIt()
				}
				return rent()
			}
			eng, _ := openAt(t, state, trading(quick, m))
			db = openDB(t, filepath.Join(state, "journal.db"))
			if moment == "before the intent" {
				breakIt()
			}
			_, err := eng.Acquire(t.Context(), engine.NodeSpec{Provision: &gpu.Query{}})
			if err == nil || !strings.Contains(err.Error(), "disk is full") {
				t.Errorf("got %v, want the journal's trouble", err)
			}
			if got, want := m.called("create"), map[string]int{"before the intent": 0, "after the create": 1}[moment]; got != want {
				t.Errorf("%d create calls, want %d", got, want)
			}
			if left := m.left(t); len(left) > 0 {
				t.Errorf("left: %v", left)
			}
			if _, err := db.Exec("DROP TRIGGER full"); err != nil {
				t.Error(err)
			}
			if err := eng.Close(); err != nil {
				t.Error(err)
			}
			settled(t, state, nil, m)
		})
	}
}

func openDB(t *testing.T, path string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

// Two processes on one journal: each has a machine of its own, neither touches the other's, and of what one
// leaves when it dies the other rents nothing again.
func TestTwoProcessesAtOnce(t *testing.T) {
	t.Parallel()
	state := t.TempDir()
	m := &market{name: "a", offers: priced(2)}
	one, _ := openAt(t, state, trading(quick, m))
	two, _ := openAt(t, state, func(c *engine.Config) { c.Guardian, c.Providers, c.Timing = nil, []gpu.Provider{m}, quick })
	engines := []*engine.Engine{one, two}
	nodes := make([]*engine.Node, 2)
	var wg sync.WaitGroup
	for i, eng := range engines {
		wg.Go(func() {
			var err error
			if nodes[i], err = eng.Acquire(t.Context(), engine.NodeSpec{Provision: &gpu.Query{}}); err != nil {
				t.Error(err)
			}
			if err := eng.Settle(t.Context()); err != nil {
				t.Error(err)
			}
			if _, err := eng.Reap(t.Context(), false); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	if nodes[0].ID() == nodes[1].ID() || m.called("create") != 2 || len(m.left(t)) != 2 {
		t.Errorf("%s and %s with %d creates, left %v; want two machines", nodes[0].ID(), nodes[1].ID(), m.called("create"), m.left(t))
	}
	if err := one.Close(); err != nil {
		t.Error(err)
	}
	if left := m.left(t); len(left) != 1 || "a:"+left[0] != nodes[1].ID() {
		t.Errorf("left %v, want only that of the other process", left)
	}
}
