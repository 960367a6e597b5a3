package builtins

import (
	"iter"

	star "go.starlark.net/starlark"
)

// A fielded value is one that is its fields, in their order: a struct, a record. It encodes as a dict
// of them.
type fielded interface {
	star.Value
	fields() iter.Seq2[string, star.Value]
}
