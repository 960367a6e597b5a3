package builtins

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	star "go.starlark.net/starlark"

	"github.com/bifrost-run/bifrost/engine/ssh"
	"github.com/bifrost-run/bifrost/gpu"
	"github.com/bifrost-run/bifrost/starlark/policy"
)

// providerNames are those that a query can name.
func providerNames() []string { return []string{"runpod", "vast", "lambda", "prime", "local"} }

func gpuQueryEntry() *Entry {
	return &Entry{
		Name: "gpu_query", Result: "gpu_query", Capabilities: pure,
		Example: "machine = gpu_query(type = \"A100 80GB\", count = 2, max_price = 3.0)\nprint(machine.count, machine.cloud_type)  # 2 secure",
		Doc:     "Describes the machine to rent. Nothing is asked or rented until a verb uses it.",
		Params: []Param{
			{Name: "type", Kind: orNone(nameKind()), Default: star.String("A100"), Doc: `words of the GPU's name: "A100" finds every A100, "A100 80GB" narrows it; None means any`},
			{Name: "count", Kind: intKind(1, 64), Default: star.MakeInt(1), KeywordOnly: true, Doc: "GPUs on one machine"},
			{Name: "max_price", Kind: orNone(positiveKind("USD")), Default: star.None, KeywordOnly: true, Doc: "USD per GPU and hour"},
			{Name: "min_vram_gb", Kind: orNone(positiveKind("GB")), Default: star.None, KeywordOnly: true, Doc: "memory of each GPU"},
			{Name: "cloud_type", Kind: orNone(oneOf("secure", "community")), Default: star.String("secure"), KeywordOnly: true, Doc: "None means both"},
			{Name: "min_cuda", Kind: orNone(cudaKind()), Default: star.String("12.0"), KeywordOnly: true, Doc: "CUDA version of the driver; an offer that does not tell it passes and is checked on the machine; GPUs of other makers have none; None means any GPU"},
			{Name: "container_disk_gb", Kind: intKind(1, 1<<20), Default: star.MakeInt(100), KeywordOnly: true, Doc: "disk that ends with the machine"},
			{Name: "volume_disk_gb", Kind: intKind(0, 1<<20), Default: star.MakeInt(0), KeywordOnly: true, Doc: "volume; 0 means none"},
			{Name: "providers", Kind: orNone(wordsKind(providerNames()...)), Default: star.None, KeywordOnly: true, Doc: `one provider or a list in order of preference; None means every one whose key is set, cheapest first; "local", a node on this machine, only when named`},
			{Name: "regions", Kind: orNone(stringsKind()), Default: star.None, KeywordOnly: true, Doc: "one region or a list, in the provider's words"},
			{Name: "spot", Kind: boolKind(), Default: star.False, KeywordOnly: true, Doc: "machines that the provider may take back"},
			{Name: "image", Kind: orNone(nameKind()), Default: star.None, KeywordOnly: true, Doc: "container image; None leaves it to the provider"},
			{Name: "ports", Kind: intsKind(1, 65535), Default: star.NewList(nil), KeywordOnly: true, Doc: "ports to expose beside SSH"},
			{Name: "where", Kind: orNone(functionKind("offer")), Default: star.None, KeywordOnly: true, Doc: "keeps an offer when it returns something true"},
			{Name: "sort", Kind: orNone(functionKind("offer")), Default: star.None, KeywordOnly: true, Doc: "returns the number by which offers are ordered, lowest first; None means cheapest first"},
		},
		run: func(c *Call) (star.Value, error) {
			q := &gpu.Query{
				Type: arg[string](c, "type"), Count: arg[int](c, "count"),
				MaxPrice: arg[float64](c, "max_price"), MinVRAM: arg[float64](c, "min_vram_gb"),
				CloudType: arg[string](c, "cloud_type"), MinCUDA: arg[string](c, "min_cuda"),
				ContainerDiskGB: arg[int](c, "container_disk_gb"), VolumeDiskGB: arg[int](c, "volume_disk_gb"),
				Providers: arg[[]string](c, "providers"), Regions: arg[[]string](c, "regions"),
				Spot: arg[bool](c, "spot"), Image: arg[string](c, "image"), Ports: arg[[]int](c, "ports"),
			}
			if q.Providers != nil && len(q.Providers) == 0 {
				return nil, c.wrong("providers: the list is empty", "leave it out for every provider whose key is set")
			}
			for _, name := range []string{"where", "sort"} {
				if fn := c.raw[name]; fn != star.None {
					fn.Freeze() // it is called from a thread of its own
				}
			}
			return c.description("gpu_query", q)
		},
	}
}

