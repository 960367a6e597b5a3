package argparse

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	star "go.starlark.net/starlark"

	"github.com/bifrost-run/bifrost/internal/lazyregexp"
)

// DefaultWidth is the width of a terminal that nobody knows the width of.
const DefaultWidth = 80

// A layout is the help of one parser for one width.
type layout struct {
	p        *Parser
	width    int
	maxStart int // the column that the texts begin at, at most
	longest  int // of what stands in front of the texts
}

func (p *Parser) layout(columns int) *layout {
	width := columns - 2
	return &layout{p: p, width: width, maxStart: min(24, max(width-20, 4))}
}

// UsageLine is the parser's usage for a terminal of that many columns, with its newline.
func (p *Parser) UsageLine(columns int) string {
	return tidy(p.layout(columns).usage())
}

// Help is the parser's whole help.
func (p *Parser) Help(columns int) string {
	l := p.layout(columns)
	for _, g := range p.groups {
		for _, a := range g.actions {
			if !a.suppressed() {
				l.longest = max(l.longest, length(l.invocation(a))+2)
			}
		}
	}
	var b strings.Builder
	b.WriteString(l.usage())
	b.WriteString(l.text(p.Description, 0))
	for _, g := range p.groups {
		var items strings.Builder
		items.WriteString(l.text(g.Description, 2))
		for _, a := range g.actions {
			if !a.suppressed() {
				items.WriteString(l.action(a))
			}
		}
		if items.Len() == 0 {
			continue
		}
		b.WriteByte('\n')
		if g.Title != "" {
			b.WriteString(g.Title + ":\n")
		}
		b.WriteString(items.String() + "\n")
	}
	b.WriteString(l.text(p.Epilog, 0))
	return tidy(b.String())
}

func (p *Parser) version(text string, columns int) string {
	return tidy(p.layout(columns).text(text, 0))
}

var longBreak = lazyregexp.New(`\n\n\n+`)

// tidy leaves one empty line where there are more, and none at the ends.
func tidy(text string) string {
	if text == "" {
		return ""
	}
	return strings.Trim(longBreak().ReplaceAllString(text, "\n\n"), "\n") + "\n"
}

var spaces = lazyregexp.New(`[ \t\n\r\f\v]+`)

// text is a paragraph with an empty line behind it; "" is nothing.
func (l *layout) text(text string, indent int) string {
	if text == "" || text == Suppress {
		return ""
	}
	if strings.Contains(text, "%(prog)") {
		text, _ = expand(text, map[string]star.Value{"prog": star.String(l.p.Prog)}) // checked when it was set
	}
	start := strings.Repeat(" ", indent)
	if l.p.Formatter == RawDescription || l.p.Formatter == RawText {
		var b strings.Builder
		for line := range strings.Lines(text) {
			b.WriteString(start + line)
		}
		return b.String() + "\n\n"
	}
	lines := wrap(strings.TrimSpace(spaces().ReplaceAllString(text, " ")), max(l.width-indent, 11)-indent)
	for i := range lines {
		lines[i] = start + lines[i]
	}
	return strings.Join(lines, "\n") + "\n\n"
}

// action is an argument and its help.
func (l *layout) action(a *Action) string {
	start := min(l.longest+2, l.maxStart)
	head := l.invocation(a)
	help := l.p.helpOf(a)
	if strings.TrimSpace(help) == "" {
		return "  " + head + "\n"
	}
	values, _ := expand(help, l.p.helpValues(a)) // checked when it was added
	var lines []string
	if l.p.Formatter == RawText {
		lines = strings.Split(strings.TrimSuffix(values, "\n"), "\n")
	} else {
		lines = wrap(strings.TrimSpace(spaces().ReplaceAllString(values, " ")), max(l.width-start, 11))
	}
	if len(lines) == 0 {
		return "  " + head + "\n"
	}
	var b strings.Builder
	indent := strings.Repeat(" ", start)
	if room := start - 4; length(head) <= room {
		b.WriteString("  " + head + strings.Repeat(" ", room-length(head)) + "  " + lines[0] + "\n")
	} else {
		b.WriteString("  " + head + "\n" + indent + lines[0] + "\n")
	}
	for _, line := range lines[1:] {
		b.WriteString(indent + line + "\n")
	}
	return b.String()
}

func (p *Parser) helpOf(a *Action) string {
	optional := len(a.Flags) > 0 || a.Nargs == Optional || a.Nargs == Any
	if p.Formatter == WithDefaults && optional && !suppresses(a.Default) && !strings.Contains(a.Help, "%(default)") {
		return a.Help + " (default: %(default)s)"
	}
	return a.Help
}

