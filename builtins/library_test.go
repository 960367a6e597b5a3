package builtins

import (
	"testing"

	star "go.starlark.net/starlark"
)

// TestDefaultsAreFrozen holds that threads can share the defaults of parameters: going through a list that
// is not frozen writes to it.
func TestDefaultsAreFrozen(t *testing.T) {
	t.Parallel()
	New(nil, Options{}).Walk(func(owner string, e *Entry) {
		for _, p := range e.Params {
			var err error
			switch v := p.Default.(type) {
			case *star.List:
				err = v.Append(star.None)
			case *star.Dict:
				err = v.SetKey(star.None, star.None)
			default:
				continue
			}
			if err == nil {
				t.Errorf("%s.%s: the default of %s can be changed", owner, e.Name, p.Name)
			}
		}
	})
}
