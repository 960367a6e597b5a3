package engine

import (
	"fmt"
	"time"

	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/gpu"
)

// Limits are what the user lets scripts spend. What a script asks for itself counts where it is lower.
type Limits struct {
	Price float64 // USD per GPU and hour; 0 means no limit
	Cost  float64 // USD for one job; 0 means no limit
}

// Within keeps those of the offers, the best first, that a machine may be rented from within the limits.
// It is for a job with that time limit, if job is set; maxCost is what the script itself lets it cost, 0
// for no limit. Where none of them may, the error is of kind budget, with the arithmetic of the first.
func (l Limits) Within(offers []gpu.Offer, job bool, timeout time.Duration, maxCost float64) ([]gpu.Offer, error) {
	var within []gpu.Offer
	var first error
	for _, o := range offers {
		if err := l.refuse(o, job, timeout, maxCost); err == nil {
			within = append(within, o)
		} else if first == nil {
			first = err
		}
	}
	if len(within) == 0 {
		return nil, first
	}
	return within, nil
}

func (l Limits) refuse(o gpu.Offer, job bool, timeout time.Duration, maxCost float64) error {
	usd := gpu.Dollars
	over := func(hint, format string, args ...any) error {
		return &fault.Error{Kind: fault.Budget, Op: "rent", Target: describeCandidate(o), Err: fmt.Errorf(format, args...), Hint: hint}
	}
	const slack = 1e-9 // products of prices are not exact
	costHint := fmt.Sprintf("give it a shorter timeout, or max_cost = %s, with which its machine ends when that is spent; or raise --max-cost, or max_cost in bifrost.toml", usd(l.Cost))
	switch {
	case l.Price > 0 && o.PricePerGPU > l.Price+slack:
		return over("raise --max-price, or max_price in bifrost.toml; or ask for a cheaper GPU",
			"$%s per GPU and hour (%d of them: $%s per hour); the limit is $%s per GPU and hour", usd(o.PricePerGPU), o.GPUCount, usd(o.PriceTotal), usd(l.Price))
	case l.Cost > 0 && maxCost > l.Cost+slack:
		return over("ask for less, or raise --max-cost, or max_cost in bifrost.toml", "max_cost is $%s; the limit is $%s for one job", usd(maxCost), usd(l.Cost))
	case l.Cost <= 0 || maxCost > 0 || !job || o.PriceTotal <= 0:
		return nil
	case timeout <= 0:
		return over(costHint, "the job has no time limit, and at $%s per hour it could cost anything; the limit is $%s for one job", usd(o.PriceTotal), usd(l.Cost))
	case timeout.Hours()*o.PriceTotal > l.Cost+slack:
		return over(costHint, "the job could cost $%.2f: %s (its timeout) at $%s per hour; the limit is $%s for one job",
			timeout.Hours()*o.PriceTotal, timeout, usd(o.PriceTotal), usd(l.Cost))
	}
	return nil
}

// lower is the lower of two limits of which 0 is none.
func lower(a, b float64) float64 {
	if a <= 0 || b > 0 && b < a {
		return b
	}
	return a
}
