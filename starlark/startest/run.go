package startest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/bifrost-run/bifrost/starlark"
)

// A Config says how tests run.
type Config struct {
	// New makes the world of one test: a host whose output goes to out, and what ends the world, which
	// returns what must fail the test beside its own errors. For reading the files alone it is called
	// with an empty name.
	New func(file, test string, out io.Writer) (*starlark.Host, func() []error, error)
	// Match selects tests by name; nil takes all.
	Match *regexp.Regexp
	// Report is told what happens, one event after the other.
	Report func(Event)
}

// An Action is what happened to a test, or with an empty test to a file.
type Action string

// The actions. Of a file that cannot be read, Fail is the only event.
const (
	Start Action = "run"
	Pass  Action = "pass"
	Fail  Action = "fail"
)

// An Event is one thing that happened.
type Event struct {
	Action  Action
	File    string
	Test    string        // "" for the file
	Line    int           // of the test
	Elapsed time.Duration // of Pass and Fail
	Tests   int           // of a file: how many ran
	Output  string        // what the test printed
	Errors  []error       // of Fail
}

// A Summary counts what ran.
type Summary struct {
	Files, Tests, Failed int
	Unreadable           int // files with static errors
}

// Run runs the tests of files, one after the other. It ends early with ctx.
func Run(ctx context.Context, files []string, cfg Config) Summary {
	var s Summary
	for _, file := range files {
		if ctx.Err() != nil {
			break
		}
		s.Files++
		began := time.Now()
		host, _, err := cfg.New(file, "", io.Discard)
		var tests []starlark.Test
		if err == nil {
			tests, err = withAssert(host, new(report)).Tests(ctx, file)
		}
		if err != nil {
			s.Unreadable++
			cfg.Report(Event{Action: Fail, File: file, Errors: []error{err}, Elapsed: time.Since(began)})
			continue
		}
		ran, failed := 0, 0
		for _, t := range tests {
			if cfg.Match != nil && !cfg.Match.MatchString(t.Name) || ctx.Err() != nil {
				continue
			}
			ran++
			cfg.Report(Event{Action: Start, File: file, Test: t.Name, Line: t.Line})
			e := cfg.run(ctx, file, t)
			if e.Action == Fail {
				failed++
			}
			cfg.Report(e)
		}
		s.Tests, s.Failed = s.Tests+ran, s.Failed+failed
		e := Event{Action: Pass, File: file, Tests: ran, Elapsed: time.Since(began)}
		if failed > 0 {
			e.Action = Fail
		}
		cfg.Report(e)
	}
	return s
}

// run runs one test in a world of its own.
func (cfg Config) run(ctx context.Context, file string, t starlark.Test) Event {
	began := time.Now()
	out := new(lockedBuffer)
	r := new(report)
	host, finish, err := cfg.New(file, t.Name, out)
	if err == nil {
		host = withAssert(host, r)
		err = host.Test(ctx, file, t.Name)
		var exit *starlark.ExitError
		if errors.As(err, &exit) {
			err = &exited{err, exit.Code}
		}
	}
	errs := r.all()
	if err != nil {
		errs = append(errs, err)
	}
	if finish != nil {
		for _, more := range finish() {
			if !errors.Is(err, more) {
				errs = append(errs, more)
			}
		}
	}
	e := Event{Action: Pass, File: file, Test: t.Name, Line: t.Line, Elapsed: time.Since(began), Output: out.String(), Errors: errs}
	if len(errs) > 0 {
		e.Action = Fail
	}
	return e
}

// withAssert is the host with the module assert, whose failures go to r.
func withAssert(host *starlark.Host, r *report) *starlark.Host {
	h := *host
	h.Predeclared = maps.Clone(host.Predeclared)
	if h.Predeclared == nil {
		h.Predeclared = map[string]value{}
	}
	h.Predeclared["assert"] = module(r)
	describe := host.Describe
	h.Describe = func(err error) (kind, hint string) {
		if failure := (*failure)(nil); errors.As(err, &failure) {
			return "assert", ""
		}
		if describe == nil {
			return "", ""
		}
		return describe(err)
	}
	return &h
}

// A report collects what a test's assertions found.
type report struct {
	mu   sync.Mutex
	errs []error
}

func (r *report) add(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.errs = append(r.errs, err)
}

func (r *report) all() []error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.errs
}

// An exited is a test that ended with a call of exit.
type exited struct {
	err  error
	code int
}

func (e *exited) Error() string {
	return fmt.Sprintf("the test ended with exit(%d)", e.code)
}
func (e *exited) Unwrap() error { return e.err }

// Render writes the error with its place and the way out.
func (e *exited) Render(w io.Writer) error {
	_, err := fmt.Fprintf(w, "exit: %s\n  hint: assert.exits(fn, %d) expects a function to do that\n", e.Error(), e.code)
	return err
}

// Text is an error as people read it, with its place where it has one.
func Text(err error) string {
	var shown interface{ Render(io.Writer) error }
	if !errors.As(err, &shown) {
		return err.Error()
	}
	var b strings.Builder
	_ = shown.Render(&b) // a strings.Builder takes everything
	return strings.TrimRight(b.String(), "\n")
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
