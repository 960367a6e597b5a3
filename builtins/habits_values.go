package builtins

const (
	noneHint   = `the value is None: what made it found nothing, or is a function without a return`
	frozenHint = `values of the top level and of loaded modules do not change once they are loaded: make the value inside the function`
)

// valueHabits are what the interpreter refuses while the script runs. They are tried in order; the
// first that fits gives its hint.
var valueHabits = []habit{
	// None, where something else was expected
	{m(`^invalid call of non-function \(NoneType\)`), nil, nil, noneHint},
	{m(`^unhandled index operation NoneType|^NoneType value is not iterable|^got NoneType in sequence|value of type NoneType`), nil, nil, noneHint},
	{m(`^unknown binary op: (NoneType .*|.* NoneType)$|^(NoneType [<>]=? \w+|\w+ [<>]=? NoneType) not implemented`), nil, nil, noneHint},
	{m(`NoneType`), nil, nil, noneHint},

	// calls
	{m(`^invalid call of non-function \((list|tuple|dict|string)\)`), nil, nil, `an element is read with square brackets: x[0]`},
	{m(`^invalid call of non-function \((\w+)\)`), nil, nil, `the name stands for a value of type ${1}, which cannot be called; is a function of this name hidden by it?`},
	{m(`unexpected keyword argument "default"`), m(`\b(max|min)\(`), nil, `write max(xs) if xs else 0`},
	{m(`^sorted: unexpected keyword argument "cmp"`), nil, nil, `sorted takes key = and reverse =`},
	{m(`called recursively`), nil, nil, `Starlark has no recursion: write the loop with for`},

	// formats
	{m(`^(unsupported|incomplete) format( character.*)?$`), nil, nil, `% knows %s %r %c %d %x %o %e %f %g, with widths and precisions; a percent sign is written %%`},
	{m(`format spec features not supported in replacement fields: \.\d+f`), nil, nil, `there are no format specs: write "%.2f" % x`},
	{m(`format spec features not supported in replacement fields: .*[<>^]`), nil, nil, `there are no format specs: write "%-10s" % s, or "%10s" % s`},
	{m(`format spec features not supported`), nil, nil, `there are no format specs: % has widths and precisions, "%05d" % n`},
	{m(`^format: (attribute|element) syntax`), nil, nil, `give format the value itself: "{}".format(x.name)`},
	{m(`^format: (tuple index out of range|keyword (\w+) not found)`), nil, nil, `each {} needs an argument of format; a brace in the text is written {{ or }}`},
	{m(`^format: (unmatched|single)`), nil, nil, `a brace in the text is written {{ or }}`},
	{m(`^not (enough arguments for|all arguments converted during) `), nil, nil, `each %s needs one value, several in a tuple: "%s %s" % (a, b); a percent sign is written %%`},
	{m(`^%\w format: an? |^must be real number`), nil, nil, `%s takes any value`},

	// operators
	{m(`^unknown binary op: builtin_function_or_method >> `), nil, nil, `print is a function: print(x); logging.warning(x) writes to standard error`},
	{m(`^unknown binary op: string \+ (int|float|bool)|^unknown binary op: (int|float|bool) \+ string`), nil, nil, `make it a string first: str(x)`},
	{m(`^unknown binary op: string \+ (list|tuple|dict)`), nil, nil, `join the elements: " ".join(xs)`},
	{m(`^unknown binary op: list \+ tuple`), nil, nil, `make it a list first: xs + list(t)`},
	{m(`^unknown binary op: list \+ \w+`), nil, nil, `put it in brackets to add one element: xs + [x]`},
	{m(`^unknown binary op: dict \+ dict`), nil, nil, `dicts are joined by |: a | b`},
	{m(`^unknown binary op: list \| list`), nil, nil, `lists are joined by +: a + b`},
	{m(`^unknown binary op: bool [-+*/]|^unknown binary op: \w+ [-+*/] bool`), nil, nil, `True is no number: 1 if condition else 0`},
	{m(`^unknown binary op: (list|string) \* float`), nil, nil, `repeat by an int: int(n)`},
	{m(`^unknown binary op: \w+ in (int|float|bool)`), nil, nil, `in looks into a list, tuple, dict, set or string`},
	{m(`^'in <string>' requires string`), nil, nil, `make it a string first: str(x) in text`},
	{m(`^(string [<>]=? (int|float)|(int|float) [<>]=? string) not implemented`), nil, nil, `compare values of one type: int(s) makes a number of a string`},
	{m(`^\w+ [<>]=? \w+ not implemented`), nil, nil, `compare values of one type; sorted and max take key = function`},
	{m(`division by zero|modulo by zero`), nil, nil, `test the divisor first: a / b if b else 0`},

	// elements
	{m(`^key .* not in dict`), nil, nil, `d.get(key) is None for a key that is missing, d.get(key, default) the default`},
	{m(`^pop: missing key`), nil, nil, `d.pop(key, None) takes a key that may be missing`},
	{m(`^key not found: `), nil, nil, `the dict on the right of % needs each %(name)s`},
	{m(`index -?\d+ out of range: empty`), nil, nil, `it is empty: test it with if xs:`},
	{m(`index -?\d+ out of range \[-\d+:(\d+)\]`), nil, nil, `the last element has index ${1}, or -1`},
	{m(`^list index: got string|^unhandled index operation (list|tuple)\[string`), nil, nil, `a list is indexed by numbers; keys are for dicts`},
	{m(`^(list|string|tuple) index: got float`), nil, nil, `make it an int first: int(x), or divide with //`},
	{m(`^unhandled index operation (\w+)\[`), nil, nil, `a ${1} has no elements`},
	{m(`^(string|tuple) value does not support item assignment`), nil, nil, `a ${1} does not change: build a new one`},
	{m(`^can't assign to \.\w+ field`), nil, nil, `values of bifrost do not change; a dict or struct of your own holds what you want to keep`},
	{m(`^unhashable type: list|^\w+: unhashable type: list`), nil, nil, `a tuple can be a key: tuple(xs)`},
	{m(`^(\w+: )?unhashable type: (dict|set)`), nil, nil, `only values that do not change are keys: strings, numbers, tuples`},
	{m(`^index: value not in list|^remove: element not found`), nil, nil, `test it first: if x in xs:`},

	// assignments and loops
	{m(`^too many values to unpack \(got (\d+), want (\d+)\)`), nil, nil, `the right side has ${1} values for ${2} names; for the rest: first, rest = xs[0], xs[1:]`},
	{m(`^too few values to unpack \(got (\d+), want (\d+)\)`), nil, nil, `the right side has ${1} values for ${2} names`},
	{m(`^got string in sequence assignment`), m(`^\s*for\b.*,.*\bin\b`), nil, `keys and values come from d.items(), positions from enumerate(xs)`},
	{m(`^got \w+ in sequence assignment`), nil, nil, `several names take the elements of one list or tuple`},
	{m(`^int value is not iterable|^(enumerate|list|tuple|set|sorted|reversed|any|all): for parameter 1: got int, want iterable`), nil, nil, `count with range(n)`},
	{m(`^string value is not iterable|^string is not iterable|got string, want iterable`), nil, nil, `for the characters of a string write s.elems()`},
	{m(`during iteration`), nil, nil, `go through a copy: for x in list(xs):`},
	{m(`^cannot (append to|insert into|extend|clear|delete from|remove from|pop from|assign to|.* in|.* to) .*frozen|frozen (list|dict|hash table|set)`), nil, nil, frozenHint},
	{m(`^local variable \w+ referenced before assignment`), nil, nil, `assigning a name in a function makes it the function's own: pass the value in and return the new one`},
	{m(`^global variable (\w+) referenced before assignment`), nil, nil, `the call comes before the line that makes ${1}: move it down, or into def main():`},

	// Starlark's own functions
	{m(`^join: in list, want string`), nil, nil, `make strings first: ", ".join([str(x) for x in xs])`},
	{m(`^(startswith|endswith): got list`), nil, nil, `several go in a tuple: s.${1}(("a", "b"))`},
	{m(`^range: .*got float`), nil, nil, `make it an int first: range(int(n))`},
	{m(`^(max|min): argument is an empty sequence`), nil, nil, `write ${1}(xs) if xs else 0`},
	{m(`^len: value of type (int|float|bool)`), nil, nil, `len(str(x)) is the number of characters`},
}

