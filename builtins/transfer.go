package builtins

import (
	star "go.starlark.net/starlark"

	"github.com/bifrost-run/bifrost/engine"
)

func transferType() *Type {
	return &Type{
		Name: "transfer", Doc: "What `upload` and `download` return.",
		Fields: []Field{
			{Name: "files", Kind: "int", Doc: "files that travelled"},
			{Name: "bytes", Kind: "int", Doc: "bytes that travelled"},
			{Name: "skipped", Kind: "int", Doc: "files that were the same already"},
			{Name: "duration", Kind: "float", Doc: "seconds"},
		},
	}
}

func (l *Library) transfer(t engine.Transfer) *object {
	return l.make("transfer", star.StringDict{
		"files": star.MakeInt(t.Files), "bytes": star.MakeInt64(t.Bytes), "skipped": star.MakeInt(t.Skipped), "duration": star.Float(t.Duration.Seconds()),
	}, nil)
}
