package builtins

import "regexp"

// A habit is something that Python has and Starlark refuses, and how to write it instead.
type habit struct {
	message *regexp.Regexp // what the interpreter says
	line    *regexp.Regexp // the source line; nil for any
	before  *regexp.Regexp // the source line up to the column; nil for any
	hint    string
}

// habits are tried in order; the first that fits gives its hint.
var habits = []habit{
	{m(`^got string literal, want`), nil, m(`(?i)\b(f|fr|rf)$`), `Starlark has no f-strings: write "…%s…" % x, or "…{}…".format(x)`},
	{m(`^got string literal, want`), nil, m(`["']\s*$`), `strings are joined by +: "a" + "b"`},
	{m(`^got .*, want`), m(`^\s*assert\b`), nil, `write check(condition, "message")`},
	{m(`^undefined: assert\b`), nil, nil, `write check(condition, "message")`},
	{m(`^got .*, want`), m(`^\s*print\s+[^(]`), nil, `print is a function: print(x)`},
	{m(`\bwith\b`), m(`^\s*(async\s+)?with\b`), nil, `there is no with: with_job(job, fn) and with_node(fn, …) hold a machine while fn runs`},
	{m(`\b(try|except|finally)\b`), m(`^\s*(try|except|finally)\b`), nil, `there is no try: write value, err = attempt(fn, …); with_job tears down whatever happens`},
	{m(`\bclass\b`), m(`^\s*class\b`), nil, `there are no classes: write functions, and dicts for data`},
	{m(`\b(import|from)\b`), m(`^\s*(import|from)\b`), nil, `there is no import: write load("./file.star", "name")`},
	{m(`\braise\b`), m(`^\s*raise\b`), nil, `there is no raise: write fail("message")`},
	{m(`^got .*, want`), m(`^\s*raise\b`), nil, `there is no raise: write fail("message")`},
	{m(`\bdel\b`), m(`^\s*del\b`), nil, `there is no del: write d.pop(key)`},
	{m(`\b(global|nonlocal)\b`), m(`^\s*(global|nonlocal)\b`), nil, `a function changes no outer name: return the new value`},
	{m(`\byield\b`), m(`\byield\b`), nil, `there are no generators: build a list and return it`},
	{m(`^got (async|await)\b`), nil, nil, `there is no async: builtins wait until they are done`},
	{m(`does not support while loops|\bwhile\b`), m(`^\s*while\b`), nil, `write for _ in range(n):, or poll(fn, every = 5, timeout = 600)`},
	{m(`^got is\b|^got 'is'|\bis\b.*want`), m(`\bis\b`), nil, `compare with == and !=: x == None`},
	{m(`^got ':', want`), m(`^\s*def\b`), nil, `Starlark has no type annotations: remove them`},
	{m(`^got '?->'?|^got '-', want`), m(`->`), nil, `Starlark has no type annotations: remove them`},
	{m(`^got ':', want|^got identifier, want|^got ':'`), m(`^\s*\w+\s*:\s*[\w\[\]., |]+(=|$)`), nil, `Starlark has no type annotations: remove them`},
	{m(`^got for, want`), nil, nil, `there are no generator expressions: wrap it in [...]`},
	{m(`does not associate with`), nil, nil, `comparisons do not chain: 1 < x and x < 3`},
	{m(`^got '\*\*', want primary expression`), m(`\{\s*\*\*|,\s*\*\*`), nil, `dicts are joined by |: d | {"key": value}`},
	{m(`^got '\*\*'`), nil, nil, `there is no ** operator: multiply, or write 1 << n for powers of two`},
	{m(`^got '\*', want primary expression`), nil, nil, `lists are joined by +: a + [x]`},
	{m(`^got ('='|':='|':'), want`), m(`:=`), nil, `there is no := operator: assign on a line of its own`},
	{m(`^got (','|'\}'), want ':'`), m(`\{`), nil, `a set is written set([1, 2])`},
	{m(`unexpected input character '@'`), nil, nil, `there are no decorators: call the function, f = wrap(f)`},
	{m(`^unknown conversion %\.`), nil, nil, `there are no precisions in %: write "%s" % round(x, 2)`},
	{m(`^unknown conversion %`), nil, nil, `% knows %s %r %d %x %o %e %f %g and %%, without widths`},
	{m(`format spec features not supported`), nil, nil, `there are no format specs: write "{}".format(round(x, 2))`},
	{m(`unexpected keyword argument "default"`), m(`\b(max|min)\(`), nil, `write max(xs) if xs else 0`},
	{m(`^cannot (append to|insert into|extend|clear|delete from|remove from|pop from|assign to|.* in|.* to) .*frozen|frozen (list|dict|hash table|set)`), nil, nil, `values of the top level and of loaded modules do not change once they are loaded: make the value inside the function`},
	{m(`^cannot reassign (global|top-level)`), nil, nil, `the top level assigns a name once: put the code into def main():`},
	{m(`called recursively`), nil, nil, `Starlark has no recursion: write the loop with for`},
	{m(`load statement (not at top level|within)|load not at top level|load statement within`), nil, nil, `write the load at the top of the file`},
	{m(`names with leading underscores are not exported`), nil, nil, `names that start with _ belong to their file alone`},
	{m(`^undefined: __name__`), nil, nil, `bifrost calls main by itself: define def main(): and remove this`},
	{m(`^undefined: isinstance`), nil, nil, `compare the type's name: type(x) == "string"`},
	{m(`^undefined: open\b`), nil, nil, `scripts open no files; node.read_file and node.write_file work on the node`},
	{m(`^undefined: input\b`), nil, nil, `ask with confirm("Proceed?")`},
	{m(`^undefined: (sys|os|subprocess|time|datetime|json|re|math|argparse|logging|Path|pathlib)\b`), nil, nil, `this version of bifrost has no such module; arguments come with def main(argv):, an exit code with exit(n)`},
	{m(`^undefined: (Exception|ValueError|RuntimeError|KeyError|SystemExit)\b`), nil, nil, `there are no exceptions: fail("message") raises, attempt(fn) catches`},
	{m(`^local variable \w+ referenced before assignment`), nil, nil, `assigning a name in a function makes it the function's own: pass the value in and return the new one`},
	{m(`^string value is not iterable|^string is not iterable|got string, want iterable`), nil, nil, `for the characters of a string write s.elems()`},
	{m(`unknown binary op: string \+ (int|float)|unknown binary op: (int|float) \+ string`), nil, nil, `make it a string first: str(x)`},
}

func m(pattern string) *regexp.Regexp { return regexp.MustCompile(pattern) }

// HabitHint returns how to write what the interpreter refuses with this message, or "". It is for
// starlark.Host. The column is where the message points in the source line, from 1 and in characters.
func HabitHint(message, line string, col int) string {
	text := []rune(line)
	before := string(text[:max(0, min(col-1, len(text)))])
	for _, h := range habits {
		if h.message.MatchString(message) && (h.line == nil || h.line.MatchString(line)) && (h.before == nil || h.before.MatchString(before)) {
			return h.hint
		}
	}
	return ""
}
