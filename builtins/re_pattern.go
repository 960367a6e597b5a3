package builtins

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/bifrost-run/bifrost/internal/lazyregexp"
)

// Python's flags.
const (
	reIgnoreCase = 2
	reMultiline  = 8
	reDotAll     = 16
	reVerbose    = 64
	reASCII      = 256
)

// A pattern is a regular expression of Python's syntax on the engine of Go, which takes time in
// proportion to the text. What that engine cannot do is refused.
type pattern struct {
	source string
	flags  int
	code   string         // in Go's syntax
	names  map[string]int // of groups
	order  []string       // of names
	groups []int          // the groups of code, by Python's number; the first is the whole match
	tails  []int          // the groups of code that hold the line end that a $ stands before
	word   bool           // it has a \b or \B

	re *regexp.Regexp
}

// compilePattern translates and compiles a pattern.
func compilePattern(source string, flags int) (*pattern, error) {
	t := &translator{pattern: &pattern{source: source, flags: flags, names: map[string]int{}, groups: []int{0}}, s: source}
	if err := t.translate(); err != nil {
		return nil, err
	}
	p := t.pattern
	p.code = t.prefix() + t.b.String()
	re, err := regexp.Compile(p.code)
	if err != nil {
		var bad *syntax.Error
		if errors.As(err, &bad) {
			return nil, fmt.Errorf("%s: %s", bad.Code, bad.Expr)
		}
		return nil, err
	}
	p.re = re
	return p, nil
}

// A translator writes a pattern of Python's in Go's syntax.
type translator struct {
	*pattern
	s        string
	i        int
	b        strings.Builder
	opened   int   // groups of code so far
	unclosed []int // where the parentheses that are open stand
	atom     bool  // what was written last can be repeated
	repeats  bool  // what was written last is a repetition
}

func (t *translator) prefix() string {
	flags := ""
	for _, f := range []struct {
		flag   int
		letter string
	}{{reIgnoreCase, "i"}, {reMultiline, "m"}, {reDotAll, "s"}} {
		if t.flags&f.flag != 0 {
			flags += f.letter
		}
	}
	if flags == "" {
		return ""
	}
	return "(?" + flags + ")"
}

func (t *translator) fail(format string, args ...any) error {
	return fmt.Errorf("%s at position %d", fmt.Sprintf(format, args...), t.i)
}

// refuse is for what Python has and the engine has not.
func (t *translator) refuse(what, hint string) error {
	return &valueError{fmt.Sprintf("%s at position %d: the engine is Go's RE2, which has none and so never takes long", what, t.i), hint}
}

func (t *translator) emit(code string, atom bool) {
	t.b.WriteString(code)
	t.atom, t.repeats = atom, false
}

// The classes of characters, as they stand inside of brackets.
var (
	unicodeClasses = map[byte]string{'d': `\p{Nd}`, 'w': `\p{L}\p{N}_`, 's': `\t-\r\x{1c}-\x{20}\x{85}\p{Z}`}
	asciiClasses   = map[byte]string{'d': `0-9`, 'w': `0-9A-Za-z_`, 's': `\t-\r\x{20}`}
)

func (t *translator) class(c byte) string {
	if t.flags&reASCII != 0 {
		return asciiClasses[c]
	}
	return unicodeClasses[c]
}

func (t *translator) translate() error {
	if err := t.globalFlags(); err != nil {
		return err
	}
	for t.i < len(t.s) {
		if err := t.next(); err != nil {
			return err
		}
	}
	if len(t.unclosed) > 0 {
		t.i = t.unclosed[len(t.unclosed)-1]
		return t.fail("missing ), unterminated subpattern")
	}
	return nil
}

var leadingFlags = lazyregexp.New(`^\(\?([aiLmsux]+)\)`)

func (t *translator) globalFlags() error {
	m := leadingFlags().FindStringSubmatch(t.s)
	if m == nil {
		return nil
	}
	for _, c := range m[1] {
		flag, known := map[rune]int{'i': reIgnoreCase, 'm': reMultiline, 's': reDotAll, 'x': reVerbose, 'a': reASCII, 'u': 0}[c]
		if !known {
			return t.refuse("flag "+string(c), "leave it out")
		}
		t.flags |= flag
	}
	t.i += len(m[0])
	return nil
}

