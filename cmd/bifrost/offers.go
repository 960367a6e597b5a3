package main

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bifrost-run/bifrost/cmd/bifrost/internal/screen"
	"github.com/bifrost-run/bifrost/engine"
	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/gpu"
	"github.com/bifrost-run/bifrost/internal/lazyregexp"
)

var cudaVersion = lazyregexp.New(`^\d{1,2}\.\d{1,2}$`)

func newOffers(a *app) *cobra.Command {
	var (
		query         gpu.Query
		gpus          string
		limit         int
		all           bool
		asJSON, quiet bool
	)
	cmd := &cobra.Command{
		Use:     "offers [--gpu TYPE:COUNT] [--max-price USD] [--provider NAMES]",
		Short:   "What can be rented now, and for how much",
		GroupID: groupWatch,
		Long: `Asks all providers at once what they would rent out now, and rents nothing: those whose key is in the
environment or in .env (RUNPOD_API_KEY, VAST_API_KEY, LAMBDA_API_KEY, PRIME_API_KEY), or those of
--provider. The cheapest is first; with several names in --provider, the first of them. $/GPU is the price
of one GPU per hour, $/HOUR that of the whole machine. What a provider does not tell is "-" in the table and absent from
the JSON, and no filter refuses it. A provider that fails is told on stderr, beside the offers of the
others. Where nothing fits, what comes nearest is told, with what it lacks.

TYPE is words of a GPU's name, in any spelling: A100, "A100 80GB", H100_SXM, 4090, RTX*.

--json prints {"version": 1, "offers": [...], "missed": [...]}. Fields: id, provider, gpu_type, gpu_count,
max_count, vram_gb, price_per_gpu, price_total, cloud_type, spot, region, cuda, vcpu, memory_gb, stock,
arch, upstream, and of a near miss refused. Prices are USD per hour.

EXIT STATUS
  0 something fits; 200 nothing does`,
		Example: `  bifrost offers --gpu A100:2 --max-price 3
  bifrost offers --gpu "H100 SXM:8" --provider runpod,lambda --all
  bifrost offers --gpu 4090 --cloud-type community --json`,
		Args: takes(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case asJSON && quiet:
				return usage(cmd, "give one of them", "--json and -q were given together")
			case all && cmd.Flags().Changed("limit"):
				return usage(cmd, "give one of them", "--all and --limit were given together")
			case limit < 1:
				return usage(cmd, "write a number above 0, or --all", "--limit %d shows nothing", limit)
			}
			if all {
				limit = math.MaxInt
			}
			if err := checkQuery(cmd, &query, gpus); err != nil {
				return err
			}
			ctx, stop := a.interruptible(cmd.Context())
			defer stop()
			eng, err := a.engine()
			if err != nil {
				return err
			}
			found, err := eng.Offers(ctx, query, false)
			if err == nil && len(found.Kept) == 0 {
				found, err = eng.Offers(ctx, query, true)
			}
			if err != nil {
				return quietInterrupt(ctx, err)
			}
			if err := a.printOffers(found, limit, asJSON, quiet); err != nil {
				return err
			}
			if len(found.Kept) == 0 {
				err := engine.NoOffer(query, found.Missed)
				return &fault.Error{Kind: fault.KindOf(err), Err: err, Hint: flagWords.Replace(fault.HintOf(err))}
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&gpus, "gpu", "", "`TYPE:COUNT` of the GPUs on one machine; one where no count is said")
	flags.Float64Var(&query.MaxPrice, "max-price", 0, "at most `USD` per GPU and hour")
	flags.StringSliceVar(&query.Providers, "provider", nil, "ask these only, in order of preference (`NAMES`, comma between)")
	flags.Float64Var(&query.MinVRAM, "min-vram", 0, "at least `GB` of memory per GPU")
	flags.StringSliceVar(&query.Regions, "region", nil, "in one of these, in the provider's words (`NAMES`, comma between)")
	flags.StringVar(&query.CloudType, "cloud-type", "", "`secure` or community; both where it is not said")
	flags.BoolVar(&query.Spot, "spot", false, "machines that the provider may take back; others where it is not said")
	flags.StringVar(&query.MinCUDA, "min-cuda", "", "a driver for at least this `VERSION` of CUDA")
	flags.IntVar(&limit, "limit", 20, "show at most so many")
	flags.BoolVar(&all, "all", false, "show all")
	flags.BoolVar(&asJSON, "json", false, "as JSON")
	flags.BoolVarP(&quiet, "quiet", "q", false, "ids only")
	return cmd
}

// flagWords says in flags what a hint says in arguments of gpu_query.
var flagWords = strings.NewReplacer(
	"raise max_price to ", "--max-price ", "min_vram_gb = ", "--min-vram ", "cloud_type = ", "--cloud-type ", "min_cuda = ", "--min-cuda ",
	"spot = True", "--spot", "spot = False", "leave out --spot", "change regions", "another --region", "type = ", "--gpu ", "count = ", "--gpu TYPE:",
)

// checkQuery puts TYPE:COUNT into the query and says what is wrong with it.
func checkQuery(cmd *cobra.Command, q *gpu.Query, gpus string) error {
	q.Type, q.Count = gpus, 1
	if typ, count, ok := strings.Cut(gpus, ":"); ok {
		n, err := strconv.Atoi(strings.TrimSpace(count))
		if err != nil || n < 1 {
			return usage(cmd, "write --gpu TYPE:COUNT, as in --gpu A100:2", "--gpu %q: %q is no number of GPUs", gpus, count)
		}
		q.Type, q.Count = typ, n
	}
	q.Type = strings.TrimSpace(q.Type)
	for _, f := range []struct {
		name  string
		value float64
	}{{"max-price", q.MaxPrice}, {"min-vram", q.MinVRAM}} {
		if cmd.Flags().Changed(f.name) && !(f.value > 0 && f.value <= math.MaxFloat64) {
			return usage(cmd, "write a number above 0, or leave it out", "--%s %v asks for nothing", f.name, f.value)
		}
	}
	if q.CloudType != "" && q.CloudType != "secure" && q.CloudType != "community" {
		return usage(cmd, "secure or community; leave it out for both", "--cloud-type %q is none", q.CloudType)
	}
	if q.MinCUDA != "" && !cudaVersion().MatchString(q.MinCUDA) {
		return usage(cmd, "write a version, as in --min-cuda 12.4", "--min-cuda %q is no version", q.MinCUDA)
	}
	for _, entry := range append(slices.Clone(q.Providers), q.Regions...) {
		if strings.TrimSpace(entry) == "" {
			return usage(cmd, "write NAME,NAME", "--provider or --region has an empty name")
		}
	}
	return nil
}

func (a *app) printOffers(found engine.Offers, limit int, asJSON, quiet bool) error {
	shown := found.Kept[:min(limit, len(found.Kept))]
	out := a.screen.Stdout()
	switch {
	case asJSON:
		list := jsonOffers{Version: 1, Offers: []jsonOffer{}, Missed: []jsonOffer{}}
		for _, o := range shown {
			list.Offers = append(list.Offers, newJSONOffer(o, ""))
		}
		for _, m := range found.Missed[:min(limit, len(found.Missed))] {
			list.Missed = append(list.Missed, newJSONOffer(m.Offer, m.Refused))
		}
		if err := writeJSON(out, list); err != nil {
			return err
		}
	case quiet:
		for _, o := range shown {
			if _, err := fmt.Fprintln(out, o.Provider+":"+o.ID); err != nil {
				return err
			}
		}
	case len(shown) > 0:
		if err := offerTable(shown).Write(out); err != nil {
			return err
		}
	}
	if rest := len(found.Kept) - len(shown); rest > 0 {
		a.screen.Line(fmt.Sprintf("%d more: --all shows them", rest))
	}
	return nil
}

func offerTable(offers []gpu.Offer) *screen.Table {
	t := screen.NewTable("provider", "gpu", ">count", ">vram", ">$/gpu", ">$/hour", "cloud", "region", "cuda", "stock")
	for _, o := range offers {
		provider, cloud, vram := o.Provider, o.CloudType, ""
		if o.Upstream != "" {
			provider += " (" + o.Upstream + ")"
		}
		if o.Spot {
			cloud = strings.TrimSpace(cloud + " spot")
		}
		if o.VRAMGB > 0 {
			vram = fmt.Sprintf("%g GB", o.VRAMGB)
		}
		t.Row(provider, o.GPUType, strconv.Itoa(o.GPUCount), vram, screen.Money(o.PricePerGPU), screen.Money(o.PriceTotal), cloud, o.Region, o.CUDA, o.Stock)
	}
	return t
}

// The shapes of offers --json, version 1. Fields may be added; none changes its meaning.
type (
	jsonOffers struct {
		Version int         `json:"version"`
		Offers  []jsonOffer `json:"offers"`
		Missed  []jsonOffer `json:"missed"`
	}
	jsonOffer struct {
		ID          string  `json:"id"`
		Provider    string  `json:"provider"`
		GPUType     string  `json:"gpu_type,omitempty"`
		GPUCount    int     `json:"gpu_count"`
		MaxCount    int     `json:"max_count,omitempty"`
		VRAMGB      float64 `json:"vram_gb,omitempty"`
		PricePerGPU float64 `json:"price_per_gpu"`
		PriceTotal  float64 `json:"price_total"`
		CloudType   string  `json:"cloud_type,omitempty"`
		Spot        bool    `json:"spot"`
		Region      string  `json:"region,omitempty"`
		CUDA        string  `json:"cuda,omitempty"`
		VCPU        int     `json:"vcpu,omitempty"`
		MemoryGB    float64 `json:"memory_gb,omitempty"`
		Stock       string  `json:"stock,omitempty"`
		Arch        string  `json:"arch,omitempty"`
		Upstream    string  `json:"upstream,omitempty"`
		Refused     string  `json:"refused,omitempty"`
	}
)

func newJSONOffer(o gpu.Offer, refused string) jsonOffer {
	return jsonOffer{
		ID: o.Provider + ":" + o.ID, Provider: o.Provider, GPUType: o.GPUType, GPUCount: o.GPUCount, MaxCount: o.MaxCount, VRAMGB: o.VRAMGB,
		PricePerGPU: o.PricePerGPU, PriceTotal: o.PriceTotal, CloudType: o.CloudType, Spot: o.Spot, Region: o.Region, CUDA: o.CUDA, VCPU: o.VCPU,
		MemoryGB: o.MemoryGB, Stock: o.Stock, Arch: o.Arch, Upstream: o.Upstream, Refused: refused,
	}
}
