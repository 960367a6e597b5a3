package config

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/bifrost-run/bifrost/internal/lazyregexp"
)

// An item is a line of the file that starts a table or gives a key its value.
type item struct {
	line   int      // from 0
	key    []string // whole, with that of the table
	header bool
}

// items finds where what the file says stands in it, for places in messages and for changes that keep
// the rest as it was. The TOML library knows no places.
func items(text string) []item {
	var all []item
	var table []string
	open := 0    // brackets of a value that goes on
	quotes := "" // that end the string of several lines that goes on
	for number, line := range strings.Split(text, "\n") {
		rest := strings.TrimSpace(line)
		if quotes == "" && open == 0 {
			switch header := strings.TrimLeft(rest, "["); {
			case rest == "" || rest[0] == '#':
				continue
			case header != rest:
				table, _ = parseKey(header)
				all = append(all, item{number, table, true})
				continue
			default:
				var key []string
				key, rest = parseKey(rest)
				all = append(all, item{number, slices.Concat(table, key), false})
			}
		}
		open, quotes = scanValue(rest, open, quotes)
	}
	return all
}

var keyPart = lazyregexp.New(`^\s*(?:"((?:[^"\\]|\\.)*)"|'([^']*)'|([A-Za-z0-9_-]+))\s*`)

// parseKey takes a dotted key from the front of text.
func parseKey(text string) (key []string, rest string) {
	for {
		m := keyPart().FindStringSubmatch(text)
		if m == nil {
			return key, text
		}
		part := m[2] + m[3]
		if m[1] != "" {
			part = m[1]
			if plain, err := strconv.Unquote(`"` + m[1] + `"`); err == nil {
				part = plain
			}
		}
		key, text = append(key, part), text[len(m[0]):]
		if !strings.HasPrefix(text, ".") {
			return key, text
		}
		text = text[1:]
	}
}

// scanValue follows brackets and strings through one line of a value.
func scanValue(text string, open int, quotes string) (int, string) {
	for i := 0; i < len(text); i++ {
		rest := text[i:]
		switch {
		case quotes != "" && strings.HasPrefix(rest, quotes):
			i += len(quotes) - 1
			quotes = ""
		case quotes != "":
			if rest[0] == '\\' && quotes[0] == '"' {
				i++
			}
		case rest[0] == '#':
			return open, quotes
		case strings.HasPrefix(rest, `"""`), strings.HasPrefix(rest, `'''`):
			quotes = rest[:3]
			i += 2
		case rest[0] == '"', rest[0] == '\'':
			quotes = rest[:1]
		case rest[0] == '[', rest[0] == '{':
			open++
		case rest[0] == ']', rest[0] == '}':
			open--
		}
	}
	if len(quotes) == 1 { // a string of one line
		quotes = ""
	}
	return open, quotes
}

// lineOf returns the line, from 1, that says most about the key: its own, or that of the table which it
// stands in; 0 when there is none.
func lineOf(text string, key []string) int {
	line, longest := 0, 0
	for _, it := range items(text) {
		same := 0
		for same < min(len(key), len(it.key)) && key[same] == it.key[same] {
			same++
		}
		if same > longest {
			line, longest = it.line+1, same
		}
	}
	return line
}

var assignment = map[string]lazyregexp.Regexp{
	"git": lazyregexp.New(`^(\s*["']?git["']?\s*=\s*)("(?:[^"\\]|\\.)*"|'[^']*')(.*)$`),
	"ref": lazyregexp.New(`^(\s*["']?ref["']?\s*=\s*)("(?:[^"\\]|\\.)*"|'[^']*')(.*)$`),
}

// SetModule returns the text of the file with the table [modules.NAME] that says m. All other lines stay
// as they are, comments and further keys of the table too. A file that says the same in another form, one
// that only its author can change, is an error that tells what to write.
func SetModule(text, name string, m Module) (string, error) {
	before, err := Parse(text)
	if err != nil {
		return "", err
	}
	want := maps.Clone(before.Modules)
	if want == nil {
		want = map[string]Module{}
	}
	changed := want[name]
	changed.Git, changed.Ref = m.Git, m.Ref
	want[name] = changed

	result := setModule(text, name, m)
	after, err := Parse(result)
	before.Modules = want
	if err != nil || !reflect.DeepEqual(before, after) {
		return "", &Error{
			Line: lineOf(text, []string{"modules", name}), Message: "modules." + name + " is written in a form that only you can change",
			Hint: "write it as\n" + moduleText(name, m, "\n"),
		}
	}
	return result, nil
}

func setModule(text, name string, m Module) string {
	eol := "\n"
	if strings.Contains(text, "\r\n") {
		eol = "\r\n"
	}
	key := []string{"modules", name}
	all := items(text)
	at := slices.IndexFunc(all, func(it item) bool { return it.header && slices.Equal(it.key, key) })
	if at < 0 {
		if text != "" && !strings.HasSuffix(text, "\n") {
			text += eol
		}
		if text != "" {
			text += eol
		}
		return text + moduleText(name, m, eol)
	}
	lines := strings.Split(text, "\n")
	values := map[string]string{"git": m.Git, "ref": m.Ref}
	for _, it := range all[at+1:] {
		if it.header {
			break
		}
		last := it.key[len(it.key)-1]
		value, ours := values[last]
		if !ours || len(it.key) != len(key)+1 {
			continue
		}
		delete(values, last)
		if found := assignment[last]().FindStringSubmatch(lines[it.line]); found != nil && value != "" {
			lines[it.line] = found[1] + quote(value) + found[3]
		} else if value == "" {
			lines[it.line] = "\x00" // goes
		}
	}
	for _, k := range []string{"ref", "git"} {
		if values[k] != "" {
			lines = slices.Insert(lines, all[at].line+1, k+" = "+quote(values[k])+strings.TrimSuffix(eol, "\n"))
		}
	}
	return strings.Join(slices.DeleteFunc(lines, func(l string) bool { return l == "\x00" }), "\n")
}

func moduleText(name string, m Module, eol string) string {
	text := fmt.Sprintf("[modules.%s]%sgit = %s%s", name, eol, quote(m.Git), eol)
	if m.Ref != "" {
		text += "ref = " + quote(m.Ref) + eol
	}
	return text
}

// quote writes a string without control characters as TOML has it.
func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}
