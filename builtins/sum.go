package builtins

import (
	star "go.starlark.net/starlark"
	"go.starlark.net/syntax"
)

func sumEntry() *Entry {
	return &Entry{
		Name: "sum", Result: "number", Capabilities: pure,
		Example: "print(sum([1.5, 2]), sum([n * n for n in range(4)]))  # 3.5 14",
		Doc:     "Adds up the elements of a list or another iterable.",
		Params: []Param{
			{Name: "iterable", Kind: iterableKind(), Doc: "numbers"},
			{Name: "start", Kind: numberKind(), Default: star.MakeInt(0), Doc: "what they are added to"},
		},
		run: func(c *Call) (star.Value, error) {
			total := c.raw["start"]
			all := star.Iterate(c.raw["iterable"])
			defer all.Done()
			var v star.Value
			for i := 0; all.Next(&v); i++ {
				if _, err := numberKind().take(c, v); err != nil {
					return nil, c.wrongValue("element "+star.MakeInt(i).String(), err)
				}
				var err error
				if total, err = star.Binary(syntax.PLUS, total, v); err != nil {
					return nil, err
				}
			}
			return total, nil
		},
	}
}

func iterableKind() Kind {
	return Kind{"iterable", func(_ *Call, v star.Value) (any, error) {
		if i, ok := v.(star.Iterable); ok {
			return i, nil
		}
		return nil, want(v, "a list or another iterable")
	}}
}

// numberKind is an int or float as it is.
func numberKind() Kind {
	return Kind{"number", func(_ *Call, v star.Value) (any, error) {
		switch v.(type) {
		case star.Int, star.Float:
			return v, nil
		}
		return nil, want(v, "a number")
	}}
}
