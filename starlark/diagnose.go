package starlark

import (
	"context"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"

	star "go.starlark.net/starlark"

	"github.com/bifrost-run/bifrost/internal/lazyregexp"
)

// A Frame is a call that was under way.
type Frame struct {
	File     string `json:"file"`               // as people see it
	Line     int    `json:"line"`               // from 1
	Col      int    `json:"col"`                // from 1, in characters
	Function string `json:"function,omitempty"` // "" for the top level of a file
	Again    bool   `json:"again,omitempty"`    // the error was caught further in and raised again here
}

// A Reraised error is one that was caught and is raised again: its place is where it happened first.
type Reraised struct{ Err error }

func (e *Reraised) Error() string { return Message(e.Err) }
func (e *Reraised) Unwrap() error { return e.Err }

// An Error is what stopped a script, with its place. The Go error that a builtin returned is in its
// chain. The text of all fields is free of secrets.
type Error struct {
	Kind    string // in a word: "error" unless the host's Describe knows better
	Message string
	Frames  []Frame // innermost first, those of loaded modules joined with those of their loaders
	Hint    string  // the way out; may be empty

	cause    error
	calls    []Frame // as Frames, with builtins, which have no line
	describe func(err error) (kind, hint string)
	redact   func(text string) string
	sources  map[string][]string // of the frames' files, by name
}

func (e *Error) Error() string {
	text := e.Kind + ": " + e.Message
	if len(e.Frames) > 0 {
		text = at(e.Frames[0].File, e.Frames[0].Line) + ": " + text
	}
	return text
}

func (e *Error) Unwrap() error { return e.cause }

// Render writes the error as people read it: place, kind and message; the lines of the script; the
// calls that led there; the way out.
func (e *Error) Render(w io.Writer) error {
	var b strings.Builder
	if len(e.Frames) > 0 {
		writePlaced(&b, e.Error(), e.sources[e.Frames[0].File], e.Frames[0].Line, e.Frames[0].Col)
		writeFrames(&b, e.Frames)
	} else {
		writeMessage(&b, e.Error())
	}
	writeHint(&b, e.Hint)
	_, err := io.WriteString(w, b.String())
	return err
}

// maxFrames is how many calls are shown; more are cut in the middle.
const maxFrames = 12

// writeFrames writes who called the innermost frame's function, and so on outward.
func writeFrames(b *strings.Builder, frames []Frame) {
	for i, f := range frames[1:] {
		if len(frames) > maxFrames && i == maxFrames/2 {
			b.WriteString("  …\n")
		}
		if len(frames) > maxFrames && i >= maxFrames/2 && i < len(frames)-1-maxFrames/2 {
			continue
		}
		writeFrame(b, f, frames[i])
	}
}

// writeFrame writes a call; inner is what it called.
func writeFrame(b *strings.Builder, f, inner Frame) {
	verb := "called from "
	switch {
	case f.Again:
		verb = "raised again at "
	case inner.Function == "":
		verb = "loaded from "
	}
	b.WriteString("  " + verb + at(f.File, f.Line))
	if f.Function != "" {
		b.WriteString(", in " + f.Function)
	}
	b.WriteByte('\n')
}

// A placed error has a place that is not in a call stack.
type placed struct {
	err   error
	frame Frame
}

func (e *placed) Error() string { return e.err.Error() }
func (e *placed) Unwrap() error { return e.err }

// diagnose makes the error for people of what the interpreter returned.
func (r *Run) diagnose(err error) *Error {
	e := &Error{
		Kind: "error", cause: err, Frames: framesOf(err, false), calls: framesOf(err, true),
		describe: r.host.Describe, redact: r.Redactor.Redact,
	}
	e.Message = r.Redactor.Redact(Message(err))
	if r.host.Describe != nil {
		kind, hint := r.host.Describe(err)
		if kind != "" {
			e.Kind = kind
		}
		e.Hint = r.Redactor.Redact(hint)
	}
	var limit *LimitError
	var imported *ImportError
	switch {
	case errors.As(err, &imported) && e.Kind == "error":
		e.Kind, e.Hint = "load", r.Redactor.Redact(imported.Hint)
	case errors.As(err, &limit):
		e.Kind, e.Message, e.Hint = "limit", r.Redactor.Redact(limit.Error()), limit.Hint() // not what an operation made of it
	case errors.Is(err, context.Canceled) && e.Kind == "error":
		e.Kind = "cancelled"
	}
	if e.Kind == "error" && e.Hint == "" {
		r.teach(e)
	}
	e.sources = map[string][]string{}
	for _, f := range e.Frames {
		if m := r.moduleOf(f.File); m != nil && e.sources[f.File] == nil {
			lines := slices.Clone(m.source)
			for i := range lines {
				lines[i] = r.Redactor.Redact(lines[i])
			}
			e.sources[f.File] = lines
		}
	}
	return e
}

