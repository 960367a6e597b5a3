package starlark

import (
	"fmt"
	"strings"

	"go.starlark.net/syntax"
)

// Limits on the shape of a source text. The parser and the compiler go down one Go stack frame, or
// several, for each operator, call and branch that hangs on another one, and a Go stack that overflows
// ends the process: nothing could be torn down. No script that a person wrote comes near them.
const (
	maxChain  = 5000 // operators, calls, indexes and dots between two commas, open brackets included
	maxElifs  = 1000 // in one file
	maxDigits = 5000 // of one number: reading it takes time that grows with the square
)

// checkNesting refuses a source text that would be too deep for the parser. The position is that of the
// token that is one too many.
func checkNesting(name string, source []byte) *syntax.Error {
	s := nesting{text: source, line: 1, col: 1, chain: []int{0}}
	if message := s.scan(); message != "" {
		return &syntax.Error{Pos: syntax.MakePosition(&name, s.line, s.col), Msg: message}
	}
	return nil
}

// A nesting reads a source text as far as is needed to tell how deep it is.
type nesting struct {
	text      []byte
	at        int
	line, col int32
	chain     []int // for each open bracket, and the line itself: what hangs together since the last comma
	depth     int   // the sum of chain
	elifs     int
}

func (s *nesting) scan() string {
	for s.at < len(s.text) {
		c := s.text[s.at]
		switch {
		case c == '\n':
			if len(s.chain) == 1 {
				s.reset()
			}
			s.step(1)
			s.line, s.col = s.line+1, 1
			continue
		case c == '\\':
			s.step(1)
			if s.at < len(s.text) && s.text[s.at] == '\n' {
				s.step(1)
				s.line, s.col = s.line+1, 1
			}
			continue
		case c == '#':
			for s.at < len(s.text) && s.text[s.at] != '\n' {
				s.step(1)
			}
			continue
		case c == '"' || c == '\'':
			s.string(c)
			continue
		case isWordByte(c):
			if message := s.word(); message != "" {
				return message
			}
			continue
		case c == '(' || c == '[' || c == '{':
			s.depth++
			s.chain[len(s.chain)-1]++
			s.chain = append(s.chain, 0)
		case c == ')' || c == ']' || c == '}':
			if len(s.chain) > 1 { // else the parser says so
				s.reset()
				s.chain = s.chain[:len(s.chain)-1]
			}
		case c == ',' || c == ';':
			s.reset()
		case strings.IndexByte("+-*/%&|^~<>=!.:", c) >= 0:
			s.depth++
			s.chain[len(s.chain)-1]++
		}
		if s.depth > maxChain {
			return fmt.Sprintf("more than %d operators, calls and brackets hang on each other here", maxChain)
		}
		s.step(1)
	}
	return ""
}

func (s *nesting) step(n int) { s.at, s.col = s.at+n, s.col+int32(n) }

// reset forgets what hung together at this level.
func (s *nesting) reset() {
	s.depth -= s.chain[len(s.chain)-1]
	s.chain[len(s.chain)-1] = 0
}

// word reads a name, a keyword or a number.
func (s *nesting) word() string {
	start := s.at
	for s.at < len(s.text) && isWordByte(s.text[s.at]) {
		s.at++
	}
	word := s.text[start:s.at]
	defer func() { s.col += int32(len(word)) }()
	switch {
	case word[0] >= '0' && word[0] <= '9' && len(word) > maxDigits:
		return fmt.Sprintf("a number of more than %d digits", maxDigits)
	case string(word) == "elif":
		if s.elifs++; s.elifs > maxElifs {
			return fmt.Sprintf("more than %d elif in one file; a dict says it shorter", maxElifs)
		}
	case string(word) == "not", string(word) == "and", string(word) == "or", string(word) == "in",
		string(word) == "if", string(word) == "else", string(word) == "for", string(word) == "lambda":
		s.depth++
		s.chain[len(s.chain)-1]++
		if s.depth > maxChain {
			return fmt.Sprintf("more than %d operators hang on each other here", maxChain)
		}
	}
	return ""
}

// string reads a string literal. A raw one needs no care: a backslash keeps the quote from ending it there
// too.
func (s *nesting) string(quote byte) {
	triple := strings.Repeat(string(quote), 3)
	if strings.HasPrefix(string(s.text[s.at:min(len(s.text), s.at+3)]), triple) {
		s.step(3)
		for s.at < len(s.text) && string(s.text[s.at:min(len(s.text), s.at+3)]) != triple {
			s.inString()
		}
		s.step(min(3, len(s.text)-s.at))
		return
	}
	s.step(1)
	for s.at < len(s.text) && s.text[s.at] != quote && s.text[s.at] != '\n' {
		s.inString()
	}
	if s.at < len(s.text) && s.text[s.at] == quote {
		s.step(1)
	}
}

// inString passes one character of a string, or two behind a backslash.
func (s *nesting) inString() {
	if s.text[s.at] == '\\' && s.at+1 < len(s.text) {
		s.step(1)
	}
	if s.text[s.at] == '\n' {
		s.line, s.col = s.line+1, 0
	}
	s.step(1)
}

func isWordByte(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
}
