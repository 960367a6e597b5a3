package gpu

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/bifrost-run/bifrost/internal/lazyregexp"
)

var (
	gluedModel = lazyregexp.New(`^(?i)(rtx|gtx|instinct)([a-z]*\d.*)$`)         // RTX4090, RTXA6000
	gluedKind  = lazyregexp.New(`^(?i)(\d{4})(ti|ada|super)$`)                  // 3090Ti, 6000Ada
	superKind  = lazyregexp.New(`^(?i)(\d{4})s$`)                               // 4070S
	number     = lazyregexp.New(`^\d{1,4}(\.\d+)?$`)                            // the 80 of "80 GB"
	sizeWord   = lazyregexp.New(`^(?i)(\d{1,4}(?:\.\d+)?)gi?b$`)                // 80GB
	migProfile = lazyregexp.New(`^(?i)\d+[cg]\.(?:\d+g\.)?(\d{1,4})gb(\+.*)?$`) // 1g.10gb
	sxmWord    = lazyregexp.New(`^(?i)sxm\d?(gdr)?$`)                           // SXM4, SXM5
	hbmWord    = lazyregexp.New(`^(?i)hbm\d?e?$`)                               // said of SXM modules in place of SXM
	pcieWord   = lazyregexp.New(`^(?i)(pcie|pci|fhhl)$`)
	vendorWord = lazyregexp.New(`^(?i)(nvidia|geforce|tesla|amd|instinct|generation|oam)$`)        // tell nothing
	proEdition = lazyregexp.New(`^(?i)(blackwell|server|workstation|edition|max|q|maxq|wk|ws|s)$`) // of the RTX PRO cards
	lambdaType = lazyregexp.New(`^gpu_\d+x_`)                                                      // gpu_8x_h100_sxm5
	lambdaBare = map[string]string{"gpu_1x_a100": "A100 40GB PCIe", "gpu_8x_a100": "A100 40GB SXM", "gpu_8x_v100": "V100 16GB", "gpu_8x_v100_n": "V100 16GB"}
)

// maxName bounds a name that is not known, in bytes.
const maxName = 64

// Canonical is the name that all providers' spellings of a GPU have in common, "H100 80GB SXM": model,
// memory, and form where there are several. vramGB is the provider's figure for one GPU, 0 when it gives
// none; it counts more than a figure in the name. form is its word for the socket, where that stands
// apart. vram is what the card is sold with, if the figure is within 7 % of that, else the figure; 0 when
// nothing tells. A part of a card has MIG in its name. A name that is not known is kept, cleaned.
func Canonical(native string, vramGB float64, form string) (name string, vram float64) {
	native = cmp.Or(lambdaBare[native], lambdaType().ReplaceAllString(native, ""))
	words := splitName(native)
	n := readName(words)
	if len(n.model) == 0 {
		n.model = words
	}
	if len(n.model) == 0 {
		return "", 0
	}
	if n.form == "" || n.guessed {
		n.form = cmp.Or(formOf(form), n.form)
	}
	known := vramGB > 0 && vramGB < 10_000
	if known && (!n.mig || n.vram == 0) { // what is told of a part may be the whole card's
		n.vram = vramGB
	}
	m := findModel(strings.ToLower(strings.Join(n.model, " ")), n)
	n.vram = m.snap(n.vram, n.mig)
	if !m.forms {
		n.form = ""
	} else {
		n.form = cmp.Or(n.form, m.form)
	}
	name = m.name
	if n.mig {
		name += " MIG"
	}
	if n.vram > 0 {
		name += fmt.Sprintf(" %gGB", n.vram)
	}
	return strings.TrimSpace(name + " " + n.form), n.vram
}

// MatchesType reports whether a GPU's canonical name is one that a query's Type asks for: every word of
// the type is a word of the name, in whatever order and whichever provider's spelling. So "A100" finds
// every A100, "A100 80GB" and "H100 SXM" fewer, and "H200" never finds a GH200. A word with a star at its
// end, "RTX*", is the beginning of one. A part of a card (MIG) is found only by that word. "" finds every
// name.
func MatchesType(typ, name string) bool {
	have, want := nameWords(name), nameWords(typ)
	if len(want) == 0 {
		return true
	}
	if slices.Contains(have, "mig") && !slices.ContainsFunc(want, func(w string) bool { return w == "mig" || migProfile().MatchString(w) }) {
		return false
	}
	if hasWords(have, want) {
		return true
	}
	canonical, _ := Canonical(typ, 0, "") // B300_262GB, RTX_PRO_6000B
	return canonical != "" && hasWords(have, nameWords(canonical))
}

