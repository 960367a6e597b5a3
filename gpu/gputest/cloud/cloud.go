// Package cloud is a provider of machines for tests: it speaks the published HTTP API of RunPod, Vast,
// Lambda or Prime Intellect on a loopback address, and its machines are SSH nodes on this computer.
//
//	acct := cloud.New(t, "runpod", cloud.Options{})
//	p := runpod.New(runpod.Config{Key: acct.Key, URL: acct.URL, Unpaced: true})
//	acct.Fault(cloud.Fault{Op: "create", Kind: cloud.CutAfter, Times: 1})
//	…
//	if left := acct.Machines(); len(left) > 0 { … }
//
// What all providers share is here: stock, machines and their states, faults, limits, and the check of every
// request and answer against the provider's published description. Each provider's API is a file of its
// own. A machine costs nothing until somebody connects to it; then it is an instance of package local, so a
// test binary whose tests log in calls local.RunIfDaemon first thing in TestMain.
package cloud

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"testing"
	"time"
)

// Options say what an account is like. The zero value is an account at which everything works, at once.
type Options struct {
	// Offers are what is for sale; nil is what the provider's file has for tests that do not care.
	Offers []Offer
	// Machine is how machines behave. Each, where it is set, may change that for the n-th one, counted
	// from 0.
	Machine Behaviour
	Each    func(n int, b *Behaviour)
	// Page is how many entries a listing has at most, where the provider cuts its listings into pages; 0
	// is as many as the provider gives.
	Page int
	// Limits makes the account keep to the provider's published limits: a call that comes too early is
	// refused with 429.
	Limits bool
	// Hang is how long a call that times out is held until its connection is cut; 0 is 50 ms.
	Hang time.Duration
	// Quirks are what this provider does at times; each provider's file lists its own.
	Quirks []Quirk
	// Report is told what violates the provider's description; nil fails the test of New, and writes to
	// standard error after Start.
	Report func(format string, args ...any)
	// Leave allows machines to be left at the end of the test.
	Leave bool
	// Shallow makes machines that only run commands, at a tenth of the cost.
	Shallow bool
	// Daemon is the command of a machine's daemon, as in local.Config.
	Daemon []string
	// Path is a folder of programs that every machine has beside those of this computer; "" is none.
	Path string
}

// A Quirk is something that a provider does at times.
type Quirk string

// An Account is one account at one provider. Its methods are safe for concurrent use.
type Account struct {
	Provider string
	URL      string // where its API is, for the client's Config
	Key      string // the only one that is accepted

	opts   Options
	api    api
	desc   *description // nil where it is not there
	dir    string       // of the machines
	server *server
	report func(format string, args ...any) // a violation of the provider's description
	ending sync.WaitGroup                   // of nodes

	mu       sync.Mutex // held while a handler runs
	shift    time.Duration
	offers   []Offer
	machines []*machine
	faults   []*Fault
	calls    []Call
	last     map[string]time.Time // of calls, by op
	closed   bool
}

// A Call is a request that an account has got.
type Call struct {
	Op     string
	Method string
	Path   string
	Query  string
	Body   string
	Status int // of the answer; 0 where there was none
	At     time.Time
}

// New starts an account for the length of a test. At its end nothing may be left at it, and no request may
// have been other than the provider describes.
func New(t testing.TB, provider string, opts Options) *Account {
	t.Helper()
	newAPI, ok := providers[provider]
	if !ok {
		t.Fatalf("there is no provider %q", provider)
	}
	return newAccount(t, provider, newAPI, opts)
}

func newAccount(t testing.TB, provider string, newAPI func(*Account) api, opts Options) *Account {
	t.Helper()
	if opts.Report == nil {
		opts.Report = t.Errorf
	}
	a, err := start(provider, newAPI, opts)
	if err != nil {
		t.Fatal(err)
	}
	if a.desc == nil && specFiles[provider] != "" {
		leaveOut(t, "requests are not checked against the published description: there is no ../shared/specs/"+specFiles[provider])
	}
	t.Cleanup(func() {
		left := a.Machines()
		if err := a.Close(); err != nil {
			t.Error(err)
		}
		for _, m := range left {
			if !opts.Leave {
				t.Errorf("%s: left at the end: %s %q, %s", provider, m.ID, m.Name, m.State)
			}
		}
	})
	return a
}

// Start starts an account that is not bound to a test; Close ends it.
func Start(provider string, opts Options) (*Account, error) {
	newAPI, ok := providers[provider]
	if !ok {
		return nil, fmt.Errorf("there is no provider %q", provider)
	}
	if opts.Report == nil {
		opts.Report = func(format string, args ...any) { fmt.Fprintf(os.Stderr, "cloud: "+format+"\n", args...) }
	}
	return start(provider, newAPI, opts)
}

func start(provider string, newAPI func(*Account) api, opts Options) (*Account, error) {
	desc, err := describe(provider)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "cloud-") // not below the test's own folder: the paths of sockets are short
	if err != nil {
		return nil, err
	}
	a := &Account{
		Provider: provider, Key: "key-" + randomHex(16), opts: opts, desc: desc, dir: dir, report: opts.Report,
		last: map[string]time.Time{},
	}
	a.api = newAPI(a)
	if a.offers = slices.Clone(opts.Offers); opts.Offers == nil {
		a.offers = a.api.offers()
	}
	if a.server, err = serve(a.handler()); err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	a.URL = "http://" + a.server.addr
	return a, nil
}

