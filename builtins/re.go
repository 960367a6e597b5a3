package builtins

import (
	"fmt"
	"strings"

	star "go.starlark.net/starlark"
)

func reModule() *Module {
	flag := func(name string, n int, doc string) Constant {
		return Constant{Name: name, Kind: "int", Doc: doc, Value: star.MakeInt(n)}
	}
	m := &Module{
		Name: "re",
		Doc: "Python's regular expressions, on Go's RE2: no pattern takes long, and lookaround, backreferences, atomic groups and possessive repetitions are refused. " +
			"Positions count as `len` does, in bytes.",
		Constants: []Constant{
			flag("I", reIgnoreCase, "large and small letters are the same"), flag("IGNORECASE", reIgnoreCase, "as I"),
			flag("M", reMultiline, "^ and $ match at every line"), flag("MULTILINE", reMultiline, "as M"),
			flag("S", reDotAll, ". matches line ends too"), flag("DOTALL", reDotAll, "as S"),
			flag("X", reVerbose, "white space and comments in the pattern do not count"), flag("VERBOSE", reVerbose, "as X"),
			flag("A", reASCII, `\w, \d, \s and \b know ASCII only`), flag("ASCII", reASCII, "as A"),
		},
	}
	for _, op := range reOperations() {
		m.Entries = append(m.Entries, op.function())
	}
	m.Entries = append(m.Entries, reCompileEntry(), reEscapeEntry())
	return m
}

// A reOperation is a function of re and a method of a compiled pattern.
type reOperation struct {
	name, result, doc string
	params            []Param // beside the pattern and the flags
	example           string  // of the function; NAME(PATTERN, the rest)
	method            string  // example
	run               func(c *Call, p *pattern, text string) (star.Value, error)
}

func patternParam() Param {
	return Param{Name: "pattern", Kind: Kind{"str or pattern", func(_ *Call, v star.Value) (any, error) {
		if o, ok := v.(*object); ok && o.typ.Name == "pattern" {
			return o.data, nil
		}
		if s, ok := star.AsString(v); ok {
			return s, nil
		}
		return nil, want(v, "a string, or what re.compile returns")
	}}, Doc: "the regular expression"}
}

func flagsParam() Param {
	return Param{Name: "flags", Kind: intKind(0, 1<<10), Default: star.MakeInt(0), Doc: "re.I, or several: re.I | re.M"}
}

// compiled is the pattern of the arguments pattern and flags.
func (c *Call) compiled() (*pattern, error) {
	flags := arg[int](c, "flags")
	if p := arg[*pattern](c, "pattern"); p != nil {
		if flags != 0 {
			return nil, c.wrong("flags: a compiled pattern has its own", "give them to re.compile")
		}
		return p, nil
	}
	if other := flags &^ (reIgnoreCase | reMultiline | reDotAll | reVerbose | reASCII); other != 0 {
		return nil, c.wrong(fmt.Sprintf("flags: %d is none of them", flags), "those are re.I, re.M, re.S, re.X and re.A, joined by |")
	}
	p, err := compilePattern(arg[string](c, "pattern"), flags)
	if err != nil {
		return nil, c.wrongValue("pattern", err)
	}
	return p, nil
}

func (op reOperation) function() *Entry {
	return &Entry{
		Name: op.name, Result: op.result, Capabilities: pure, Doc: op.doc, Example: op.example,
		Params: append(append([]Param{patternParam()}, op.params...), flagsParam()),
		run: func(c *Call) (star.Value, error) {
			p, err := c.compiled()
			if err != nil {
				return nil, err
			}
			return op.with(c, p)
		},
	}
}

func (op reOperation) asMethod() *Entry {
	return &Entry{
		Name: op.name, Result: op.result, Capabilities: pure, Doc: op.doc, Params: op.params, Example: op.method,
		run: func(c *Call) (star.Value, error) { return op.with(c, c.recv.data.(*pattern)) },
	}
}

func (op reOperation) with(c *Call, p *pattern) (star.Value, error) {
	text := arg[string](c, "string")
	if err := p.fits(c.name, text); err != nil {
		return nil, err
	}
	return op.run(c, p, text)
}

