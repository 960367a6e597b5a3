package prime

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bifrost-run/bifrost/gpu"
	"github.com/bifrost-run/bifrost/gpu/httpapi"
	"github.com/bifrost-run/bifrost/internal/lazyregexp"
)

const (
	pageSize = 100 // the most that Prime gives
	maxPages = 100

	// Prime answers at times that it has nothing at all, and some seconds later that it has.
	emptyTries = 4

	// defaultImage is on nearly every offer, and what Prime starts when nobody says an image.
	defaultImage = "ubuntu_22_cuda_12"
	// templateImage stands for an image of the account's own, which nothing here can name.
	templateImage = "custom_template"
)

// An item is one line of Prime's listing: a machine as it is, with so many GPUs and no other number. It is
// what Create needs of an offer. null is what is unknown.
type item struct {
	CloudID    string   `json:"cloudId"`
	GPUType    string   `json:"gpuType"`
	Socket     string   `json:"socket"`
	Provider   string   `json:"provider"` // who owns it
	Region     string   `json:"region"`
	DataCenter string   `json:"dataCenter"`
	Country    string   `json:"country"`
	GPUCount   int      `json:"gpuCount"`
	GPUMemory  float64  `json:"gpuMemory"` // GB; said to be per GPU, seen to be of all
	Disk       amount   `json:"disk"`      // GB
	VCPU       amount   `json:"vcpu"`
	Memory     amount   `json:"memory"` // GB
	Stock      string   `json:"stockStatus"`
	Security   string   `json:"security"`
	Prices     prices   `json:"prices"`
	Images     []string `json:"images"`
	Spot       bool     `json:"isSpot"`
	Prepaid    float64  `json:"prepaidTime"` // hours
}

// An amount is of something that a machine has some of.
type amount struct {
	Min          float64 `json:"minCount"`
	Default      float64 `json:"defaultCount"`
	Max          float64 `json:"maxCount"`
	Step         float64 `json:"step"`
	PricePerUnit float64 `json:"pricePerUnit"` // per hour
}

// prices are per hour, for the machine with all its GPUs and its default disk: the description does not
// say so, but twice the GPUs cost twice as much.
type prices struct {
	OnDemand  float64 `json:"onDemand"`
	Community float64 `json:"communityPrice"`
	Variable  bool    `json:"isVariable"`
	Currency  string  `json:"currency"`
}

// Offers implements gpu.Provider. Regions are Prime's own words, as "united_states"; where it tells none,
// the country, else the data centre. The price includes as much disk as the query wants.
func (p *Provider) Offers(ctx context.Context, q gpu.Query) ([]gpu.Offer, error) {
	if err := p.unsupported("offers", q); err != nil {
		return nil, err
	}
	items, err := p.items(ctx)
	if err != nil {
		return nil, err
	}
	var offers []gpu.Offer
	seen := map[string]bool{}
	images := map[string]bool{}
	for _, it := range items {
		if !it.sold() {
			continue
		}
		for _, image := range it.Images {
			images[image] = true
		}
		offer, ok := it.offer(q)
		if !ok || seen[offer.ID] { // what comes into the listing meanwhile moves others to the next page
			continue
		}
		seen[offer.ID] = true
		offers = append(offers, offer)
	}
	if q.Image != "" && !images[q.Image] && len(images) > 0 {
		return nil, p.invalid("offers", "no machine starts the image %q; Prime starts only its own: %s", q.Image, strings.Join(sortedImages(images), ", "))
	}
	return offers, nil
}

// unsupported refuses what Prime has on no machine.
func (p *Provider) unsupported(op string, q gpu.Query) error {
	switch {
	case q.VolumeDiskGB > 0:
		return p.invalid(op, "there are no volumes; leave out volume_disk_gb, container_disk_gb can be had")
	case len(q.Ports) > 0:
		return p.invalid(op, "no ports can be opened beside SSH; leave out ports and use bifrost forward")
	case q.Image == templateImage:
		return p.invalid(op, "the image %q needs a template of the account, which a query cannot name", q.Image)
	}
	return nil
}

