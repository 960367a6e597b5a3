package gpu

import (
	"math"
	"slices"
	"strings"

	"github.com/bifrost-run/bifrost/internal/lazyregexp"
)

// A model is a GPU whose name or memory some provider spells in its own way. As of November 2026.
type model struct {
	name  string
	also  []string  // other names, lower case
	only  string    // the form that this entry is about; "" is every one
	vram  float64   // GB that it has, where no figure is told; 0 when it comes with several
	sizes []float64 // GB that it comes with
	told  []float64 // figures that stand for vram
	forms bool      // comes in several that are told apart
	form  string    // where none is told
}

var models = []model{
	{name: "A100", sizes: []float64{40, 80}, forms: true},
	{name: "H100", only: "NVL", vram: 94, forms: true},
	{name: "H100", vram: 80, sizes: []float64{94}, forms: true},
	{name: "H200", vram: 141, forms: true, form: "SXM"},
	{name: "B200", vram: 180, forms: true, form: "SXM"},
	{name: "B300", also: []string{"b300 ac"}, vram: 288, told: []float64{262, 270}, forms: true, form: "SXM"},
	{name: "GH200", vram: 96, told: []float64{480, 624}}, // with the CPU's memory
	{name: "GB200", vram: 186},
	{name: "GB300", vram: 288},
	{name: "MI300X", vram: 192},
	{name: "L4", vram: 24},
	{name: "L40", vram: 48},
	{name: "L40S", vram: 48},
	{name: "A2", vram: 16},
	{name: "A10", vram: 24},
	{name: "A16", vram: 16},
	{name: "A30", vram: 24},
	{name: "A40", vram: 48},
	{name: "T4", vram: 16},
	{name: "V100", sizes: []float64{16, 32}},
	{name: "P100", sizes: []float64{12, 16}},
	{name: "P40", vram: 24},
	{name: "P4", vram: 8},
	{name: "RTX A2000", also: []string{"a2000"}, sizes: []float64{6, 12}},
	{name: "RTX A4000", also: []string{"a4000"}, vram: 16},
	{name: "RTX A4500", also: []string{"a4500"}, vram: 20},
	{name: "RTX A5000", also: []string{"a5000"}, vram: 24},
	{name: "RTX A6000", also: []string{"a6000"}, vram: 48},
	{name: "RTX PRO 6000", also: []string{"rtx pro 6000b"}, vram: 96},
	{name: "RTX 2000 Ada", vram: 16},
	{name: "RTX 4000 Ada", vram: 20},
	{name: "RTX 4500 Ada", vram: 24},
	{name: "RTX 5000 Ada", vram: 32},
	{name: "RTX 6000 Ada", vram: 48},
	{name: "RTX 3070", vram: 8},
	{name: "RTX 3080 Ti", vram: 12},
	{name: "RTX 3090", vram: 24},
	{name: "RTX 3090 Ti", vram: 24},
	{name: "RTX 4070 Ti", vram: 12},
	{name: "RTX 4080", vram: 16},
	{name: "RTX 4080 SUPER", vram: 16},
	{name: "RTX 4090", vram: 24},
	{name: "RTX 5080", vram: 16},
	{name: "RTX 5090", vram: 32},
	{name: "Quadro RTX 4000", also: []string{"q rtx 4000", "rtx 4000"}, vram: 8},
	{name: "Quadro RTX 5000", also: []string{"q rtx 5000", "rtx 5000"}, vram: 16},
	{name: "Quadro RTX 6000", also: []string{"q rtx 6000", "rtx 6000"}, vram: 24},
	{name: "Quadro RTX 8000", also: []string{"q rtx 8000", "rtx 8000"}, vram: 48},
}

// sold are the sizes of memory, in GB, that cards come with.
var sold = []float64{6, 8, 10, 12, 16, 20, 24, 32, 40, 48, 80, 94, 96, 141, 180, 192, 270, 288}

var consumer = lazyregexp.New(`^(rtx|gtx|rx|quadro|titan)\b`)

// findModel finds the model of a name. One that is not known has the name that it was given, and its form
// unless the cards of its kind have none.
func findModel(key string, n gpuName) model {
	for _, m := range models {
		if m.only != "" && m.only != n.form || key != strings.ToLower(m.name) && !slices.Contains(m.also, key) {
			continue
		}
		if key == strings.ToLower(m.name) || n.vram == 0 || near(n.vram, m.vram) {
			return m
		}
	}
	return model{name: strings.Join(n.model, " "), forms: !consumer().MatchString(key)}
}

// snap is the size that a figure stands for.
func (m model) snap(vram float64, part bool) float64 {
	switch {
	case part:
		return vram
	case vram == 0:
		return m.vram
	}
	if v, ok := nearest(vram, append([]float64{m.vram}, m.sizes...)); ok {
		return v
	}
	if slices.ContainsFunc(m.told, func(told float64) bool { return math.Abs(vram-told) < 3 }) {
		return m.vram
	}
	if v, ok := nearest(vram, sold); ok {
		return v
	}
	return max(math.Round(vram), 1)
}

func nearest(v float64, sizes []float64) (size float64, ok bool) {
	for _, s := range sizes {
		if s > 0 && near(v, s) && (!ok || math.Abs(v-s) < math.Abs(v-size)) {
			size, ok = s, true
		}
	}
	return size, ok
}
