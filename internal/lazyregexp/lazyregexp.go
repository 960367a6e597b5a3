// Package lazyregexp has regular expressions that are compiled when they are first asked for. bifrost has
// more than a hundred; compiled at the start, they take longer than all that a short command does.
//
//	var modelName = lazyregexp.New(`^[A-Z]\d+$`)
//	…
//	if modelName().MatchString(text) {
package lazyregexp

import (
	"regexp"
	"sync"
)

// A Regexp gives a compiled expression, always the same. It may be called by several goroutines.
type Regexp func() *regexp.Regexp

// New returns the expression of a pattern, written here in the source: its first use panics where the
// pattern is wrong.
func New(pattern string) Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(pattern) })
}