// memberHabits are members that Python's types and modules have and ours do not, by type and name. "*"
// is any type.
var memberHabits = map[string]string{
	"dict.iteritems":  "write d.items()",
	"dict.iterkeys":   "write d.keys()",
	"dict.itervalues": "write d.values()",
	"dict.has_key":    "write key in d",
	"dict.copy":       "write dict(d)",
	"dict.fromkeys":   "write {key: value for key in keys}",
	"list.sort":       "write xs = sorted(xs), with key = and reverse = as in Python",
	"list.sorted":     "write sorted(xs)",
	"list.copy":       "write list(xs)",
	"list.reverse":    "write reversed(xs), a new list",
	"list.count":      "write len([x for x in xs if x == value])",
	"list.push":       "write xs.append(x)",
	"list.add":        "write xs.append(x)",
	"list.length":     "write len(xs)",
	"list.size":       "write len(xs)",
	"list.join":       `write ", ".join(xs)`,
	"list.map":        "write [f(x) for x in xs]",
	"list.filter":     "write [x for x in xs if f(x)]",
	"string.length":   "write len(s)",

	"string.format_map": `write s.format(**d)`,
	"string.zfill":      `write "0" * (n - len(s)) + s`,
	"string.rjust":      `write " " * (n - len(s)) + s`,
	"string.ljust":      `write s + " " * (n - len(s))`,
	"string.center":     `pad by hand: " " * n + s`,
	"string.encode":     "write bytes(s)",
	"string.casefold":   "write s.lower()",
	"string.isnumeric":  "write s.isdigit()",
	"string.isdecimal":  "write s.isdigit()",
	"string.expandtabs": `write s.replace("\t", "    ")`,
	"string.contains":   "write part in s",
	"string.includes":   "write part in s",
	"string.trim":       "write s.strip()",
	"bytes.decode":      "write str(b)",
	"*.fromkeys":        "write {key: value for key in keys}",
	"*.__name__":        "str(f) shows a function's name",

	"os.environ":             `write os.getenv("NAME"); a secret is secret("NAME")`,
	"os.path":                `write Path: Path(a) / b, .name .parent .exists() .is_dir() .resolve()`,
	"os.makedirs":            "write Path(x).mkdir(parents = True, exist_ok = True)",
	"os.mkdir":               "write Path(x).mkdir()",
	"os.listdir":             `write Path(x).glob("*")`,
	"os.getcwd":              `write Path(".").resolve()`,
	"os.system":              `node.exec("command") runs a program on the node`,
	"os.popen":               `node.exec("command").stdout is what a program on the node prints`,
	"os.remove":              "write Path(x).unlink()",
	"os.unlink":              "write Path(x).unlink()",
	"json.load":              "write json.loads(Path(x).read_text())",
	"json.dump":              "write Path(x).write_text(json.dumps(value))",
	"yaml.load":              "write yaml.safe_load(text)",
	"toml.load":              "write toml.loads(Path(x).read_text())",
	"toml.dump":              "write Path(x).write_text(toml.dumps(value))",
	"Path.cwd":               `write Path(".").resolve()`,
	"Path.expanduser":        "a script does not know the home of this machine; ~ at the start of a remote path is the node's",
	"Path.home":              "a script does not know the home of this machine; ~ at the start of a remote path is the node's",
	"Path.open":              "write Path(x).read_text() or .write_text(text)",
	"*.cwd":                  `write Path(".").resolve()`,
	"*.home":                 "a script does not know the home of this machine; ~ at the start of a remote path is the node's",
	"datetime.utcnow":        "write datetime.now(timezone.utc)",
	"datetime.today":         "write datetime.now(timezone.utc)",
	"datetime.datetime":      "write datetime.now(timezone.utc)",
	"datetime.timezone":      "write timezone.utc",
	"logging.exception":      "write logging.error(text)",
	"argparse.FileType":      "take a str and make a Path of it",
	"hashlib.md5":            "write hashlib.sha256(data)",
	"hashlib.sha1":           "write hashlib.sha256(data)",
	"shlex.shlex":            "write shlex.quote(text)",
	"exec_result.returncode": "write .exit_code, or .ok",

	"ArgumentParser.parse_known_args": "parse_args refuses what the parser does not know; nargs = argparse.REMAINDER takes all that follows",
	"ArgumentParser.add_subparsers":   `write a script for each command, or parser.add_argument("command", choices = [...])`,
	"ArgumentParser.exit":             "write exit(code), or parser.error(text)",
}

// keywordHabits are arguments that functions of Python take and ours do not.
var keywordHabits = map[string]string{
	"print.file":  "logging.warning(text) writes to standard error",
	"print.flush": "print writes at once: remove it",
}
