package gpu

import (
	"regexp"
	"strings"
)

var (
	separators = regexp.MustCompile(`[\s_\-/]+`)
	gluedModel = regexp.MustCompile(`^(rtx|gtx)(\d)`)               // RTX4090
	gluedKind  = regexp.MustCompile(`^(\d{4})(ti|ada|super)$`)      // 3090Ti, 6000Ada
	formFactor = regexp.MustCompile(`^sxm\d$`)                      // SXM4, SXM5
	vendors    = regexp.MustCompile(`^(nvidia|geforce|tesla|amd)$`) // words that tell nothing
)

// MatchesType reports whether a GPU's name is one that a query's Type asks for: every word of the
// type is a word of the name, in whatever order. So "A100" finds every A100, "A100 80GB" and "H100
// SXM" fewer, and "H200" never finds a GH200. A word with a star at its end, "RTX*", is the beginning
// of one. "" finds every name.
func MatchesType(typ, name string) bool {
	have := nameWords(name)
	for _, word := range nameWords(typ) {
		if !hasWord(have, word) {
			return false
		}
	}
	return true
}

func hasWord(have []string, word string) bool {
	start, open := strings.CutSuffix(word, "*")
	for _, h := range have {
		if h == word || open && strings.HasPrefix(h, start) {
			return true
		}
	}
	return false
}

// nameWords are the words of a GPU's name in one spelling.
func nameWords(name string) []string {
	var words []string
	for _, word := range separators.Split(strings.ToLower(strings.TrimSpace(name)), -1) {
		word = gluedKind.ReplaceAllString(gluedModel.ReplaceAllString(word, "$1 $2"), "$1 $2")
		if formFactor.MatchString(word) {
			word = "sxm"
		}
		if word != "" && !vendors.MatchString(word) {
			words = append(words, strings.Fields(word)...)
		}
	}
	return words
}
