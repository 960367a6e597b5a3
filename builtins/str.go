package builtins

import (
	star "go.starlark.net/starlark"

	"github.com/bifrost-run/bifrost/starlark"
)

func strEntry() *Entry {
	return &Entry{
		Name: "str", Result: "str", Capabilities: pure,
		Example: "print(\"lr is \" + str(0.1))  # lr is 0.1",
		Doc:     "Returns the text of a value. That of a secret is an error.",
		Params:  []Param{{Name: "x", Kind: anyKind(), Default: star.String(""), Doc: "the value"}},
		run: func(c *Call) (star.Value, error) {
			switch x := c.raw["x"].(type) {
			case star.String:
				return x, nil
			case *Secret:
				return nil, x.refuse("str")
			case star.Bytes: // decoded, as Starlark's own does
				return star.Call(c.thread.Star(), star.Universe["str"], star.Tuple{x}, nil)
			default:
				if err := c.thread.CheckText("str", x); err != nil {
					return nil, err
				}
				return star.String(starlark.Repr(x)), nil
			}
		},
	}
}