func sortedImages(images map[string]bool) []string {
	var names []string
	for name := range images {
		if name != templateImage {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// items reads the whole listing. It is not filtered on Prime's side, where an empty answer says nothing.
func (p *Provider) items(ctx context.Context) ([]item, error) {
	var all []item
	for page := 1; page <= maxPages; page++ {
		listed, total, err := p.page(ctx, page)
		for tries := 1; err == nil && len(listed) == 0 && tries < emptyTries+1 && (page == 1 || len(all) < total); tries++ {
			timer := time.NewTimer(p.breath)
			select {
			case <-ctx.Done():
				timer.Stop()
				return nil, context.Cause(ctx)
			case <-timer.C:
			}
			listed, total, err = p.page(ctx, page)
		}
		if err != nil {
			return nil, err
		}
		if len(listed) == 0 {
			break
		}
		all = append(all, listed...)
		if len(all) >= total && (total > 0 || len(listed) < pageSize) {
			break
		}
	}
	if len(all) == 0 {
		return nil, p.confirmEmpty(ctx)
	}
	return all, nil
}

// page reads one page of the listing. A line that cannot be read is no offer, and counts as one.
func (p *Provider) page(ctx context.Context, page int) (items []item, total int, err error) {
	var answer struct {
		Items []json.RawMessage `json:"items"`
		Total int               `json:"totalCount"`
	}
	err = p.api.Do(ctx, httpapi.Call{
		Op: "offers", Method: "GET", Path: "/api/v1/availability/gpus", Into: &answer, Limit: p.limit, Repeat: true,
		Query: url.Values{"page": {strconv.Itoa(page)}, "page_size": {strconv.Itoa(pageSize)}},
	})
	for _, raw := range answer.Items {
		var it item
		if json.Unmarshal(raw, &it) != nil {
			it = item{}
		}
		items = append(items, it)
	}
	return items, answer.Total, err
}

// confirmEmpty asks another listing whether nothing is for sale.
func (p *Provider) confirmEmpty(ctx context.Context) error {
	var summary map[string]map[string]struct { // by type of GPU, then by number
		Cheapest map[string]any `json:"cheapest"`
	}
	err := p.api.Do(ctx, httpapi.Call{
		Op: "offers", Method: "GET", Path: "/api/v1/availability/gpu-summary", Into: &summary, Limit: p.limit, Repeat: true,
	})
	if err != nil {
		return err
	}
	for name, counts := range summary {
		for _, one := range counts {
			if len(one.Cheapest) > 0 {
				return &gpu.Error{
					Provider: Name, Op: "offers", Kind: gpu.Transient,
					Message: fmt.Sprintf("the listing stays empty, while the summary has %s for sale; try again in a minute", name),
				}
			}
		}
	}
	return nil
}

// sold reports whether a query can mean this line at all.
func (it item) sold() bool {
	return it.CloudID != "" && it.Provider != "" && it.GPUCount > 0 && it.GPUType != "" && it.GPUType != "CPU_NODE" &&
		it.price() > 0 && it.Prices.Currency == "USD" && it.Prepaid == 0 && !strings.EqualFold(it.Stock, "Unavailable")
}

func (it item) price() float64 {
	return cmp.Or(it.Prices.Community, it.Prices.OnDemand)
}

// offer is the line with what the query wants of disk and image. ok is false where it cannot have that.
func (it item) offer(q gpu.Query) (_ gpu.Offer, ok bool) {
	disk, ok := it.Disk.atLeast(q.ContainerDiskGB)
	if !ok || it.image(q.Image) == "" {
		return gpu.Offer{}, false
	}
	total := it.price()
	if disk > 0 {
		total += (float64(disk) - it.Disk.Default) * it.Disk.PricePerUnit
	}
	total = math.Round(total*1e6) / 1e6
	name, vram := gpu.Canonical(it.GPUType, it.vram(), it.Socket)
	native, err := json.Marshal(it)
	if err != nil {
		return gpu.Offer{}, false // no such number comes out of JSON
	}
	id := []string{it.Provider, it.GPUType, it.Socket, strconv.Itoa(it.GPUCount), it.DataCenter, it.Security, it.CloudID}
	if it.Spot {
		id = append(id, "spot")
	}
	return gpu.Offer{
		Provider: Name, ID: strings.Join(id, "/"), GPUType: name, VRAMGB: vram, GPUCount: it.GPUCount,
		PricePerGPU: total / float64(it.GPUCount), PriceTotal: total, CloudType: strings.TrimSuffix(it.Security, "_cloud"), Spot: it.Spot,
		Region: cmp.Or(it.Region, it.Country, it.DataCenter), VCPU: int(it.VCPU.Default), MemoryGB: it.Memory.Default, Stock: it.Stock,
		Arch: arch(it.GPUType), Upstream: it.Provider, Native: native,
	}, true
}

var sizeAtEnd = lazyregexp.New(`_(\d+)GB$`)

// vram is the memory of one GPU in GB; 0 is unknown. The type's name says it. Where it does not, the figure
// of the listing may be that of all GPUs: it is, where it is more than any one has.
func (it item) vram() float64 {
	if m := sizeAtEnd().FindStringSubmatch(it.GPUType); m != nil {
		size, _ := strconv.ParseFloat(m[1], 64)
		return size
	}
	const most = 300 // as of November 2026
	if it.GPUMemory > most {
		return it.GPUMemory / float64(it.GPUCount)
	}
	return it.GPUMemory
}

// arch is that of the CPU: NVIDIA's own stands beside the GPUs that have it in their name.
func arch(gpuType string) string {
	if strings.HasPrefix(gpuType, "GH") || strings.HasPrefix(gpuType, "GB") {
		return "arm64"
	}
	return "amd64"
}

// image is the one that a query gets, "" where the machine does not start what it wants.
func (it item) image(want string) string {
	switch {
	case want != "" && slices.Contains(it.Images, want), want == "" && len(it.Images) == 0:
		return cmp.Or(want, defaultImage)
	case want != "":
		return ""
	case slices.Contains(it.Images, defaultImage):
		return defaultImage
	}
	for _, image := range it.Images {
		if strings.HasPrefix(image, "cuda_") { // a system for work, where the others are applications
			return image
		}
	}
	return ""
}

// atLeast is the smallest amount that can be had and is not less than want; 0 is the default one, which
// needs no word. ok is false where there is not that much.
func (a amount) atLeast(want int) (size int, ok bool) {
	if float64(want) <= a.Default {
		return 0, true
	}
	step := max(a.Step, 1)
	least := a.Min + math.Ceil(max(float64(want)-a.Min, 0)/step)*step
	return int(math.Ceil(least)), least <= a.Max
}
