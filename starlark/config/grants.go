package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/bifrost-run/bifrost/starlark/policy"
)

// Grants are the lists of [allow], [deny] and [modules.NAME.allow]. No list and an empty one differ for
// ssh and rent, which a script may do unless a list says with whom.
type Grants struct {
	Read  []string `toml:"read"`  // files and folders; relative ones start at the file's folder
	Write []string `toml:"write"` // the same
	Env   []string `toml:"env"`   // variables, WANDB_* for all that begin so
	SSH   []string `toml:"ssh"`   // hosts
	Rent  []string `toml:"rent"`  // providers
	Run   []string `toml:"run"`   // programs
}

func (g *Grants) list(c policy.Capability) *[]string {
	return map[policy.Capability]*[]string{
		policy.ReadFile: &g.Read, policy.WriteFile: &g.Write, policy.Env: &g.Env, policy.SSH: &g.SSH, policy.Rent: &g.Rent, policy.Run: &g.Run,
	}[c]
}

// List returns the lists for a policy. The file's folder is dir; home is that of ~/.
func (g Grants) List(dir, home string) policy.List {
	list := policy.List{}
	for _, c := range policy.Capabilities() {
		patterns := slices.Clone(*g.list(c))
		if c == policy.ReadFile || c == policy.WriteFile {
			for i, p := range patterns {
				patterns[i] = policy.AbsolutePath(p, dir, home)
			}
		}
		if patterns != nil {
			list[c] = patterns
		}
	}
	return list
}

// Rules returns what the file says about permissions, as Grants.List does.
func (c Config) Rules(dir, home string) policy.Rules {
	rules := policy.Rules{Allow: c.Allow.List(dir, home), Deny: c.Deny.List(dir, home), Modules: map[string]policy.List{}}
	for name, m := range c.Modules {
		rules.Modules[name] = m.Allow.List(dir, home)
	}
	return rules
}

// check finds the patterns that mean nothing.
func (g Grants) check(text string, table ...string) []error {
	var all []error
	for _, c := range policy.Capabilities() {
		for _, pattern := range *g.list(c) {
			if err := policy.CheckPattern(c, pattern); err != nil && !(table[0] == "deny" && policy.IsProviderKey(pattern)) {
				key := append(slices.Clone(table), c.Key())
				all = append(all, &Error{Line: lineOf(text, key), Message: fmt.Sprintf("%s: %q: %v", strings.Join(key, "."), pattern, err)})
			}
		}
	}
	return all
}

// Grant adds a pattern to what the file in the folder dir allows to scripts, or to a module when its
// name is not "", and returns the file's path. The rest of the file stays as it is; without a file it is made.
func Grant(dir, module string, c policy.Capability, pattern string) (path string, err error) {
	path = filepath.Join(dir, File)
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	mode := fs.FileMode(0o644)
	data, err := os.ReadFile(path)
	if err == nil {
		var info fs.FileInfo
		if info, err = os.Stat(path); err == nil {
			mode = info.Mode().Perm()
		}
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("read %s: %w", path, err)
	}
	text, err := AddGrant(string(data), module, c, pattern)
	if err != nil {
		return "", err
	}
	return path, replaceFile(path, []byte(text), mode)
}

// replaceFile writes a file anew, at once: whoever reads it finds the old or the new one.
func replaceFile(path string, data []byte, mode fs.FileMode) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+File+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name()) // the error says what matters
		}
	}()
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(mode), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// AddGrant is Grant for the text of a file. One that lists the same in another form, which only its
// author can change, is an error that tells what to write.
func AddGrant(text, module string, c policy.Capability, pattern string) (string, error) {
	want, err := Parse(text)
	if err != nil {
		return "", err
	}
	table := []string{"allow"}
	if module != "" {
		table = []string{"modules", module, "allow"}
		m := want.Modules[module]
		m.Allow.add(c, pattern)
		if want.Modules == nil {
			want.Modules = map[string]Module{}
		}
		want.Modules[module] = m
	} else {
		want.Allow.add(c, pattern)
	}
	result := addToList(text, table, c.Key(), pattern)
	if got, err := Parse(result); err != nil || !reflect.DeepEqual(got, want) {
		return "", &Error{
			Line: lineOf(text, table), Message: strings.Join(table, ".") + " is written in a form that only you can change",
			Hint: fmt.Sprintf("add %s to the list %s there", quote(pattern), c.Key()),
		}
	}
	return result, nil
}

func (g *Grants) add(c policy.Capability, pattern string) {
	list := g.list(c)
	*list = append(slices.Clip(*list), pattern)
}

// addToList adds a string to the list of a table, and the list or the table where there is none.
func addToList(text string, table []string, key, value string) string {
	eol := "\n"
	if strings.Contains(text, "\r\n") {
		eol = "\r\n"
	}
	all := items(text)
	whole := append(slices.Clone(table), key)
	if i := slices.IndexFunc(all, func(it item) bool { return !it.header && slices.Equal(it.key, whole) }); i >= 0 {
		return growList(text, all[i].line, quote(value))
	}
	assignment := key + " = [" + quote(value) + "]"
	if i := slices.IndexFunc(all, func(it item) bool { return it.header && slices.Equal(it.key, table) }); i >= 0 {
		lines := strings.Split(text, "\n")
		at := all[i].line + 1
		if at == len(lines) { // the header is the last line and has no end
			lines[at-1] += strings.TrimSuffix(eol, "\n")
			lines = append(lines, "")
		}
		return strings.Join(slices.Insert(lines, at, assignment+strings.TrimSuffix(eol, "\n")), "\n")
	}
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += eol
	}
	if text != "" {
		text += eol
	}
	return text + "[" + strings.Join(table, ".") + "]" + eol + assignment + eol
}

// growList adds a value to the array that begins in this line: behind the last one, on a line of its
// own where that one has.
func growList(text string, line int, value string) string {
	start := 0
	for range line {
		start += strings.IndexByte(text[start:], '\n') + 1
	}
	last, closing, comma := -1, -1, false
	for i, quote := start+strings.IndexByte(text[start:], '=')+1, byte(0); i < len(text) && closing < 0; i++ {
		switch b := text[i]; {
		case quote != 0:
			if b == '\\' && quote == '"' {
				i++
			} else if b == quote {
				quote, last, comma = 0, i+1, false
			}
		case b == '"' || b == '\'':
			quote = b
		case b == '#':
			i += strings.IndexByte(text[i:], '\n')
		case b == ',':
			last, comma = i+1, true
		case b == '[':
			last = i + 1
			comma = true // nothing is needed in front of the first
		case b == ']':
			closing = i
		}
	}
	if closing < 0 {
		return text // the caller sees that nothing was added
	}
	between := text[last:closing]
	lead := ""
	if !comma {
		lead = ","
	}
	if !strings.Contains(between, "\n") {
		if text[last-1] != '[' {
			lead += " "
		}
		return text[:last] + lead + value + text[last:]
	}
	// The last element's line, with its comment, stays whole; the new one is indented as it is.
	begin := strings.LastIndexByte(text[:last], '\n') + 1
	indent := text[begin : begin+len(text[begin:])-len(strings.TrimLeft(text[begin:], " \t"))]
	if text[last-1] == '[' {
		indent += "    "
	}
	end := last + strings.IndexByte(between, '\n')
	eol := "\n"
	if text[end-1] == '\r' {
		end, eol = end-1, "\r\n"
	}
	return text[:last] + lead + text[last:end] + eol + indent + value + "," + text[end:]
}