// description is the value of a constructor: its arguments as fields, of which the given ones are
// shown.
func (c *Call) description(typeName string, data any) (star.Value, error) {
	values := star.StringDict{}
	shown := []string{}
	for _, p := range c.entry.Params {
		var err error
		if values[p.Name], err = copyOf(c.raw[p.Name]); err != nil {
			return nil, c.wrongValue(p.Name, err)
		}
		if c.given[p.Name] {
			shown = append(shown, p.Name)
		}
	}
	o := c.lib.make(typeName, values, data)
	o.shown, o.origin = shown, c.parties()
	return o, nil
}

// fieldsOf makes fields of an entry's parameters.
func fieldsOf(e *Entry) []Field {
	fields := make([]Field, len(e.Params))
	for i, p := range e.Params {
		fields[i] = Field{Name: p.Name, Kind: p.Kind.Name, Doc: p.Doc}
	}
	return fields
}

func gpuQueryType() *Type {
	return &Type{Name: "gpu_query", Doc: "What `gpu_query` returns: its arguments, frozen.", Fields: fieldsOf(gpuQueryEntry())}
}

// cudaKind is a version in two numbers.
func cudaKind() Kind {
	return Kind{"str", func(_ *Call, v star.Value) (any, error) {
		s, ok := star.AsString(v)
		var major, minor int
		if n, err := fmt.Sscanf(s, "%d.%d", &major, &minor); !ok || err != nil || n != 2 || s != fmt.Sprintf("%d.%d", major, minor) {
			return nil, want(v, `a version like "12.8"`)
		}
		return s, nil
	}}
}

// query returns the query of a gpu_query value, with its functions on a thread that lasts as long
// as the call.
func (c *Call) query(o *object) *gpu.Query {
	if o == nil {
		return nil
	}
	q := *o.data.(*gpu.Query)
	q.Providers, q.Regions, q.Ports = slices.Clone(q.Providers), slices.Clone(q.Regions), slices.Clone(q.Ports)
	where, sort := o.values["where"], o.values["sort"]
	if where == star.None && sort == star.None {
		return &q
	}
	fork, stop := c.thread.Fork("gpu_query")
	fork.Lend(o.origin)
	c.cleanup = append(c.cleanup, stop)
	var mu sync.Mutex // the engine may ask several providers at once
	ask := func(fn star.Value, offer gpu.Offer) (star.Value, error) {
		mu.Lock()
		defer mu.Unlock()
		return fork.Call(fn, star.Tuple{c.lib.offer(offer, "")}, nil)
	}
	if where != star.None {
		q.Where = func(offer gpu.Offer) (bool, error) {
			v, err := ask(where, offer)
			return err == nil && bool(v.Truth()), err
		}
	}
	if sort != star.None {
		q.Sort = func(offer gpu.Offer) (float64, error) {
			v, err := ask(sort, offer)
			if err != nil {
				return 0, err
			}
			key, ok := number(v)
			if !ok {
				return 0, &ArgError{Entry: "gpu_query", Message: "sort returned a " + v.Type() + ", want a number"}
			}
			return key, nil
		}
	}
	return &q
}

// targets are the requests for the machine that one of provision, ssh and node_id names.
func targets(provision *object, host, nodeID string) []policy.Request {
	switch {
	case provision != nil:
		providers := provision.data.(*gpu.Query).Providers
		if providers == nil {
			providers = []string{"*"}
		}
		var all []policy.Request
		for _, p := range providers {
			all = append(all, policy.Request{Capability: policy.Rent, Target: p})
		}
		return all
	case host != "":
		return []policy.Request{hostRequest(host)}
	}
	return []policy.Request{machineRequest(nodeID)}
}

// hostRequest is for a host as the script writes it.
func hostRequest(text string) policy.Request {
	if t, err := ssh.ParseTarget(text); err == nil {
		text = t.String()
	}
	return policy.Request{Capability: policy.SSH, Target: text}
}

// machineRequest is for a node by its id, "runpod:abc123" or "ssh:root@gpu".
func machineRequest(id string) policy.Request {
	provider, rest, _ := strings.Cut(id, ":")
	if provider == "ssh" {
		return hostRequest(rest)
	}
	return policy.Request{Capability: policy.SSH, Target: id, Provider: provider}
}

// oneNode checks that a call names one machine in one way.
func (c *Call) oneNode() error {
	var given []string
	for _, name := range []string{"provision", "ssh", "node_id"} {
		if c.raw[name] != star.None {
			given = append(given, name)
		}
	}
	if len(given) == 1 {
		return nil
	}
	got := "none of them was given"
	if len(given) > 1 {
		got = "got " + strings.Join(given, " and ")
	}
	return c.wrong("exactly one of provision, ssh and node_id says where it runs; "+got,
		`provision = gpu_query(...), or ssh = "user@host:22", or node_id = "provider:id"`)
}
