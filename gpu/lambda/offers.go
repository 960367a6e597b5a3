package lambda

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/bifrost-run/bifrost/gpu"
	"github.com/bifrost-run/bifrost/gpu/httpapi"
	"github.com/bifrost-run/bifrost/internal/lazyregexp"
)

// A machineType is what Lambda rents out.
type machineType struct {
	Name           string  `json:"name"`
	Description    string  `json:"description"`     // "8x H100 (80 GB SXM5)"
	GPUDescription string  `json:"gpu_description"` // "H100 (80 GB SXM5)"
	CentsPerHour   float64 `json:"price_cents_per_hour"`
	Specs          struct {
		VCPUs      int     `json:"vcpus"`
		MemoryGiB  float64 `json:"memory_gib"`
		StorageGiB float64 `json:"storage_gib"`
		GPUs       int     `json:"gpus"`
	} `json:"specs"`
}

type region struct {
	Name string `json:"name"`
}

// A place is what Create needs of an offer.
type place struct {
	Type   string `json:"type"`
	Region string `json:"region"`
}

// Offers implements gpu.Provider. There is one for each type of machine and region that has it. The stock
// is that there is some: launches are refused at times all the same.
func (p *Provider) Offers(ctx context.Context, q gpu.Query) ([]gpu.Offer, error) {
	if err := unsupported("offers", q); err != nil {
		return nil, err
	}
	if q.CloudType == "community" && !q.Near || q.Spot && !q.Near {
		return nil, ctx.Err() // there are none, and nobody wants to know what comes near
	}
	var answer struct {
		Data map[string]struct {
			Type    machineType `json:"instance_type"`
			Regions []region    `json:"regions_with_capacity_available"`
		} `json:"data"`
	}
	err := p.api.Do(ctx, httpapi.Call{Op: "offers", Method: "GET", Path: "/api/v1/instance-types", Into: &answer, Limit: p.limit, Repeat: true})
	if err != nil {
		return nil, err
	}
	if answer.Data == nil {
		return nil, errors.New(Name + " offers: the answer has no data")
	}
	var offers []gpu.Offer
	for _, name := range slices.Sorted(maps.Keys(answer.Data)) {
		entry := answer.Data[name]
		entry.Type.Name = cmp.Or(entry.Type.Name, name)
		for _, at := range entry.Regions {
			if o, ok := entry.Type.offer(at.Name); ok && entry.Type.Specs.StorageGiB >= float64(q.ContainerDiskGB)*1e9/(1<<30) {
				offers = append(offers, o)
			}
		}
	}
	return offers, nil
}

// unsupported refuses what Lambda has on no machine.
func unsupported(op string, q gpu.Query) error {
	switch {
	case q.VolumeDiskGB > 0:
		return invalid(op, "there are no volumes; leave out volume_disk_gb, the disk of every machine is large")
	case len(q.Ports) > 0:
		return invalid(op, "ports are opened for a whole account, in its firewall rules; leave out ports and use bifrost forward")
	case strings.ContainsAny(q.Image, "/:@"):
		return invalid(op, "the image %q is a Docker image; Lambda starts its own only, by family (as lambda-stack-24-04) or id", q.Image)
	}
	return nil
}

// offer is the type in one region. Types without a GPU are none.
func (t machineType) offer(at string) (gpu.Offer, bool) {
	if t.Specs.GPUs < 1 || at == "" || t.CentsPerHour <= 0 {
		return gpu.Offer{}, false
	}
	native, err := json.Marshal(place{t.Name, at})
	if err != nil {
		return gpu.Offer{}, false // two texts always have their JSON
	}
	total := t.CentsPerHour / 100
	name, vram := t.gpu()
	return gpu.Offer{
		Provider: Name, ID: t.Name + "@" + at, GPUType: name, VRAMGB: vram, GPUCount: t.Specs.GPUs,
		PricePerGPU: total / float64(t.Specs.GPUs), PriceTotal: total, CloudType: "secure", Region: at,
		VCPU: t.Specs.VCPUs, MemoryGB: t.Specs.MemoryGiB, Stock: "available", Arch: t.arch(), Native: native,
	}, true
}

var (
	countOf  = lazyregexp.New(`^\d+x\s+`)
	armTypes = lazyregexp.New(`(?i)\b(gh|gb)\d+`)
)

// gpu is the GPU's name and memory, which stand in the description only, or in the type's own name.
func (t machineType) gpu() (name string, vramGB float64) {
	described := cmp.Or(t.GPUDescription, countOf().ReplaceAllString(t.Description, ""))
	if name, vramGB = gpu.Canonical(described, 0, ""); vramGB > 0 {
		return name, vramGB
	}
	if byType, vram := gpu.Canonical(t.Name, 0, ""); vram > 0 || name == "" {
		return byType, vram
	}
	return name, 0
}

// arch is the processor's: NVIDIA's own beside its "superchips", else what everybody has.
func (t machineType) arch() string {
	if armTypes().MatchString(strings.ReplaceAll(t.Name, "_", " ") + " " + t.GPUDescription) {
		return "arm64"
	}
	return "amd64"
}