func reOperations() []reOperation {
	text := Param{Name: "string", Kind: messageKind(), Doc: "the text to look at"}
	first := func(way string) func(c *Call, p *pattern, text string) (star.Value, error) {
		return func(c *Call, p *pattern, text string) (star.Value, error) {
			at, err := p.find(text, way)
			return c.lib.match(p, text, at), err
		}
	}
	repl := Param{Name: "repl", Kind: Kind{"str or function(match)", func(_ *Call, v star.Value) (any, error) {
		if s, ok := star.AsString(v); ok {
			return s, nil
		}
		if f, ok := v.(star.Callable); ok {
			return f, nil
		}
		return nil, want(v, "a string or a function of (match)")
	}}, Doc: `what to put in its place: text with \1 and \g<name> for groups, or a function that returns text`}
	count := Param{Name: "count", Kind: intKind(0, 1<<31-1), Default: star.MakeInt(0), Doc: "how many at most; 0 means all"}
	return []reOperation{
		{
			"search", "match or None", "Returns the first match anywhere in the text, or None.",
			[]Param{text},
			`m = re.search(r"loss=([\d.]+)", "step 3 loss=0.25")` + "\nprint(m.group(1))  # 0.25",
			`print(re.compile("b").search("abc").start())  # 1`, first(anywhere),
		},
		{
			"match", "match or None", "Returns the match at the start of the text, or None.",
			[]Param{text},
			`print(re.match("b", "abc"))  # None`, `print(re.compile("a").match("abc").group())  # a`, first(fromStart),
		},
		{
			"fullmatch", "match or None", "Returns the match of the whole text, or None.",
			[]Param{text},
			`print(re.fullmatch("ab", "abc"))  # None`, `print(re.compile("a|ab").fullmatch("ab").group())  # ab`, first(whole),
		},
		{
			"findall", "list", "Returns all matches: their texts, those of the group if the pattern has one, tuples of them if it has several.",
			[]Param{text},
			`print(re.findall(r"(\w+)=(\d+)", "a=1 b=2"))  # [("a", "1"), ("b", "2")]`, `print(re.compile(r"\d").findall("1 2"))  # ["1", "2"]`,
			func(c *Call, p *pattern, text string) (star.Value, error) {
				found, err := p.findAll(text, 0)
				list := star.NewList(nil)
				for _, at := range found {
					m := &matched{p, text, at}
					var item star.Value
					switch groups := m.groups(star.String("")); len(groups) {
					case 0:
						item = m.group(0, star.None)
					case 1:
						item = groups[0]
					default:
						item = groups
					}
					if err := list.Append(item); err != nil {
						return nil, err
					}
				}
				return list, err
			},
		},
		{
			"finditer", "list of match", "Returns all matches.",
			[]Param{text},
			`print([m.span() for m in re.finditer("a", "aba")])  # [(0, 1), (2, 3)]`, `print(len(re.compile("a").finditer("aba")))  # 2`,
			func(c *Call, p *pattern, text string) (star.Value, error) {
				found, err := p.findAll(text, 0)
				list := star.NewList(nil)
				for _, at := range found {
					if err := list.Append(c.lib.match(p, text, at)); err != nil {
						return nil, err
					}
				}
				return list, err
			},
		},
		{
			"sub", "str", "Returns the text with the matches replaced.",
			[]Param{repl, text, count},
			`print(re.sub(r"(\w+)@\w+", r"\1@…", "me@example"))  # me@…
print(re.sub(r"\d+", lambda m: str(int(m[0]) + 1), "v9"))  # v10`, `print(re.compile("a").sub("b", "aa", count = 1))  # ba`,
			func(c *Call, p *pattern, text string) (star.Value, error) {
				s, _, err := c.substitute(p, text)
				return star.String(s), err
			},
		},
		{
			"subn", "(str, int)", "Returns the text with the matches replaced, and how many there were.",
			[]Param{repl, text, count},
			`print(re.subn("a", "b", "aa"))  # ("bb", 2)`, `print(re.compile("a").subn("b", "aa"))  # ("bb", 2)`,
			func(c *Call, p *pattern, text string) (star.Value, error) {
				s, n, err := c.substitute(p, text)
				return star.Tuple{star.String(s), star.MakeInt(n)}, err
			},
		},
		{
			"split", "list", "Returns what stands between the matches, and the groups of the pattern if it has some.",
			[]Param{text, {Name: "maxsplit", Kind: intKind(0, 1<<31-1), Default: star.MakeInt(0), Doc: "how many matches at most; 0 means all"}},
			`print(re.split(r"[,;]\s*", "a, b;c"))  # ["a", "b", "c"]`, `print(re.compile(",").split("a,b,c", 1))  # ["a", "b,c"]`,
			func(c *Call, p *pattern, text string) (star.Value, error) {
				found, err := p.findAll(text, arg[int](c, "maxsplit"))
				var parts []star.Value
				last := 0
				for _, at := range found {
					parts = append(parts, star.String(text[last:at.start()]))
					parts = append(parts, (&matched{p, text, at}).groups(star.None)...)
					last = at.end()
				}
				return star.NewList(append(parts, star.String(text[last:]))), err
			},
		},
	}
}