func (r *Run) moduleOf(file string) *module {
	for _, m := range r.allModules() {
		if m.name == file {
			return m
		}
	}
	return nil
}

var (
	badCall    = lazyregexp.New(`^function \S+ (missing|accepts|got) `)
	badKeyword = lazyregexp.New(`^function \S+ got an unexpected keyword argument "(.*)"$`)
	noKey      = lazyregexp.New(`^key "(.*)" not in dict$`)
)

// teach finds the way out of an error of the interpreter's own: what the host knows, else what is
// spelt nearly so. A call that does not fit its function is reported where the call is.
func (r *Run) teach(e *Error) {
	var near, suggested string
	e.Message, suggested = cutSuggestion(e.Message)
	if badCall().MatchString(e.Message) && len(e.Frames) > 1 {
		def := e.Frames[0]
		e.Frames = e.Frames[1:]
		if m := badKeyword().FindStringSubmatch(e.Message); m != nil {
			if owner := r.moduleOf(def.File); owner != nil {
				near = owner.nearParam(def.Line, m[1])
			}
		}
	}
	if m := noKey().FindStringSubmatch(e.Message); m != nil {
		if near = nearKey(r.allModules(), m[1]); near != "" {
			near = strconv.Quote(near)
		}
	}
	if r.host.HabitHint != nil {
		line, col := "", 0
		if len(e.Frames) > 0 {
			if m := r.moduleOf(e.Frames[0].File); m != nil {
				line, col = m.line(e.Frames[0].Line), e.Frames[0].Col
			}
		}
		e.Hint = r.host.HabitHint(e.Message, line, col)
	}
	if e.Hint == "" {
		e.Hint = didYouMean(suggested)
	}
	if near != "" {
		e.Hint = strings.TrimSuffix(didYouMean(near)+" "+e.Hint, " ")
	}
	e.Hint = r.Redactor.Redact(e.Hint)
}

// Message returns the text of an error of the interpreter without the "cannot load x:" of every module
// on the way.
func Message(err error) string {
	for {
		eval, ok := err.(*star.EvalError)
		if !ok {
			return err.Error()
		}
		err = eval.Unwrap()
		var inner *star.EvalError
		if errors.As(err, &inner) && strings.HasPrefix(err.Error(), "cannot load ") {
			err = inner
		}
	}
}

// framesOf joins the stacks of all evaluation errors in err's chain, innermost frame first, builtins
// among them or not.
func framesOf(err error, builtins bool) []Frame {
	var stack star.CallStack // outermost first
	var again []Frame        // outermost first
	walk(err, func(err error) {
		if _, ok := err.(*Reraised); ok {
			if frames := framesIn(stack, false); len(frames) > 0 {
				frames[0].Again = true
				again = append(again, frames[0])
			}
			stack = nil
			return
		}
		eval, ok := err.(*star.EvalError)
		if !ok {
			return
		}
		inner := eval.CallStack
		switch {
		case isPrefix(stack, inner): // the same thread, deeper
			stack = inner
		case isPrefix(inner, stack): // the same thread, on the way out
		default: // another thread: a module that was being loaded, a function called back
			stack = append(slices.Clip(stack), inner...)
		}
	})
	var frames []Frame
	walk(err, func(err error) {
		if p, ok := err.(*placed); ok && len(frames) == 0 {
			frames = append(frames, p.frame)
		}
	})
	frames = append(frames, framesIn(stack, builtins)...)
	slices.Reverse(again)
	return append(frames, again...)
}

// framesIn are the places of a stack in scripts, innermost first.
func framesIn(stack star.CallStack, builtins bool) []Frame {
	var frames []Frame
	for _, f := range slices.Backward(stack) {
		if f.Pos.Line == 0 { // a builtin
			if builtins {
				frames = append(frames, Frame{Function: f.Name})
			}
			continue
		}
		name := f.Name
		if name == "<toplevel>" || name == "<expr>" {
			name = ""
		}
		frames = append(frames, Frame{File: f.Pos.Filename(), Line: int(f.Pos.Line), Col: int(f.Pos.Col), Function: name})
	}
	return frames
}

func isPrefix(short, long star.CallStack) bool {
	return len(short) <= len(long) && slices.Equal(short, long[:len(short)])
}

// walk visits err and everything that it wraps, outermost first.
func walk(err error, visit func(error)) {
	if err == nil {
		return
	}
	visit(err)
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		walk(e.Unwrap(), visit)
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			walk(inner, visit)
		}
	}
}
