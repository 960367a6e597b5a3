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
	entry
	staged string // relative to the stage
}

// stageFiles gives every file that travels a place in the stage: files of one folder share one, so
// that a single mv brings all of them home, under names that sha256sum -c can read.
func stageFiles(send []entry) []stagedFile {
	var files []stagedFile
	dirs := map[string]int{}
	for _, e := range send {
		if e.typ == folder {
			continue
		}
		dir, base := path.Split(e.path)
		if odd(base) {
			files = append(files, stagedFile{e, fmt.Sprintf("o/%d", len(files))})
			continue
		}
		n, ok := dirs[dir]
		if !ok {
			n = len(dirs)
			dirs[dir] = n
		}
		files = append(files, stagedFile{e, fmt.Sprintf("d/%d/%s", n, base)})
	}
	return files
}

// applyScript returns the sh that brings the verified stage into the workspace. The node runs it in
// the workspace, in the shell of node.sh. Everything that can be known to fail is checked before
// anything is touched; after that it neither needs the client nor heeds a hangup.
func applyScript(p *plan, files []stagedFile, owner string) []byte {
	s := &script{}
	s.line("trap '' HUP INT TERM PIPE")
	s.line("S=.bifrost/stage")
	s.line(applyFunctions)

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
	for _, d := range sorted(solid) {
		s.gather("isdir", "./"+d)
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
			s.gather("nodir", "./"+f.path)
		}
	}
	for _, d := range sorted(dirs) {
		s.gather("canwrite", "./"+d)
	}
	s.flush()

	// From here on the workspace changes.
	s.line("{ mv -f $S/pending .bifrost/pending && printf '%s\\n' " + ssh.Quote(owner) + " >$S/owner && mv -f $S/owner .bifrost/owner; } 2>$S/err || broke")
	for _, q := range p.remove {
		s.gather("gone", "./"+q)
	}
	for _, d := range p.rmdirs {
		s.gather("empty", "./"+d)
	}
	for _, f := range files {
		s.gather("hollow", "./"+f.path)
	}
	for _, d := range p.mkdirs {
		s.gather("run mkdir -p", "./"+d)
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
		if strings.HasPrefix(f.staged, "o/") {
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
	for _, dir := range sorted(byDir) {
		for _, q := range byDir[dir] {
			s.gather("into "+ssh.Quote("./"+dir), stage+q)
		}
		s.flush()
	}
	for _, f := range files {
		if strings.HasPrefix(f.staged, "o/") {
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
	s.line("run mv -f $S/manifest .bifrost/manifest")
	s.line("rm -f .bifrost/pending")
	return []byte(s.b.String())
}

// applyFunctions are the words that the rest of the script is made of.
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
into() {
d=$1
shift
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
