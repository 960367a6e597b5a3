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

func attemptEntry() *Entry {
	return &Entry{
		Name: "attempt", Result: "(value, error or None)", Capabilities: pure,
		Doc: "Calls fn and returns its value and None, or None and the error that stopped it: one of the engine, a missing file, data that does not parse, `check` and `fail`. " +
			"It does not catch what is wrong with the script itself, a denied permission, `exit`, an interruption or a limit.",
		Example: `text, err = attempt(Path("tuned.json").read_text)
config = json.loads(text) if err == None else {"lr": 0.1}
print(err.kind, config["lr"])  # not_found 0.1`,
		Params: []Param{{Name: "fn", Kind: functionKind("*args, **kwargs"), Doc: "what to call"}},
		Args:   "args", Kwargs: "kwargs",
		run: func(c *Call) (star.Value, error) {
			v, err := c.thread.Call(c.raw["fn"], c.args, c.kwargs)
			if err == nil {
				return star.Tuple{v, star.None}, nil
			}
			if !catchable(err) || c.context().Err() != nil {
				return nil, err
			}
			c.thread.Lift()
			return star.Tuple{star.None, c.lib.error(c.thread.Run().Redactor, err)}, nil
		},
	}
}

// catchable reports whether attempt catches err. Where a function of the script's failed inside of
// an operation, the function's error decides, whatever the operation made of it.
func catchable(err error) bool {
	switch e := err.(type) {
	case nil:
		return false
	case *star.EvalError:
		return catchable(e.Unwrap())
	case *ScriptError, *DataError:
		return true
	case *starlark.ExitError, *ArgError, *policy.Denied, *starlark.LimitError:
		return false
	case *fault.Error:
		var inner *star.EvalError
		if errors.As(e.Err, &inner) {
			return catchable(e.Err)
		}
		return e.Kind != fault.Denied && e.Kind != fault.Internal
	case *fs.PathError:
		return true
	case interface{ Unwrap() []error }:
		return catchableAll(e.Unwrap())
	case interface{ Unwrap() error }:
		return catchable(e.Unwrap())
	}
	return errors.Is(err, context.DeadlineExceeded) // of a timeout that the script set
}

// catchableAll decides for errors that happened together. The place that the interpreter adds to an
// error raised by an iterator is no error of its own.
func catchableAll(all []error) bool {
	caught := false
	for _, err := range all {
		var eval *star.EvalError
		if errors.As(err, &eval) && !catchable(err) && starlark.IsCancellation(eval) {
			continue
		}
		if !catchable(err) {
			return false
		}
		caught = true
	}
	return caught
}
