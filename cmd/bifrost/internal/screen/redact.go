package screen

import (
	"slices"
	"strings"
	"sync"
)

// A Redactor replaces the values of secrets in what is printed. Its zero value replaces nothing.
// It is safe for concurrent use.
type Redactor struct {
	mu     sync.RWMutex
	values []string // longest first, so that a secret within a secret does not leave the rest
	all    *strings.Replacer
}

// minSecret is the length below which a value is not replaced: it would be found everywhere, and
// what is left of the text would tell it.
const minSecret = 4

// Add makes value a secret.
func (r *Redactor) Add(value string) {
	if len(value) < minSecret {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if slices.Contains(r.values, value) {
		return
	}
	r.values = append(r.values, value)
	slices.SortStableFunc(r.values, func(a, b string) int { return len(b) - len(a) })
	var pairs []string
	for _, v := range r.values {
		pairs = append(pairs, v, "<secret>")
	}
	r.all = strings.NewReplacer(pairs...)
}

// Text returns s with each secret replaced.
func (r *Redactor) Text(s string) string {
	if r == nil {
		return s
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	if r.all == nil {
		return s
	}
	return r.all.Replace(s)
}
