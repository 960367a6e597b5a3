package starlark

import "fmt"

// An ExitError ends a script with an exit code of its choice. It is no failure: what the script holds
// is torn down as at its end.
type ExitError struct {
	Code int // 0 to 255
}

func (e *ExitError) Error() string { return fmt.Sprintf("exit(%d)", e.Code) }