// Close ends the account, its machines and its server.
func (a *Account) Close() error {
	a.server.close()
	a.mu.Lock()
	a.closed = true
	machines := slices.Clone(a.machines)
	a.mu.Unlock()
	var all []error
	for _, m := range machines {
		a.ending.Go(m.node.end)
	}
	a.ending.Wait()
	for _, m := range machines {
		all = append(all, m.node.err())
	}
	return errors.Join(append(all, os.RemoveAll(a.dir))...)
}

// Advance sets the account's clock forward: what takes time there has taken that much more.
func (a *Account) Advance(d time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.shift += d
}

// Rotate replaces the account's key and returns the new one: the old one is not accepted any more.
func (a *Account) Rotate() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.Key = "key-" + randomHex(16)
	return a.Key
}

// now is the account's time.
func (a *Account) now() time.Time { return time.Now().Add(a.shift) }

// Machines are those that cost money now.
func (a *Account) Machines() []Machine {
	return slices.DeleteFunc(a.Rented(), func(m Machine) bool { return m.State == Gone })
}

// Rented are all machines that were ever rented here, in order.
func (a *Account) Rented() []Machine {
	a.mu.Lock()
	defer a.mu.Unlock()
	var all []Machine
	for _, m := range a.machines {
		all = append(all, a.look(m))
	}
	return all
}

// Calls are the requests that the account has got for an operation, in order; "" means for all.
func (a *Account) Calls(op string) []Call {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(a.calls), func(c Call) bool { return op != "" && c.Op != op })
}

// Down makes the account's API refuse connections, for a time or until Up.
func (a *Account) Down(d time.Duration) { a.server.down(d) }

// Up ends Down, and returns once connections are accepted.
func (a *Account) Up() { a.server.awake() }

// Change changes the offers of this id.
func (a *Account) Change(id string, change func(*Offer)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := range a.offers {
		if a.offers[i].ID == id {
			change(&a.offers[i])
		}
	}
}

// has reports whether the account has a quirk.
func (a *Account) has(q Quirk) bool { return slices.Contains(a.opts.Quirks, q) }

// page is how many entries a listing has at most, where the provider's own limit is limit.
func (a *Account) page(limit int) int {
	if a.opts.Page > 0 {
		return min(a.opts.Page, limit)
	}
	return limit
}

// leaveOut says what a test leaves out. In CI nothing is, except what needs files that CI does not have.
func leaveOut(t testing.TB, what string) {
	t.Helper()
	t.Log("left out: " + what)
}

// Port22 is why machines at port 22 cannot be had, each of which needs an address of its own; nil where they
// can.
func Port22() error {
	l, err := listenAt22()
	if err != nil {
		return fmt.Errorf("machines at port 22 cannot be had: %w", err)
	}
	return l.Close()
}

// NeedPort22 skips a test that logs in to machines at port 22 where they cannot be had. With CI=true it fails.
func NeedPort22(t testing.TB) {
	t.Helper()
	err := Port22()
	switch {
	case err == nil:
	case os.Getenv("CI") == "true":
		t.Fatal(err)
	default:
		t.Skipf("left out: %v", err)
	}
}

func randomHex(n int) string {
	b := make([]byte, n)
	if _, err := rand.Read(b); err != nil {
		panic(err)
	}
	return hex.EncodeToString(b)
}

// A server is the account's HTTP server. It can be down for a while.
type server struct {
	addr    string
	handler http.Handler
	wg      sync.WaitGroup

	mu   sync.Mutex
	http *http.Server  // nil while it is down
	wake chan struct{} // closed to end that
	over bool
}

func serve(h http.Handler) (*server, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &server{addr: l.Addr().String(), handler: h}
	s.up(l)
	return s, nil
}

func (s *server) up(l net.Listener) {
	srv := &http.Server{Handler: s.handler}
	s.http = srv
	s.wg.Go(func() { _ = srv.Serve(l) }) // it ends with Close
}

// down refuses connections for a time, from now on.
func (s *server) down(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over || s.http == nil {
		return
	}
	s.http.Close() // waits for no handler
	s.http, s.wake = nil, make(chan struct{})
	wake := s.wake
	s.wg.Go(func() {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-wake:
		}
		for again := time.Now().Add(5 * time.Second); time.Now().Before(again); time.Sleep(time.Millisecond) {
			s.mu.Lock()
			l, err := net.Listen("tcp4", s.addr) // somebody's own end of a connection may have the port for a moment
			if err == nil && s.over {
				l.Close()
			} else if err == nil {
				s.up(l)
			}
			s.mu.Unlock()
			if err == nil {
				return
			}
		}
	})
}

// awake ends a time of being down.
func (s *server) awake() {
	for {
		s.mu.Lock()
		up := s.http != nil || s.over
		if !up && s.wake != nil {
			close(s.wake)
			s.wake = nil
		}
		s.mu.Unlock()
		if up {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

func (s *server) close() {
	s.mu.Lock()
	s.over = true
	if s.http != nil {
		s.http.Close()
	}
	if s.wake != nil {
		close(s.wake)
		s.wake = nil
	}
	s.mu.Unlock()
	s.wg.Wait()
}