func (t *translator) next() error {
	c := t.s[t.i]
	switch {
	case t.flags&reVerbose != 0 && strings.IndexByte(" \t\n\r\f\v", c) >= 0:
		t.i++
		return nil
	case t.flags&reVerbose != 0 && c == '#':
		if end := strings.IndexByte(t.s[t.i:], '\n'); end >= 0 {
			t.i += end + 1
		} else {
			t.i = len(t.s)
		}
		return nil
	}
	switch c {
	case '\\':
		return t.escape()
	case '[':
		return t.brackets()
	case '(':
		return t.open()
	case ')':
		if len(t.unclosed) == 0 {
			return t.fail("unbalanced parenthesis")
		}
		t.unclosed = t.unclosed[:len(t.unclosed)-1]
		t.emit(")", true)
	case '*', '+', '?':
		return t.repeat(string(c), 1)
	case '{':
		if m := counted().FindStringSubmatch(t.s[t.i:]); m != nil && m[0] != "{}" && m[0] != "{,}" {
			low, high := m[1], m[2]
			if low == "" {
				low = "0"
			}
			a, _ := strconv.Atoi(low)
			if b, err := strconv.Atoi(strings.TrimPrefix(high, ",")); err == nil && b < a {
				t.i++
				return t.fail("min repeat greater than max repeat")
			}
			return t.repeat("{"+low+high+"}", len(m[0]))
		}
		t.emit(`\{`, true)
	case '$':
		if t.flags&reMultiline != 0 {
			t.emit("$", false)
			break
		}
		// The end, or in front of a line end at the end: that is matched too, and cut off later.
		t.opened++
		t.tails = append(t.tails, t.opened)
		t.emit(`(?:\z|(\n)\z)`, false)
	case '|', '^':
		t.emit(string(c), false)
	case '.':
		t.emit(".", true)
	default:
		r, size := utf8.DecodeRuneInString(t.s[t.i:])
		t.i += size
		t.emit(regexp.QuoteMeta(string(r)), true)
		return nil
	}
	t.i++
	return nil
}

var counted = lazyregexp.New(`^\{(\d*)(,?\d*)\}`)

func (t *translator) repeat(code string, length int) error {
	switch {
	case t.repeats && code == "+":
		return t.refuse("a possessive repetition", "leave out the second +")
	case t.repeats:
		return t.fail("multiple repeat")
	case !t.atom:
		return t.fail("nothing to repeat")
	}
	t.i += length
	if t.i < len(t.s) && t.s[t.i] == '?' {
		code += "?"
		t.i++
	}
	t.b.WriteString(code)
	t.repeats = true
	return nil
}

var namedGroup = lazyregexp.New(`^\(\?P<([^>]*)>`)

var scopedFlags = lazyregexp.New(`^\(\?([ims]*(?:-[ims]+)?):`)

func (t *translator) open() error {
	at, rest := t.i, t.s[t.i:]
	has := func(prefix string) bool { return strings.HasPrefix(rest, prefix) }
	named, scoped := namedGroup().FindStringSubmatch(rest), scopedFlags().FindString(rest)
	switch {
	case !has("(?"):
		t.capture("(")
		t.i++
	case named != nil:
		if !identifier().MatchString(named[1]) {
			return t.fail("bad character in group name %q", named[1])
		}
		if _, twice := t.names[named[1]]; twice {
			return t.fail("redefinition of group name %q", named[1])
		}
		t.capture("(")
		t.names[named[1]] = len(t.groups) - 1
		t.order = append(t.order, named[1])
		t.i += len(named[0])
	case has("(?#"):
		end := strings.IndexByte(rest, ')')
		if end < 0 {
			return t.fail("missing ), unterminated comment")
		}
		t.i += end + 1
		return nil
	case scoped != "":
		t.emit(scoped, false)
		t.i += len(scoped)
	case has("(?="), has("(?!"), has("(?<="), has("(?<!"):
		return t.refuse("a lookaround", "match what stands around it too, and take the part in a group: m.group(1)")
	case has("(?P="):
		return t.refuse("a backreference", "match both parts in groups of their own, and compare the groups")
	case has("(?>"):
		return t.refuse("an atomic group", "write (?:…)")
	case has("(?("):
		return t.refuse("a conditional group", "write two patterns")
	case leadingFlags().MatchString(rest):
		return t.fail("global flags not at the start of the expression")
	default:
		t.i++
		return t.fail("unknown extension ?%s", firstRune(rest[2:]))
	}
	t.unclosed = append(t.unclosed, at)
	return nil
}

func (t *translator) capture(code string) {
	t.opened++
	t.groups = append(t.groups, t.opened)
	t.emit(code, false)
}

