package fake

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/bifrost-run/bifrost/engine"
	"github.com/bifrost-run/bifrost/engine/fault"
)

// anyTimes is the count of an expectation that may be met any number of times, never included.
const anyTimes = math.MinInt

// An expectation says how the world answers something that the script does.
type expectation struct {
	verb    string // "exec", "job", "serve", "bootstrap", "confirm", or for a failure what fails
	fails   bool
	pattern engine.Command
	times   int
	used    int
	where   string // in the test
	outcome outcome
}

// An outcome is what comes of what was expected. Which fields count depends on the verb.
type outcome struct {
	stdout, stderr string
	exitCode       int
	logs           []string
	files          map[string][]byte // written when a job ends by itself
	duration       time.Duration     // 0: at once; below 0: until it is stopped
	signal         string
	lost           bool // the job ends without an exit record
	breaks         bool // the machine is lost after the logs
	yes            bool
	err            error
}

// match returns the first expectation of the verb that fits and is not used up. It is called with the
// world locked. The error fails the test.
func (w *World) match(verb string, c engine.Command) (*expectation, error) {
	for _, e := range w.expectations {
		if e.verb == verb && !e.fails && e.left() && e.matches(c) {
			e.used++
			return e, nil
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s was not expected", verb, quoted(c))
	shown := 0
	for _, e := range w.expectations {
		if e.verb != verb || e.fails {
			continue
		}
		shown++
		state := ""
		if !e.left() {
			state = ", used up"
		}
		fmt.Fprintf(&b, "\nexpected at %s: %s%s", e.where, quoted(e.pattern), state)
	}
	if shown == 0 {
		fmt.Fprintf(&b, "\nnothing is expected: fake.on_%s(%s, ...) says what comes of it", verb, quoted(c))
	}
	return nil, w.unexpected("%s", b.String())
}

// optional is match for what does well without being expected: nil then.
func (w *World) optional(verb string, c engine.Command) *expectation {
	for _, e := range w.expectations {
		if e.verb == verb && !e.fails && e.left() && e.matches(c) {
			e.used++
			return e
		}
	}
	return nil
}

// trip is the error that the test wants the act to fail with, or nil. It is called with the world
// locked.
func (w *World) trip(act, target string) error {
	for _, e := range w.expectations {
		if e.fails && e.verb == act && e.left() {
			e.used++
			f := *e.outcome.err.(*fault.Error)
			f.Op, f.Target = act, target
			return &f
		}
	}
	return nil
}

func (e *expectation) left() bool { return e.times == anyTimes || e.used < e.times }

// matches compares a command with the pattern: a list with the list of the same words; text, in which
// "*" stands for any characters, with the whole command.
func (e *expectation) matches(c engine.Command) bool {
	if e.pattern.Argv != nil {
		return slices.Equal(e.pattern.Argv, c.Argv)
	}
	parts := strings.Split(e.pattern.Shell, "*")
	for i := range parts {
		parts[i] = regexp.QuoteMeta(parts[i])
	}
	return regexp.MustCompile(`(?s)^` + strings.Join(parts, ".*") + `$`).MatchString(c.String())
}

// unused says that the expectation was not met as often as it should.
func (e *expectation) unused() string {
	what := "fake.on_" + e.verb + "(" + quoted(e.pattern) + ")"
	if e.fails {
		what = "fake.fail(" + fmt.Sprintf("%q", e.verb) + ")"
	}
	did := "did not happen"
	if e.used > 0 {
		did = fmt.Sprintf("happened %d of %d times", e.used, e.times)
	}
	return fmt.Sprintf("%s at %s %s", what, e.where, did)
}

func quoted(c engine.Command) string {
	if c.Argv == nil {
		return fmt.Sprintf("%q", c.Shell)
	}
	words := make([]string, len(c.Argv))
	for i, w := range c.Argv {
		words[i] = fmt.Sprintf("%q", w)
	}
	return "[" + strings.Join(words, ", ") + "]"
}