func hasWords(have, want []string) bool {
	for _, w := range want {
		start, open := strings.CutSuffix(w, "*")
		if !slices.ContainsFunc(have, func(h string) bool { return h == w || open && strings.HasPrefix(h, start) }) {
			return false
		}
	}
	return true
}

// nameWords are the words of a name that MatchesType compares.
func nameWords(name string) []string {
	var words []string
	for _, w := range splitName(name) {
		if vendorWord().MatchString(w) {
			continue
		}
		words = append(words, strings.ToLower(cmp.Or(formOf(w), w)))
	}
	return words
}

// A gpuName is a name taken apart.
type gpuName struct {
	model   []string // the words that remain
	vram    float64  // 0 when unknown
	form    string   // "" when unknown
	guessed bool     // the form, from the kind of memory
	mig     bool
}

func readName(words []string) gpuName {
	var n gpuName
	var part float64 // of a MIG profile
	for _, w := range words {
		if m := migProfile().FindStringSubmatch(w); m != nil {
			n.mig, part = true, parseSize(m[1])
		} else if m := sizeWord().FindStringSubmatch(w); m != nil {
			n.vram = cmp.Or(n.vram, parseSize(m[1]))
		} else if strings.EqualFold(w, "mig") {
			n.mig = true
		} else if f := formOf(w); f != "" {
			if n.form == "" || n.guessed {
				n.form, n.guessed = f, hbmWord().MatchString(w)
			}
		} else if !vendorWord().MatchString(w) {
			n.model = append(n.model, spell(w))
		}
	}
	n.vram = cmp.Or(part, n.vram)
	if len(n.model) > 2 && n.model[0] == "RTX" && n.model[1] == "PRO" {
		n.model = slices.DeleteFunc(n.model, proEdition().MatchString)
	}
	return n
}

func parseSize(digits string) float64 {
	v, _ := strconv.ParseFloat(digits, 64) // the pattern has seen to it
	return v
}

// formOf is the form that a word names, "" when it names none.
func formOf(word string) string {
	switch {
	case sxmWord().MatchString(word), hbmWord().MatchString(word):
		return "SXM"
	case pcieWord().MatchString(word):
		return "PCIe"
	case strings.EqualFold(word, "nvl"):
		return "NVL"
	}
	return ""
}

// spell writes the words that makers of consumer cards use as they do.
func spell(word string) string {
	for _, w := range []string{"RTX", "GTX", "PRO", "Ti", "Ada", "SUPER"} {
		if strings.EqualFold(w, word) {
			return w
		}
	}
	return word
}

// splitName cuts a name into words, also where they are glued together. "80 GB" is one word.
func splitName(name string) []string {
	name = strings.Map(func(r rune) rune {
		switch {
		case r == unicode.ReplacementChar, strings.ContainsRune("_-/(),;:|[]{}", r), !unicode.IsGraphic(r):
			return ' '
		}
		return r
	}, name)
	var words []string
	size := 0
	for _, w := range strings.Fields(name) {
		if size += len(w) + 1; size > maxName {
			break
		}
		last := len(words) - 1
		if m := gluedModel().FindStringSubmatch(w); m != nil {
			words, w = append(words, m[1]), m[2]
		}
		if m := gluedKind().FindStringSubmatch(w); m != nil {
			words, w = append(words, m[1]), m[2]
		} else if m := superKind().FindStringSubmatch(w); m != nil {
			words, w = append(words, m[1]), "SUPER"
		}
		if last >= 0 && number().MatchString(words[last]) && (strings.EqualFold(w, "GB") || strings.EqualFold(w, "GiB")) {
			words[last] += "GB"
			continue
		}
		words = append(words, w)
	}
	return words
}

// near reports whether a figure is within 7 % of a size: drivers and providers count a part of the
// memory away, or in units of 1024.
func near(v, size float64) bool { return math.Abs(v-size) <= 0.07*size }
