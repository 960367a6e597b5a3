package vast

import (
	"slices"
	"strings"

	"github.com/bifrost-run/bifrost/gpu"
)

// A card is a GPU as Vast spells it.
type card struct {
	name string
	gb   []float64 // of memory, the sizes that it is sold with
}

// cards are the names for which a search can be narrowed at Vast. A search by a type that finds none here
// is narrowed by memory: RTX PRO 6000, B300 and GH200 cards, whose names no source tells for certain.
var cards = []card{
	{"A10", []float64{24}},
	{"A100 PCIE", []float64{40, 80}},
	{"A100 SXM4", []float64{40, 80}},
	{"A40", []float64{48}},
	{"B200", []float64{180}},
	{"H100 NVL", []float64{94}},
	{"H100 PCIE", []float64{80}},
	{"H100 SXM", []float64{80}},
	{"H200", []float64{141}},
	{"H200 NVL", []float64{141}},
	{"L4", []float64{24}},
	{"L40", []float64{48}},
	{"L40S", []float64{48}},
	{"Q RTX 6000", []float64{24}},
	{"Q RTX 8000", []float64{48}},
	{"RTX 3060", []float64{12}},
	{"RTX 3070", []float64{8}},
	{"RTX 3080", []float64{10, 12}},
	{"RTX 3080 Ti", []float64{12}},
	{"RTX 3090", []float64{24}},
	{"RTX 3090 Ti", []float64{24}},
	{"RTX 4000Ada", []float64{20}},
	{"RTX 4060 Ti", []float64{8, 16}},
	{"RTX 4070", []float64{12}},
	{"RTX 4070 Ti", []float64{12}},
	{"RTX 4070S", []float64{12}},
	{"RTX 4070S Ti", []float64{16}},
	{"RTX 4080", []float64{16}},
	{"RTX 4080S", []float64{16}},
	{"RTX 4090", []float64{24}},
	{"RTX 5000Ada", []float64{32}},
	{"RTX 5060 Ti", []float64{8, 16}},
	{"RTX 5070", []float64{12}},
	{"RTX 5070 Ti", []float64{16}},
	{"RTX 5080", []float64{16}},
	{"RTX 5090", []float64{32}},
	{"RTX 6000Ada", []float64{48}},
	{"RTX A2000", []float64{6, 12}},
	{"RTX A4000", []float64{16}},
	{"RTX A4500", []float64{20}},
	{"RTX A5000", []float64{24}},
	{"RTX A6000", []float64{48}},
	{"Tesla P100", []float64{16}},
	{"Tesla T4", []float64{16}},
	{"Tesla V100", []float64{16, 32}},
}

// namesOf are Vast's names for what a query's type asks for; none means that a search cannot be narrowed by
// name. A type with a star finds more than any list knows.
func namesOf(typ string) []string {
	if typ == "" || strings.Contains(typ, "*") {
		return nil
	}
	var names []string
	for _, c := range cards {
		if slices.ContainsFunc(c.gb, func(gb float64) bool {
			name, _ := gpu.Canonical(c.name, gb, "")
			return gpu.MatchesType(typ, name)
		}) {
			names = append(names, c.name)
		}
	}
	return names
}

// isPart reports whether an offer's GPU has less memory than the card of its name can have: a part of one
// (MIG), under the name of the whole.
func isPart(name string, gb float64) bool {
	for _, c := range cards {
		if c.name == name {
			return gb > 0 && gb < 0.75*slices.Min(c.gb)
		}
	}
	return false
}
