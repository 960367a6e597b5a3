package push

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/bifrost-run/bifrost/engine/ssh"
)

// batchBytes bounds the argument list of one command; every system takes 128 KiB.
const batchBytes = 60_000

// stage is where the node unpacks what arrives.
const stage = "./.bifrost/stage/"

// A stagedFile is a file of the plan with its place in the stage.
type stagedFile struct {
	*entry
	staged string // relative to the stage
}

// stageFiles gives every file that travels a place in the stage: the one that it has in the tree, where
// sha256sum -c can read the name.
func stageFiles(send []*entry) []stagedFile {
	var files []stagedFile
	for _, e := range send {
		switch {
		case e.typ == folder:
		case odd(e.path):
			files = append(files, stagedFile{e, fmt.Sprintf("o/%d", len(files))})
		default:
			files = append(files, stagedFile{e, "t/" + e.path})
		}
	}
	return files
}

// applyScript returns the sh that brings the verified stage into the workspace. The node runs it in
// the workspace, in the shell of node.sh. Everything that can be known to fail is checked before
// anything is touched; after that it neither needs the client nor heeds a hangup.
func applyScript(p *plan, files []stagedFile, node *remoteState, owner string) []byte {
	s := &script{}
	s.line("trap '' HUP INT TERM PIPE")
	s.line(applyFunctions)
	s.line("met=")

	// Checks. A folder that has become a link on the node would lead what follows elsewhere.
	dirs := map[string]bool{".": true}
	solid := map[string]bool{}
	for _, d := range p.mkdirs {
		solid[d], dirs[path.Dir(d)] = true, true
	}
	for _, q := range p.remove {
		parents(q, solid)
		dirs[path.Dir(q)] = true
	}
	for _, q := range p.remove {
		delete(solid, q)
	}
	for _, f := range files {
		dirs[path.Dir(f.path)] = true
	}
	for _, d := range p.fresh {
		s.gather("absent", "./"+d)
	}
	s.flush()
	within := p.within()
	beneath := &script{} // what there is to check where fresh folders have come into being
	in := func(d string) *script {
		if within[d] {
			return beneath
		}
		return s
	}
	for _, d := range sorted(solid) {
		in(d).gather("isdir", "./"+d)
	}
	for _, f := range files {
		if within, ok := p.folders[f.path]; ok {
			s.flush()
			for _, q := range within {
				s.words = append(s.words, ssh.Quote("./"+q))
			}
			s.verb = "isours " + ssh.Quote("./"+f.path)
			s.flush()
		} else {
			in(path.Dir(f.path)).gather("nodir", "./"+f.path)
		}
	}
	for _, d := range sorted(dirs) {
		in(d).gather("canwrite", "./"+d)
	}
	s.flush()
	s.met(beneath)

	// From here on the workspace changes.
	pending := "manifest"
	if p.pending != nil {
		pending = "pending"
	}
	s.line("run mv -f $S/" + pending + " $P")
	if node.owner != owner {
		s.line("{ printf '%s\\n' " + ssh.Quote(owner) + " >$S/owner && mv -f $S/owner $B/owner; } 2>$S/err || broke")
	}
	for _, q := range p.remove {
		s.gather("gone", "./"+q)
	}
	for _, d := range p.rmdirs {
		s.gather("empty", "./"+d)
	}
	for _, f := range files {
		in(path.Dir(f.path)).gather("hollow", "./"+f.path)
	}
	s.flush()
	s.met(beneath)
	for _, d := range p.mkdirs {
		if !within[d] {
			s.gather("make", "./"+d)
		}
	}
	links := map[string]bool{}
	for _, f := range files {
		if f.typ == link {
			links[stage+path.Dir(f.staged)] = true
		}
	}
	for _, d := range sorted(links) {
		s.gather("run mkdir -p", d)
	}
	s.flush()
	for _, f := range files {
		if f.typ == link {
			s.line("run ln -s -- " + ssh.Quote(f.target) + " " + ssh.Quote(stage+f.staged))
		}
	}
	byMode := map[string][]string{}
	for _, f := range files {
		if f.typ == file && f.mode&0o400 == 0 {
			m := fmt.Sprintf("%o", f.mode)
			byMode[m] = append(byMode[m], stage+f.staged)
		}
	}
	byDir := map[string][]string{}
	for _, f := range files {
		if odd(f.path) {
			continue
		}
		dir := path.Dir(f.path)
		byDir[dir] = append(byDir[dir], f.staged)
	}
	for _, m := range sorted(byMode) {
		for _, q := range byMode[m] {
			s.gather("run chmod "+m, q)
		}
		s.flush()
	}
	for _, d := range p.fresh {
		s.gather("grow "+ssh.Quote("./"+path.Dir(d)), "./"+d)
	}
	s.flush()
	for _, d := range p.mkdirs {
		if within[d] {
			s.gather("make", "./"+d)
		}
	}
	s.flush()
	for _, dir := range sorted(byDir) {
		into := "into " + ssh.Quote("./"+dir)
		for _, q := range byDir[dir] {
			in(dir).gather(into, stage+q)
		}
		in(dir).flush()
	}
	s.met(beneath)
	for _, f := range files {
		if odd(f.path) {
			s.line("one " + ssh.Quote(f.staged) + " " + ssh.Quote("./"+f.path))
		}
	}
	byMode = map[string][]string{}
	for _, e := range p.chmod {
		m := fmt.Sprintf("%o", e.mode)
		byMode[m] = append(byMode[m], e.path)
	}
	for _, m := range sorted(byMode) {
		for _, q := range byMode[m] {
			s.gather("run chmod "+m, "./"+q)
		}
		s.flush()
	}
	if p.pending != nil {
		s.line("run mv -f $S/manifest $M")
		s.line("rm -f $P")
	} else {
		s.line("run mv -f $P $M")
	}
	return []byte(s.b.String())
}

