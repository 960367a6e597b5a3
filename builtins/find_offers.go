package builtins

import (
	star "go.starlark.net/starlark"

	"github.com/bifrost-run/bifrost/starlark/policy"
)

func findOffersEntry() *Entry {
	return &Entry{
		Name: "find_offers", Result: "list of offer", Effect: true, Capabilities: []policy.Capability{policy.Rent},
		Doc: "Asks the providers of a query what they would rent out now, and rents nothing. The list has what fits, best first, and is empty where nothing does; " +
			"with explain the near misses follow, the nearest first, each with the reason in `refused`. A provider that does not answer is a warning.",
		Params: []Param{
			{Name: "query", Kind: objectKind("gpu_query", "gpu_query(...)"), Doc: "what is wanted"},
			{Name: "explain", Kind: boolKind(), Default: star.False, Doc: "list near misses too"},
		},
		Example: `for offer in find_offers(gpu_query(type = "A100", count = 2, max_price = 1.5), explain = True):
    if offer.refused == None:
        print("fits:", offer.gpu_type)
    elif offer.gpu_count == 2:
        print(offer.provider, offer.refused)  # runpod max_price: $2.00 per GPU and hour, at most $1.50 was asked for`,
		needs: func(c *Call) []policy.Request { return targets(arg[*object](c, "query"), "", "") },
		run: func(c *Call) (star.Value, error) {
			found, err := c.lib.engine.Offers(c.context(), *c.query(arg[*object](c, "query")), arg[bool](c, "explain"))
			if err != nil {
				return nil, err
			}
			var items []star.Value
			for _, o := range found.Kept {
				items = append(items, c.lib.offer(o, ""))
			}
			for _, m := range found.Missed {
				items = append(items, c.lib.offer(m.Offer, m.Refused))
			}
			return star.NewList(items), nil
		},
	}
}
