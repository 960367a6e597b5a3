package push

import (
	"path"
	"slices"
	"strings"
)

// A plan is what makes the workspace hold the tree, as far as the node has said what it holds.
type plan struct {
	send    []*entry            // of the tree: files whose content travels, links and empty folders that are made
	chmod   []entry             // files that only have another mode
	remove  []string            // placed by an earlier push, not in the tree; sorted
	rmdirs  []string            // folders that may have become empty, deepest first
	mkdirs  []string            // folders that what is sent needs, parents first
	fresh   []string            // of them, those beneath which nothing was placed, but not what is beneath them
	placed  map[string]bool     // every path that an earlier push has or may have placed
	delta   []byte              // what makes the node's manifest that of the tree; nil where that is sent whole
	pending []byte              // the manifest of what may be placed once applying has begun; nil where it is that of the tree
	folders map[string][]string // path to be placed that was a folder: what of it is removed
}

// makePlan compares the tree with what the node said. Where that is nothing, files may be unread.
func makePlan(tree []entry, node *remoteState) *plan {
	p := &plan{placed: map[string]bool{}, folders: map[string][]string{}}
	recorded := map[string]entry{}
	for _, e := range node.entries {
		recorded[e.path] = e
		p.placed[e.path] = true
	}
	for _, e := range node.pending {
		p.placed[e.path] = true
	}
	inTree := map[string]bool{}
	needed := map[string]bool{}
	for i := range tree {
		e := &tree[i]
		inTree[e.path] = true
		parents(e.path, needed)
		if e.typ == folder {
			needed[e.path] = true
		}
		old, known := recorded[e.path]
		switch {
		case !known || !old.same(*e) || node.bad[e.path]:
			p.send = append(p.send, e)
		case e.typ == file && (old.mode != e.mode || node.modes[e.path]):
			p.chmod = append(p.chmod, *e)
		}
	}
	above := map[string]bool{}
	for q := range p.placed {
		parents(q, above)
		gone := !inTree[q]
		if needed[q] { // a folder now; a file or link in its place has to go
			gone = recorded[q].typ != folder
		}
		if gone {
			p.remove = append(p.remove, q)
		}
	}
	slices.Sort(p.remove)
	for _, q := range p.remove {
		above[q] = true // an empty folder that was placed
	}
	for q := range above {
		if !needed[q] {
			p.rmdirs = append(p.rmdirs, q)
		}
	}
	slices.SortFunc(p.rmdirs, func(a, b string) int { return strings.Compare(b, a) })

	make := map[string]bool{}
	for _, e := range p.send {
		parents(e.path, make)
		if e.typ == folder {
			make[e.path] = true
		} else if above[e.path] {
			for _, q := range p.remove {
				if strings.HasPrefix(q, e.path+"/") {
					p.folders[e.path] = append(p.folders[e.path], q)
				}
			}
		}
	}
	for q := range make {
		p.mkdirs = append(p.mkdirs, q)
	}
	slices.Sort(p.mkdirs)
	for _, d := range p.mkdirs {
		if up := path.Dir(d); !above[d] && !p.placed[d] && (up == "." || above[up]) {
			p.fresh = append(p.fresh, d)
		}
	}

	pending := slices.Clone(tree)
	for _, e := range node.pending {
		if !inTree[e.path] {
			pending = append(pending, e)
		}
	}
	if len(pending) > len(tree) {
		p.pending = encodeManifest(pending)
	}
	if node.manifestID != "" && !node.recordLost {
		p.delta = delta(node.entries, tree)
	}
	return p
}

// words is about how many bytes it takes to say on the node what is to be done there.
func (p *plan) words() int64 {
	const path = 100 // it is named three times or so
	return int64(len(p.delta) + path*(len(p.send)+len(p.remove)))
}

// within returns the fresh folders and those of mkdirs that are beneath them.
func (p *plan) within() map[string]bool {
	within := map[string]bool{}
	for _, d := range p.fresh {
		within[d] = true
	}
	for _, d := range p.mkdirs {
		if within[path.Dir(d)] {
			within[d] = true
		}
	}
	return within
}

// parents adds the folders above p to set.
func parents(p string, set map[string]bool) {
	for {
		p = path.Dir(p)
		if p == "." || set[p] {
			return
		}
		set[p] = true
	}
}
