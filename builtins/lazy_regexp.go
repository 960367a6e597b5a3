package builtins

import (
	"regexp"
	"sync"
)

// A lazyRegexp is a regular expression that is compiled when it is first asked for. Those that most runs never
// need would otherwise take more time at the start of every command than all the rest of it.
type lazyRegexp func() *regexp.Regexp

func lazily(pattern string) lazyRegexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(pattern) })
}