// helpValues are what %(name)s in a help text can name.
func (p *Parser) helpValues(a *Action) map[string]star.Value {
	values := map[string]star.Value{
		"prog": star.String(p.Prog), "dest": star.String(a.Dest), "const": or(a.Const, star.None), "required": star.Bool(a.Required),
		"metavar": star.None, "type": star.None, "nargs": star.None, "choices": star.None, "help": star.String(a.Help),
	}
	if !suppresses(a.Default) {
		values["default"] = a.Default
	}
	if len(a.Metavar) > 0 {
		values["metavar"] = star.String(strings.Join(a.Metavar, " "))
	}
	if a.Type.Name != "" {
		values["type"] = star.String(a.Type.Name)
	}
	if a.Nargs != Single {
		values["nargs"] = star.String(a.Nargs)
	}
	if a.Choices != nil {
		shown := make([]string, len(a.Choices))
		for i, c := range a.Choices {
			shown[i] = str(c)
		}
		values["choices"] = star.String(strings.Join(shown, ", "))
	}
	return values
}

var conversion = lazyregexp.New(`%(%|\((\w+)\)([srd]))?`)

// expand puts values in place of %(name)s. The error names what it cannot do.
func expand(text string, values map[string]star.Value) (string, error) {
	var failed error
	expanded := conversion().ReplaceAllStringFunc(text, func(found string) string {
		m := conversion().FindStringSubmatch(found)
		v, known := values[m[2]]
		switch {
		case found == "%%":
			return "%"
		case found == "%":
			failed = fmt.Errorf(`a %% stands alone; write %%%% for the sign itself, and %%(default)s for a value`)
		case !known:
			failed = fmt.Errorf("there is no %%(%s)", m[2])
		case m[3] == "s":
			return str(v)
		case m[3] == "r":
			return repr(v)
		default:
			n, ok := v.(star.Int)
			if !ok {
				failed = fmt.Errorf("%s is no int: %s is %s", found, m[2], v.Type())
				return found
			}
			return n.String()
		}
		return found
	})
	return expanded, failed
}

// checkHelp finds out whether the help of an argument can be shown.
func (a *Action) checkHelp() error {
	if a.suppressed() {
		return nil
	}
	if _, err := expand(a.Help, New("").helpValues(a)); err != nil {
		return wrong("help: %v", err)
	}
	return nil
}

// CheckText finds out whether a text beside those of the arguments can be shown.
func CheckText(text string) error {
	if !strings.Contains(text, "%(prog)") {
		return nil
	}
	_, err := expand(text, map[string]star.Value{"prog": star.String("")})
	return err
}

// invocation is how an argument is written, all its flags.
func (l *layout) invocation(a *Action) string {
	if len(a.Flags) == 0 {
		return a.metavar(1, a.Dest)[0]
	}
	if a.Nargs == none {
		return strings.Join(a.Flags, ", ")
	}
	var parts []string
	for _, flag := range a.Flags {
		parts = append(parts, flag+" "+a.argsText())
	}
	return strings.Join(parts, ", ")
}

// metavar is the name of each of n strings.
func (a *Action) metavar(n int, fallback string) []string {
	if len(a.Metavar) > 1 {
		return a.Metavar
	}
	name := fallback
	switch {
	case len(a.Metavar) == 1:
		name = a.Metavar[0]
	case a.Choices != nil:
		shown := make([]string, len(a.Choices))
		for i, c := range a.Choices {
			shown[i] = str(c)
		}
		name = "{" + strings.Join(shown, ",") + "}"
	}
	return slices.Repeat([]string{name}, n)
}

// argsText is the strings of an argument as its usage shows them.
func (a *Action) argsText() string {
	fallback := a.Dest
	if len(a.Flags) > 0 {
		fallback = strings.ToUpper(a.Dest)
	}
	switch a.Nargs {
	case Single:
		return a.metavar(1, fallback)[0]
	case Optional:
		return "[" + a.metavar(1, fallback)[0] + "]"
	case Any:
		if names := a.metavar(1, fallback); len(names) == 2 {
			return fmt.Sprintf("[%s [%s ...]]", names[0], names[1])
		} else {
			return fmt.Sprintf("[%s ...]", names[0])
		}
	case Some:
		names := a.metavar(2, fallback)
		return fmt.Sprintf("%s [%s ...]", names[0], names[1])
	case Remainder:
		return "..."
	}
	return strings.Join(a.metavar(a.count(), fallback), " ")
}

// usage is the line that shows how the program is called, broken where it is too long.
func (l *layout) usage() string {
	const prefix = "usage: "
	if l.p.Usage != "" {
		text, _ := expand(l.p.Usage, map[string]star.Value{"prog": star.String(l.p.Prog)}) // checked when it was set
		return prefix + text + "\n\n"
	}
	var options, positionals []*Action
	for _, a := range l.p.actions {
		if len(a.Flags) > 0 {
			options = append(options, a)
		} else {
			positionals = append(positionals, a)
		}
	}
	line := strings.TrimSpace(l.p.Prog + " " + l.p.usageOf(slices.Concat(options, positionals)))
	if len(prefix)+length(line) > l.width {
		opts, poss := usageParts(l.p.usageOf(options)), usageParts(l.p.usageOf(positionals))
		line = strings.Join(l.breakUsage(prefix, opts, poss), "\n")
	}
	return prefix + line + "\n\n"
}

