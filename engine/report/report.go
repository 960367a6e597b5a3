// Package report carries what the engine is doing to whoever shows it: a terminal, a plain log, a
// test. The engine emits events and never prints.
package report

import "time"

// A Kind says what an Event announces.
type Kind int

// The kinds of events. A step is announced once by Started and once by Ended; Progress and Output
// come between them.
const (
	Started  Kind = iota // a step begins
	Progress             // bytes of a transfer have moved
	Output               // bytes that a bootstrap step wrote, in Data
	Ended                // a step ended; Err is nil when it did what it should
	Notice               // a line that the user must see, outside any step
	Warning              // the same, about something that was not done or may cost
)

// An Event is one thing that happened. Events of one job arrive in order, on any goroutine.
type Event struct {
	Kind     Kind
	Step     string        // "provision", "connect", "push", "bootstrap 1/2", "start", "results", "release"
	Text     string        // one line without a newline; never a secret
	Data     []byte        // Output only; valid during the call
	Bytes    int64         // Progress: moved so far
	Total    int64         // Progress: expected, 0 when unknown
	Duration time.Duration // Ended only
	Err      error         // Ended only
}

// A Sink receives events. It must not block for long and must be safe for concurrent use.
// A nil Sink discards.
type Sink func(Event)

// Emit sends e if the sink is not nil.
func (s Sink) Emit(e Event) {
	if s != nil {
		s(e)
	}
}

// Step announces a step and returns the function that ends it; detail is shown with the duration.
func (s Sink) Step(name, text string) (end func(detail string, err error)) {
	start := time.Now()
	s.Emit(Event{Kind: Started, Step: name, Text: text})
	return func(detail string, err error) {
		s.Emit(Event{Kind: Ended, Step: name, Text: detail, Duration: time.Since(start), Err: err})
	}
}
