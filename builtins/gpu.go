package builtins

import (
	star "go.starlark.net/starlark"

	"github.com/bifrost-run/bifrost/engine"
)

func gpuType() *Type {
	return &Type{
		Name: "gpu", Doc: "A GPU of a node, as `node.gpus` returns it.",
		Fields: []Field{
			{Name: "index", Kind: "int", Doc: "number in CUDA_VISIBLE_DEVICES"},
			{Name: "name", Kind: "str", Doc: "as the driver calls it"},
			{Name: "memory_used_mb", Kind: "int", Doc: "in use"},
			{Name: "memory_total_mb", Kind: "int", Doc: "in all"},
			{Name: "utilization", Kind: "int", Doc: "percent"},
		},
	}
}

func (l *Library) gpu(g engine.GPU) *object {
	return l.make("gpu", star.StringDict{
		"index": star.MakeInt(g.Index), "name": star.String(g.Name), "memory_used_mb": star.MakeInt(g.MemoryUsedMB),
		"memory_total_mb": star.MakeInt(g.MemoryTotalMB), "utilization": star.MakeInt(g.Utilization),
	}, nil)
}