func (l *layout) breakUsage(prefix string, options, positionals []string) []string {
	prog := l.p.Prog
	if float64(len(prefix)+length(prog)) <= 0.75*float64(l.width) {
		indent := strings.Repeat(" ", len(prefix)+length(prog)+1)
		switch {
		case len(options) > 0:
			lines := l.usageLines(append([]string{prog}, options...), indent, prefix)
			return append(lines, l.usageLines(positionals, indent, "")...)
		case len(positionals) > 0:
			return l.usageLines(append([]string{prog}, positionals...), indent, prefix)
		}
		return []string{prog}
	}
	indent := strings.Repeat(" ", len(prefix))
	lines := l.usageLines(slices.Concat(options, positionals), indent, "")
	if len(lines) > 1 {
		lines = append(l.usageLines(options, indent, ""), l.usageLines(positionals, indent, "")...)
	}
	return append([]string{prog}, lines...)
}

// usageLines fills lines with parts. With a prefix the first line is the one that it stands on.
func (l *layout) usageLines(parts []string, indent, prefix string) []string {
	var lines, line []string
	used := length(cmp.Or(prefix, indent)) - 1
	for _, part := range parts {
		if used+1+length(part) > l.width && len(line) > 0 {
			lines = append(lines, indent+strings.Join(line, " "))
			line, used = nil, length(indent)-1
		}
		line, used = append(line, part), used+length(part)+1
	}
	if len(line) > 0 {
		lines = append(lines, indent+strings.Join(line, " "))
	}
	if prefix != "" {
		lines[0] = lines[0][len(indent):]
	}
	return lines
}

// usageParts splits a usage at the spaces outside of brackets.
func usageParts(text string) []string {
	var parts []string
	for text = strings.TrimLeft(text, " "); text != ""; text = strings.TrimLeft(text, " ") {
		end := strings.IndexByte(text, ' ')
		closing := map[byte]string{'(': ")", '[': "]"}[text[0]]
		if i := strings.Index(text, closing+" "); closing != "" && i >= 0 {
			end = i + 1
		} else if closing != "" && strings.HasSuffix(text, closing) {
			end = len(text)
		}
		if end < 0 {
			end = len(text)
		}
		parts, text = append(parts, text[:end]), text[end:]
	}
	return parts
}

var (
	afterOpening  = lazyregexp.New(`([\[(]) `)
	beforeClosing = lazyregexp.New(` ([\])])`)
	emptyBrackets = lazyregexp.New(`[\[(] *[\])]`)
)

// usageOf is the usage of some arguments on one line.
func (p *Parser) usageOf(all []*Action) string {
	inserts, grouped := p.usageBrackets(all)
	var parts []string
	for i, a := range all {
		insert := inserts[i]
		part := ""
		switch {
		case a.suppressed():
			if insert == "|" {
				insert = ""
			} else if inserts[i+1] == "|" {
				delete(inserts, i+1)
			}
		case len(a.Flags) == 0:
			part = a.argsText()
			if grouped[a] && strings.HasPrefix(part, "[") && strings.HasSuffix(part, "]") {
				part = part[1 : len(part)-1]
			}
		default:
			part = cmp.Or(a.usage, a.Flags[0])
			if a.Nargs != none {
				part = a.Flags[0] + " " + a.argsText()
			}
			if !a.Required && !grouped[a] {
				part = "[" + part + "]"
			}
		}
		for _, s := range []string{insert, part} {
			if s != "" {
				parts = append(parts, s)
			}
		}
	}
	if end := inserts[len(all)]; end != "" {
		parts = append(parts, end)
	}
	text := strings.Join(parts, " ")
	text = beforeClosing().ReplaceAllString(afterOpening().ReplaceAllString(text, "$1"), "$1")
	return strings.TrimSpace(emptyBrackets().ReplaceAllString(text, ""))
}

// usageBrackets are what stands in front of the arguments by their index: brackets around those that
// exclude each other, where they follow each other, and strokes between them.
func (p *Parser) usageBrackets(all []*Action) (inserts map[int]string, grouped map[*Action]bool) {
	inserts, grouped = map[int]string{}, map[*Action]bool{}
	put := func(i int, open, s string) {
		if inserts[i] != "" {
			s = open + s
		}
		inserts[i] += s
	}
	for _, m := range p.mutexes {
		if len(m.actions) == 0 {
			continue
		}
		start := slices.Index(all, m.actions[0])
		end := start + len(m.actions)
		if start < 0 || end > len(all) || !slices.Equal(all[start:end], m.actions) {
			continue
		}
		exposed := 0
		for _, a := range m.actions {
			grouped[a] = true
			if !a.suppressed() {
				exposed++
			}
		}
		switch {
		case !m.Required:
			put(start, " ", "[")
			put(end, "", "]")
		case exposed > 1:
			put(start, " ", "(")
			put(end, "", ")")
		}
		for i := start + 1; i < end; i++ {
			inserts[i] = "|"
		}
	}
	return inserts, grouped
}
