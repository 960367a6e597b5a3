package builtins

import (
	"strings"

	star "go.starlark.net/starlark"

	"github.com/bifrost-run/bifrost/builtins/argparse"

	"github.com/bifrost-run/bifrost/starlark"
)

func namespaceType() *Type {
	return &Type{
		Name: "Namespace", Doc: "What `parse_args` returns: the values of the arguments, `args.gpu_count`. It does not change.",
		attr:      func(o *object, name string) star.Value { return o.values[name] },
		attrNames: func(o *object) []string { return o.values.Keys() },
		show: func(o *object) string {
			var parts []string
			for _, v := range o.data.([]argparse.Value) {
				parts = append(parts, v.Name+"="+starlark.Repr(v.Value))
			}
			return "Namespace(" + strings.Join(parts, ", ") + ")"
		},
	}
}

func (l *Library) namespace(values []argparse.Value) *object {
	names := star.StringDict{}
	for _, v := range values {
		names[v.Name] = v.Value
	}
	names.Freeze()
	return l.make("Namespace", names, values)
}
