package builtins

import (
	star "go.starlark.net/starlark"

	"github.com/bifrost-run/bifrost/gpu"
)

func offerType() *Type {
	return &Type{
		Name: "offer", Doc: "A machine that a provider would rent out now: what `find_offers` lists, and what the functions `where` and `sort` of `gpu_query` get.",
		Fields: []Field{
			{Name: "provider", Kind: "str", Doc: "who rents it out"},
			{Name: "gpu_type", Kind: "str", Doc: `canonical name, "A100 80GB SXM"`},
			{Name: "vram_gb", Kind: "float", Doc: "memory of each GPU"},
			{Name: "gpu_count", Kind: "int", Doc: "GPUs on the machine"},
			{Name: "max_count", Kind: "int or None", Doc: "GPUs on the largest machine of this type and price; None when unknown"},
			{Name: "price_per_gpu", Kind: "float", Doc: "USD per GPU and hour"},
			{Name: "price_total", Kind: "float", Doc: "USD per hour for the machine"},
			{Name: "cloud_type", Kind: "str", Doc: `"secure" or "community"`},
			{Name: "spot", Kind: "bool", Doc: "whether the provider may take it back"},
			{Name: "region", Kind: "str or None", Doc: "in the provider's words; None when unknown"},
			{Name: "cuda", Kind: "str or None", Doc: "version that the driver has; None when unknown"},
			{Name: "vcpu", Kind: "int or None", Doc: "CPU threads; None when unknown"},
			{Name: "memory_gb", Kind: "float or None", Doc: "memory of the machine; None when unknown"},
			{Name: "arch", Kind: "str or None", Doc: `of the CPU, "amd64" or "arm64"; None when unknown`},
			{Name: "upstream", Kind: "str or None", Doc: "who owns the machine, where the provider resells those of others; else None"},
			{Name: "stock", Kind: "str or None", Doc: "how many there are, in the provider's words; None when unknown"},
			{Name: "refused", Kind: "str or None", Doc: "why the query refuses it, of a near miss; None of what fits"},
		},
	}
}

// offer is the value of an offer; refused is "" for what fits.
func (l *Library) offer(o gpu.Offer, refused string) *object {
	values := star.StringDict{
		"provider": star.String(o.Provider), "gpu_type": star.String(o.GPUType), "vram_gb": star.Float(o.VRAMGB),
		"gpu_count": star.MakeInt(o.GPUCount), "price_per_gpu": star.Float(o.PricePerGPU), "price_total": star.Float(o.PriceTotal),
		"cloud_type": star.String(o.CloudType), "spot": star.Bool(o.Spot), "region": stringOrNone(o.Region), "cuda": stringOrNone(o.CUDA),
		"arch": stringOrNone(o.Arch), "upstream": stringOrNone(o.Upstream),
		"max_count": star.None, "vcpu": star.None, "memory_gb": star.None, "stock": stringOrNone(o.Stock), "refused": stringOrNone(refused),
	}
	if o.MaxCount > 0 {
		values["max_count"] = star.MakeInt(o.MaxCount)
	}
	if o.VCPU > 0 {
		values["vcpu"] = star.MakeInt(o.VCPU)
	}
	if o.MemoryGB > 0 {
		values["memory_gb"] = star.Float(o.MemoryGB)
	}
	return l.make("offer", values, nil)
}
