// Package spell finds the name that somebody meant. It depends on nothing.
//
//	if near := spell.Nearest("coutn", []string{"count", "type"}); near != "" { … }
package spell

import (
	"strings"
	"unicode"
)

// Nearest returns the candidate that differs least from name, or "" when none is near: at most one
// edit in three letters (one in two), letter case and underscores not counted. A swap of neighbours is one edit.
// Of several equally near ones the first is returned.
func Nearest(name string, candidates []string) string {
	folded := fold(name)
	best, bestDistance := "", (len(folded)+1)/3+1
	for _, c := range candidates {
		if d := distance(folded, fold(c), bestDistance); d < bestDistance {
			best, bestDistance = c, d
		}
	}
	return best
}

func fold(s string) []rune {
	return []rune(strings.Map(func(r rune) rune {
		if r == '_' || r == '-' {
			return -1
		}
		return unicode.ToLower(r)
	}, s))
}

// distance is the number of insertions, deletions, replacements and swaps of neighbours that make b
// of a, or limit when it is that or more.
func distance(a, b []rune, limit int) int {
	if d := len(a) - len(b); d >= limit || -d >= limit {
		return limit
	}
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range a {
		row[0] = i + 1
		for j := range b {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(last[j]+cost, last[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last, row = last, row, before
	}
	return min(last[len(b)], limit)
}
