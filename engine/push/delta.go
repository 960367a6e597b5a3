package push

import (
	"fmt"
	"slices"
	"strings"
)

// delta returns what makes the node's edit turn the manifest of one tree into that of another, both in order:
//
//	bifrost delta 1
//	-12             line 12 goes
//	+12 f 644 …     before line 12 comes this one
//
// It returns nil where the manifest itself is not much longer, or old is not in order.
func delta(old, tree []entry) []byte {
	if !slices.IsSortedFunc(old, byPath) {
		return nil
	}
	var b strings.Builder
	b.WriteString("bifrost delta 1\n")
	number := 2 // of the line of old[0], behind the header
	changes := 0
	for len(old) > 0 || len(tree) > 0 {
		order := 0
		switch {
		case len(old) == 0:
			order = 1
		case len(tree) == 0:
			order = -1
		default:
			order = byPath(old[0], tree[0])
		}
		if order == 0 && old[0] == tree[0] {
			old, tree, number = old[1:], tree[1:], number+1
			continue
		}
		changes++
		if order >= 0 {
			fmt.Fprintf(&b, "+%d %s\n", number, tree[0].line())
			tree = tree[1:]
		}
		if order <= 0 {
			fmt.Fprintf(&b, "-%d\n", number)
			old, number = old[1:], number+1
		}
	}
	if changes*2 > number {
		return nil
	}
	return []byte(b.String())
}