// applyFunctions are the words that the rest of the script is made of. grow moves folders that are not there
// yet as wholes, so that a first push is not a command for each folder, and into leaves those alone. met is set
// once a folder is there that was not to be.
const applyFunctions = `broke() { die apply "$(cat $S/err 2>/dev/null)"; }
run() { "$@" 2>$S/err || broke; }
isdir() {
for f do
if [ -L "$f" ] || { [ -e "$f" ] && [ ! -d "$f" ]; }; then die collide "$f"; fi
done
}
nodir() {
for f do
[ ! -d "$f" ] || [ -L "$f" ] || [ -z "$(find "$f" ! -type d -exec echo x \; 2>&1)" ] || die collide "$f"
done
}
absent() {
for f do
if [ -e "$f" ] || [ -L "$f" ]; then met=y; fi
done
}
isours() {
d=$1
shift
[ -d "$d" ] && [ ! -L "$d" ] || return 0
n=0
for f do
if [ -L "$f" ] || { [ -e "$f" ] && [ ! -d "$f" ]; }; then n=$((n+1)); fi
done
[ $(find "$d" ! -type d -exec echo x \; 2>&1 | wc -l) = $n ] || die collide "$d"
}
canwrite() {
for f do
[ ! -d "$f" ] || [ -w "$f" ] || die readonly "$f"
done
}
gone() {
rm -f "$@" 2>$S/err && return
for f do
[ -d "$f" ] && [ ! -L "$f" ] || rm -f "$f" 2>$S/err || broke
done
}
empty() { rmdir "$@" 2>/dev/null; }
hollow() {
for f do
if [ -d "$f" ] && [ ! -L "$f" ]; then run find "$f" -depth -type d -exec rmdir {} \;; fi
done
}
make() {
for f do
[ -d "$f" ] || { run mkdir -p "$@"; return; }
done
}
grow() {
d=$1
shift
for f do
shift
[ -d "$S/t/$f" ] || continue
if [ -e "$f" ] || [ -L "$f" ]; then met=y; else set -- "$@" "$S/t/$f"; fi
done
[ $# = 0 ] || run mv -f "$@" "$d/"
}
into() {
d=$1
shift
[ -d "$S/t/$d" ] || return 0
run mv -f "$@" "$d/"
}
one() {
[ ! -L "$2" ] || run rm -f "$2"
run mv -f "$S/$1" "$2"
}`

// A script is sh text in the making.
type script struct {
	b     strings.Builder
	verb  string // of the command being gathered
	words []string
	bytes int
}

// met adds what is only needed where a fresh folder was met, and empties it.
func (s *script) met(only *script) {
	only.flush()
	if only.b.Len() > 0 {
		s.line("[ -z \"$met\" ] || {\n" + only.b.String() + "}")
	}
	only.b.Reset()
}

func (s *script) line(l string) { s.b.WriteString(l + "\n") }

// gather adds a path to the command verb, which is written when it is full, or by flush.
func (s *script) gather(verb, p string) {
	if verb != s.verb || s.bytes > batchBytes {
		s.flush()
		s.verb = verb
	}
	q := ssh.Quote(p)
	s.words = append(s.words, q)
	s.bytes += len(q) + 1
}

func (s *script) flush() {
	if len(s.words) > 0 {
		s.line(s.verb + " " + strings.Join(s.words, " "))
	}
	s.verb, s.words, s.bytes = "", nil, 0
}

func sorted[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
