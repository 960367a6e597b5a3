package builtins

import (
	"context"
	"errors"
	"io/fs"

	star "go.starlark.net/starlark"

	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/starlark"
	"github.com/bifrost-run/bifrost/starlark/policy"
)

// A ScriptError is one that the script made itself, with fail or check.
type ScriptError struct {
	Kind    string // "fail" or "check"
	Message string
}

func (e *ScriptError) Error() string { return e.Message }

// A DataError is data that is not what it should be: JSON, YAML or TOML that does not parse, bytes that
// are no text. A script can catch it.
type DataError struct {
	Format string // what it should be: "json", "utf-8"
	Source string // where it comes from, a path; "" for a value of the script
	Err    error  // what is wrong, and where
	Hint   string // the way out; may be empty
}

func (e *DataError) Error() string {
	text := e.Format
	if e.Source != "" {
		text += " " + e.Source
	}
	return text + ": " + e.Err.Error()
}

func (e *DataError) Unwrap() error { return e.Err }

func errorType() *Type {
	return &Type{
		Name: "error", Doc: "What `attempt` returns for a failure. `fail(err)` raises it again.",
		Fields: []Field{
			{Name: "kind", Kind: "str", Doc: `in a word: "fail", "check", "data" for what does not parse, "file" for a local file that cannot be used, or one of "` + kindWords() + `"`},
			{Name: "message", Kind: "str", Doc: "what happened"},
			{Name: "op", Kind: "str or None", Doc: `the operation, "push"`},
			{Name: "target", Kind: "str or None", Doc: "what it was done to: a path, a host, a job"},
			{Name: "hint", Kind: "str or None", Doc: "what to do next"},
			{Name: "exit_code", Kind: "int or None", Doc: "of the command or job that failed"},
		},
		show: func(o *object) string {
			kind, _ := star.AsString(o.values["kind"])
			message, _ := star.AsString(o.values["message"])
			return kind + ": " + message
		},
	}
}

// kindWords lists the kinds that scripts meet.
func kindWords() string {
	text := ""
	for i, k := range []fault.Kind{
		fault.Invalid, fault.NoCapacity, fault.Auth, fault.HostKey, fault.Funds, fault.Budget, fault.Unreachable, fault.Lost, fault.Timeout,
		fault.NotFound, fault.Conflict, fault.DiskFull, fault.Transfer, fault.Results, fault.Bootstrap, fault.CommandFail, fault.JobFailed,
		fault.Cancelled, fault.Unreleased, fault.Scope,
	} {
		if i > 0 {
			text += `" "`
		}
		text += string(k)
	}
	return text
}

// error returns the value of an error, which keeps the error itself.
func (l *Library) error(r *starlark.Redactor, err error) *object {
	kind, hint := Describe(err)
	values := star.StringDict{
		"kind": star.String(kind), "message": star.String(r.Redact(starlark.Message(err))), "op": star.None, "target": star.None,
		"hint": stringOrNone(r.Redact(hint)), "exit_code": star.None,
	}
	var f *fault.Error
	if errors.As(err, &f) {
		values["op"], values["target"] = stringOrNone(f.Op), stringOrNone(r.Redact(f.Target))
		if f.ExitCode != 0 {
			values["exit_code"] = star.MakeInt(f.ExitCode)
		}
	}
	return l.make("error", values, err)
}

// Describe says the kind of an error in a word and the way out, for starlark.Host. Both are empty
// for errors that it does not know.
func Describe(err error) (kind, hint string) {
	var (
		f      *fault.Error
		script *ScriptError
		arg    *ArgError
		data   *DataError
		denied *policy.Denied
		path   *fs.PathError
	)
	switch {
	case errors.As(err, &denied):
		return string(fault.Denied), denied.Hint()
	case errors.As(err, &f):
		return string(f.Kind), fault.HintOf(err)
	case errors.As(err, &script):
		return script.Kind, ""
	case errors.As(err, &arg):
		return string(fault.Invalid), arg.Hint
	case errors.As(err, &data):
		return "data", data.Hint
	case errors.As(err, &path) && errors.Is(err, fs.ErrNotExist):
		return string(fault.NotFound), ""
	case errors.As(err, &path):
		return "file", ""
	case errors.Is(err, context.DeadlineExceeded):
		return string(fault.Timeout), ""
	}
	return "", ""
}
