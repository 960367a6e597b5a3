package fake

import (
	"fmt"
	"strings"

	star "go.starlark.net/starlark"

	"github.com/bifrost-run/bifrost/builtins"
	"github.com/bifrost-run/bifrost/engine"
	"github.com/bifrost-run/bifrost/gpu"
	"github.com/bifrost-run/bifrost/starlark/spell"
)

// A row reads the fields of one dict. The first error stays.
type row struct {
	values map[string]star.Value
	known  []string
	err    error
}

// rows reads a list of dicts.
func rows[T any](v star.Value, read func(r *row) T) (any, error) {
	list, ok := v.(star.Indexable)
	if _, isString := v.(star.String); !ok || isString {
		return nil, fmt.Errorf("got %s, want a list of dicts", v.Type())
	}
	all := []T{}
	for i := range list.Len() {
		dict, ok := list.Index(i).(*star.Dict)
		if !ok {
			return nil, fmt.Errorf("element %d: got %s, want a dict", i, list.Index(i).Type())
		}
		r := &row{values: map[string]star.Value{}}
		for _, kv := range dict.Items() {
			name, _ := star.AsString(kv[0])
			r.values[name] = kv[1]
		}
		one := read(r)
		if err := r.end(); err != nil {
			return nil, fmt.Errorf("element %d: %w", i, err)
		}
		all = append(all, one)
	}
	return all, nil
}

// end refuses what no field was read of.
func (r *row) end() error {
	if r.err != nil {
		return r.err
	}
	for name := range r.values {
		if near := spell.Nearest(name, r.known); near != "" {
			return fmt.Errorf("it has no field %s; did you mean %s?", name, near)
		}
		return fmt.Errorf("it has no field %q; the fields are %s", name, strings.Join(r.known, ", "))
	}
	return nil
}

// take returns the value of a field, nil when it is not given.
func (r *row) take(name string) star.Value {
	v := r.values[name]
	delete(r.values, name)
	r.known = append(r.known, name)
	return v
}

func (r *row) wrong(name string, v star.Value, wanted string) {
	if r.err == nil {
		r.err = fmt.Errorf("%s: got %s, want %s", name, v, wanted)
	}
}

func (r *row) text(name, value string) string {
	v := r.take(name)
	if v == nil || v == star.None {
		return value
	}
	s, ok := star.AsString(v)
	if !ok {
		r.wrong(name, v, "a string")
	}
	return s
}

func (r *row) number(name string, value float64) float64 {
	v := r.take(name)
	if v == nil || v == star.None {
		return value
	}
	f, ok := star.AsFloat(v)
	if !ok || f < 0 {
		r.wrong(name, v, "a number of at least 0")
	}
	return f
}

func (r *row) int(name string, value int) int {
	v := r.take(name)
	if v == nil || v == star.None {
		return value
	}
	i, err := star.AsInt32(v)
	if err != nil || i < 0 {
		r.wrong(name, v, "an int of at least 0")
	}
	return i
}

func (r *row) bool(name string) bool {
	v := r.take(name)
	if v == nil {
		return false
	}
	b, ok := v.(star.Bool)
	if !ok {
		r.wrong(name, v, "True or False")
	}
	return bool(b)
}

// need makes a field a required one.
func (r *row) need(name string) {
	if v, ok := r.values[name]; (!ok || v == star.None) && r.err == nil {
		r.err = fmt.Errorf("%s is missing", name)
	}
}

func offersKind() builtins.Kind {
	return builtins.NewKind("list of dict", func(v star.Value) (any, error) {
		return rows(v, func(r *row) gpu.Offer {
			r.need("gpu_type")
			r.need("price_per_gpu")
			o := gpu.Offer{
				Provider: r.text("provider", "fake"), GPUType: r.text("gpu_type", ""), VRAMGB: r.number("vram_gb", 80), GPUCount: r.int("gpu_count", 1),
				PricePerGPU: r.number("price_per_gpu", 0), CloudType: r.text("cloud_type", "secure"), Spot: r.bool("spot"), Region: r.text("region", ""),
				CUDA: r.text("cuda", ""), VCPU: r.int("vcpu", 0), MemoryGB: r.number("memory_gb", 0), Stock: r.text("stock", ""),
				MaxCount: r.int("max_count", 0), Arch: r.text("arch", ""), Upstream: r.text("upstream", ""),
			}
			o.PriceTotal = r.number("price_total", o.PricePerGPU*float64(o.GPUCount))
			return o
		})
	})
}

func nodesKind() builtins.Kind {
	return builtins.NewKind("list of dict", func(v star.Value) (any, error) {
		return rows(v, func(r *row) *machine {
			r.need("id")
			m := &machine{
				id: r.text("id", ""), name: r.text("name", ""), gpuType: r.text("gpu_type", ""), gpuCount: r.int("gpu_count", 0), price: r.number("price_per_hour", 0), ours: r.bool("rented"),
				state: ready, own: map[string][]byte{},
			}
			var found bool
			if m.provider, _, found = strings.Cut(m.id, ":"); !found && r.err == nil {
				r.err = fmt.Errorf(`id: got %q, want "provider:id"`, m.id)
			}
			m.keep = !m.ours
			return m
		})
	})
}

func gpusKind() builtins.Kind { return builtins.NewKind("list of dict", takeGPUs) }

func takeGPUs(v star.Value) (any, error) {
	return rows(v, func(r *row) engine.GPU {
		r.need("index")
		return engine.GPU{
			Index: r.int("index", 0), Name: r.text("name", "NVIDIA A100"), MemoryUsedMB: r.int("memory_used_mb", 0),
			MemoryTotalMB: r.int("memory_total_mb", 80<<10), Utilization: r.int("utilization", 0),
		}
	})
}
