package builtins

import (
	"context"
	"fmt"
	"iter"

	star "go.starlark.net/starlark"

	"github.com/bifrost-run/bifrost/starlark"
)

// lines are those of a log or a command, to go through once for each time that they are asked for.
// Starlark's iterators cannot fail, so an error goes to the thread.
type lines struct {
	owner  *object
	thread *starlark.Thread
	open   func(ctx context.Context) iter.Seq2[string, error]
}

func (l *lines) String() string        { return "<lines of " + l.owner.String() + ">" }
func (l *lines) Type() string          { return "lines" }
func (l *lines) Freeze()               {}
func (l *lines) Truth() star.Bool      { return true }
func (l *lines) Hash() (uint32, error) { return 0, fmt.Errorf("unhashable: lines") }

// Iterate implements star.Iterable.
func (l *lines) Iterate() star.Iterator {
	if err := l.owner.scope.check(l.owner); err != nil {
		return &lineIterator{thread: l.thread, stop: func() {}, next: func() (string, error, bool) { return "", err, true }}
	}
	next, stop := iter.Pull2(l.open(l.thread.Context()))
	return &lineIterator{thread: l.thread, next: next, stop: stop}
}

type lineIterator struct {
	thread *starlark.Thread
	next   func() (string, error, bool)
	stop   func()
}

// Next implements star.Iterator.
func (i *lineIterator) Next(p *star.Value) bool {
	line, err, ok := i.next()
	if !ok {
		return false
	}
	if err != nil {
		i.thread.Raise(err)
		return false
	}
	*p = star.String(i.thread.Run().Redactor.Redact(line)) // as withoutSecrets
	return true
}

// Done implements star.Iterator.
func (i *lineIterator) Done() { i.stop() }
