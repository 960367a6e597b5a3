package starlark

import (
	"fmt"
	"io"
	"strings"

	star "go.starlark.net/starlark"
)

// RenderTrace writes all that is known about the error, for whoever looks for a defect: every call with
// its lines, those of builtins too; every Go error that led to this one, outermost first; where a
// builtin panicked, the Go stack.
func (e *Error) RenderTrace(w io.Writer) error {
	var b strings.Builder
	writeMessage(&b, e.Error())
	for i, f := range e.calls {
		switch {
		case f.Line == 0:
			fmt.Fprintf(&b, "  in the builtin %s\n", f.Function)
			continue
		case i > 0:
			writeFrame(&b, f, e.calls[i-1])
		}
		writeExcerpt(&b, e.sources[f.File], f.Line, f.Col)
	}
	writeHint(&b, e.Hint)
	walk(e.cause, func(err error) {
		switch err.(type) {
		case *star.EvalError, *placed, *Reraised, *stopped, interface{ Unwrap() []error }:
			return // they add a place or nothing
		}
		kind := ""
		if e.describe != nil {
			kind, _ = e.describe(err)
		}
		fmt.Fprintf(&b, "  error %T", err)
		if kind != "" {
			fmt.Fprintf(&b, ", %s", kind)
		}
		b.WriteString(": ")
		writeMessage(&b, e.redact(err.Error()))
		if stack, ok := err.(interface{ GoStack() []byte }); ok {
			writeMessage(&b, "  Go stack:\n"+e.redact(string(stack.GoStack())))
		}
	})
	_, err := io.WriteString(w, b.String())
	return err
}