// escape translates an escape outside of brackets.
func (t *translator) escape() error {
	if t.i+1 == len(t.s) {
		return t.fail("bad escape (end of pattern)")
	}
	switch c := t.s[t.i+1]; c {
	case 'd', 'w', 's':
		t.emit("["+t.class(c)+"]", true)
	case 'D', 'W', 'S':
		t.emit("[^"+t.class(c+'a'-'A')+"]", true)
	case 'A':
		t.emit(`\A`, false)
	case 'Z':
		t.emit(`\z`, false)
	case 'b', 'B':
		t.word = true
		t.emit(`\`+string(c), false)
	case '1', '2', '3', '4', '5', '6', '7', '8', '9':
		return t.refuse("a backreference", "match both parts in groups of their own, and compare the groups")
	default:
		r, err := t.character()
		if err != nil {
			return err
		}
		t.emit(regexp.QuoteMeta(string(r)), true)
		return nil
	}
	t.i += 2
	return nil
}

var controls = map[byte]rune{'a': '\a', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t', 'v': '\v'}

var numbered = lazyregexp.New(`^\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(0[0-7]{0,2}|[1-3][0-7]{2}))`)

// character reads an escape that stands for one character.
func (t *translator) character() (rune, error) {
	if m := numbered().FindStringSubmatch(t.s[t.i:]); m != nil {
		base, digits := 16, m[1]+m[2]+m[3]
		if m[4] != "" {
			base, digits = 8, m[4]
		}
		n, err := strconv.ParseUint(digits, base, 32)
		if err != nil || n > unicode.MaxRune {
			return 0, t.fail("bad escape %s", m[0])
		}
		t.i += len(m[0])
		return rune(n), nil
	}
	c, size := utf8.DecodeRuneInString(t.s[t.i+1:])
	if r, known := controls[t.s[t.i+1]]; known {
		t.i += 2
		return r, nil
	}
	if c == 'x' || c == 'u' || c == 'U' {
		return 0, t.fail(`incomplete escape \%c`, c)
	}
	if c < utf8.RuneSelf && (unicode.IsLetter(c) || unicode.IsDigit(c)) {
		return 0, t.fail(`bad escape \%c`, c)
	}
	t.i += 1 + size
	return c, nil
}

// brackets translates a set of characters.
func (t *translator) brackets() error {
	start := t.i
	t.i++
	code := "["
	if strings.HasPrefix(t.s[t.i:], "^") {
		code += "^"
		t.i++
	}
	for first := true; ; first = false {
		if t.i >= len(t.s) {
			t.i = start
			return t.fail("unterminated character set")
		}
		if t.s[t.i] == ']' && !first {
			t.i++
			t.emit(code+"]", true)
			return nil
		}
		low, class, err := t.member()
		if err != nil {
			return err
		}
		if class != "" {
			if rest := t.s[t.i:]; len(rest) > 1 && rest[0] == '-' && rest[1] != ']' {
				return t.fail("bad character range")
			}
			code += class
			continue
		}
		code += fmt.Sprintf(`\x{%x}`, low)
		if rest := t.s[t.i:]; len(rest) < 2 || rest[0] != '-' || rest[1] == ']' {
			continue
		}
		t.i++
		high, class, err := t.member()
		switch {
		case err != nil:
			return err
		case class != "" || high < low:
			return t.fail("bad character range")
		}
		code += fmt.Sprintf(`-\x{%x}`, high)
	}
}

// member reads one character of a set, or one class of them.
func (t *translator) member() (r rune, class string, err error) {
	r, size := utf8.DecodeRuneInString(t.s[t.i:])
	if r != '\\' {
		t.i += size
		return r, "", nil
	}
	if t.i+1 == len(t.s) {
		return 0, "", t.fail("unterminated character set")
	}
	switch c := t.s[t.i+1]; c {
	case 'd', 'w', 's':
		t.i += 2
		return 0, t.class(c), nil
	case 'D', 'W', 'S':
		t.i += 2
		class, err := complement(t.class(c + 'a' - 'A'))
		return 0, class, err
	case 'b':
		t.i += 2
		return '\b', "", nil
	}
	r, err = t.character()
	return r, "", err
}

// complement is the rest of all characters, as it stands inside of brackets.
func complement(class string) (string, error) {
	set, err := syntax.Parse("[^"+class+"]", syntax.Perl)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for i := 0; i < len(set.Rune); i += 2 {
		fmt.Fprintf(&b, `\x{%x}-\x{%x}`, set.Rune[i], set.Rune[i+1])
	}
	return b.String(), nil
}
