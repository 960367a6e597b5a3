package starlark

import (
	"fmt"
	"io"
	"strings"
)

// A Problem is one thing that is wrong with a script before it runs.
type Problem struct {
	File      string // as people see it
	Line, Col int    // from 1, the column in characters; 0 where the whole file is meant
	Kind      string // "syntax", "name", "load", "file", "main", "type"
	Message   string
	Hint      string // the way out; may be empty

	source []string // the file's lines, for the excerpt
}

func (p Problem) Error() string { return at(p.File, p.Line) + ": " + p.Kind + ": " + p.Message }

// A StaticError is everything that is wrong with a script and its modules before anything has run.
type StaticError struct {
	Problems []Problem // at least one, in the order of the files' loading
}

func (e *StaticError) Error() string {
	text := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		text[i] = p.Error()
	}
	return strings.Join(text, "\n")
}

// Render writes every problem with the lines that it is about.
func (e *StaticError) Render(w io.Writer) error {
	var b strings.Builder
	for i, p := range e.Problems {
		if i > 0 {
			b.WriteByte('\n')
		}
		writePlaced(&b, p.Error(), p.source, p.Line, p.Col)
		writeHint(&b, p.Hint)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// An ArgsError is a script that was given arguments and takes none. Nothing has run.
type ArgsError struct {
	File string
	Args []string
	Hint string
}

func (e *ArgsError) Error() string {
	return fmt.Sprintf("%s takes no arguments, got %s", e.File, strings.Join(e.Args, " "))
}

// Render writes the error and its hint.
func (e *ArgsError) Render(w io.Writer) error {
	var b strings.Builder
	writeMessage(&b, e.Error())
	writeHint(&b, e.Hint)
	_, err := io.WriteString(w, b.String())
	return err
}
