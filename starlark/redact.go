package starlark

import (
	"slices"
	"strings"
	"sync"
)

// minSecret is the length in bytes below which a secret is not searched for in text: replacing every
// "1" would destroy the text and protect nothing.
const minSecret = 4

// LooksSecret reports whether a variable of that name and value holds what must not be printed.
func LooksSecret(name, value string) bool {
	if len(value) < 2*minSecret {
		return false
	}
	for _, word := range strings.Split(strings.ToUpper(name), "_") {
		switch word {
		case "TOKEN", "SECRET", "PASSWORD", "PASSWD", "PASSPHRASE", "KEY", "APIKEY", "CREDENTIALS":
			return true
		}
	}
	return false
}

// A Redactor replaces the values of secrets in text by "<secret NAME>". The zero value is ready to
// use. It is safe for concurrent use.
type Redactor struct {
	mu      sync.RWMutex
	secrets []redaction // longest text first, so that a secret within another one leaves no rest
}

type redaction struct{ text, placeholder string }

// Placeholder is what stands for the secret of this name.
func Placeholder(name string) string { return "<secret " + name + ">" }

// Add registers a secret. The lines of a value of several lines are registered too, for programs
// print them apart.
func (r *Redactor) Add(name, value string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	texts := []string{value, strings.TrimSpace(value)}
	if lines := strings.Split(value, "\n"); len(lines) > 1 {
		for _, line := range lines {
			if line = strings.TrimSpace(line); len(line) >= 2*minSecret {
				texts = append(texts, line)
			}
		}
	}
	for _, text := range texts {
		known := slices.ContainsFunc(r.secrets, func(s redaction) bool { return s.text == text })
		if len(text) >= minSecret && !known {
			r.secrets = append(r.secrets, redaction{text, Placeholder(name)})
		}
	}
	slices.SortStableFunc(r.secrets, func(a, b redaction) int { return len(b.text) - len(a.text) })
}

// Redact returns the text without the values of secrets. A nil Redactor returns it as it is.
func (r *Redactor) Redact(text string) string {
	if r == nil {
		return text
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, s := range r.secrets {
		text = strings.ReplaceAll(text, s.text, s.placeholder)
	}
	return text
}