// substitute does the work of sub and subn.
func (c *Call) substitute(p *pattern, text string) (string, int, error) {
	template, isText := c.values["repl"].(string)
	if isText { // it is wrong whether or not anything matches
		if _, err := c.expand(template, &matched{p, "", make(span, 2*len(p.groups))}); err != nil {
			return "", 0, c.wrongValue("repl", err)
		}
	}
	found, err := p.findAll(text, arg[int](c, "count"))
	if err != nil {
		return "", 0, err
	}
	var b strings.Builder
	last := 0
	for _, at := range found {
		b.WriteString(text[last:at.start()])
		last = at.end()
		if isText {
			s, err := c.expand(template, &matched{p, text, at})
			if err != nil {
				return "", 0, c.wrongValue("repl", err)
			}
			b.WriteString(s)
		} else {
			v, err := c.thread.Call(c.raw["repl"], star.Tuple{c.lib.match(p, text, at)}, nil)
			if err != nil {
				return "", 0, err
			}
			s, ok := star.AsString(v)
			if !ok {
				return "", 0, c.wrongValue("repl", fmt.Errorf("it returned a value of type %s, want a string", v.Type()))
			}
			b.WriteString(s)
		}
		if b.Len() > longestText {
			return "", 0, c.wrong(fmt.Sprintf("the text has more than %d MiB", longestText>>20), "")
		}
	}
	b.WriteString(text[last:])
	return b.String(), len(found), nil
}

func reCompileEntry() *Entry {
	return &Entry{
		Name: "compile", Result: "pattern", Capabilities: pure,
		Doc:     "Returns the pattern as a value that has the functions of re as methods. A pattern that is used often is faster so.",
		Params:  []Param{patternParam(), flagsParam()},
		Example: `print(re.compile("A", re.I).findall("aA"))  # ["a", "A"]`,
		run: func(c *Call) (star.Value, error) {
			p, err := c.compiled()
			if err != nil {
				return nil, err
			}
			return c.lib.make("pattern", star.StringDict{"pattern": star.String(p.source), "flags": star.MakeInt(p.flags), "groups": star.MakeInt(len(p.groups) - 1)}, p), nil
		},
	}
}

func patternType() *Type {
	t := &Type{
		Name: "pattern", Doc: "A compiled regular expression.",
		Fields: []Field{
			{Name: "pattern", Kind: "str", Doc: "its text"},
			{Name: "flags", Kind: "int", Doc: "its flags"},
			{Name: "groups", Kind: "int", Doc: "how many groups it has"},
		},
	}
	for _, op := range reOperations() {
		t.Methods = append(t.Methods, op.asMethod())
	}
	return t
}

func reEscapeEntry() *Entry {
	return &Entry{
		Name: "escape", Result: "str", Capabilities: pure,
		Doc:     "Returns a pattern that matches the text itself.",
		Params:  []Param{{Name: "pattern", Kind: messageKind(), Doc: "the text"}},
		Example: `print(re.escape("a.b"))  # a\.b`,
		run: func(c *Call) (star.Value, error) {
			var b strings.Builder
			for _, r := range arg[string](c, "pattern") {
				if strings.ContainsRune("()[]{}?*+-|^$\\.&~# \t\n\r\v\f", r) {
					b.WriteByte('\\')
				}
				b.WriteRune(r)
			}
			return star.String(b.String()), nil
		},
	}
}
