package builtins

import (
	"strings"
)

const (
	runHint       = `node.exec(command) runs a program on the node, local.run([...]) one on this machine where --allow-run allows it`
	exitHint      = `exit(code) ends the script, def main(argv): gets the arguments, logging.warning(text) writes to standard error`
	parallelHint  = `parallel(fn, items, limit = 4) calls a function for several items at once`
	recordHint    = `Config = record(lr = 0.1, epochs = 3) makes frozen values with these fields`
	fileHint      = `Path("file").read_text() and .write_text(text) read and write local files; node.read_file and node.write_file those of the node`
	exceptionHint = `there are no exceptions: fail("message") raises, attempt(fn) catches`
	typingHint    = `Starlark has no types to write down: leave them out`
	clientHint    = `with_job(remote_job(…)) runs a job, acquire_node(provision = gpu_query(…)) and acquire_node(ssh = "user@host") get a machine`
	networkHint   = `scripts open no connections: node.exec("curl …") does on the node`
)

// pythonModules are the modules of Python that deploy scripts import, with what stands for them. Those
// with an empty text are there under their own name.
var pythonModules = map[string]string{
	"json": "", "yaml": "", "toml": "", "re": "", "os": "", "hashlib": "", "math": "", "time": "", "datetime": "", "shlex": "",
	"logging": "", "argparse": "",

	"pathlib": "Path is there already", "dotenv": "load_dotenv is there already", "tomllib": "toml is there already", "tomli": "toml is there already",
	"sys":        exitHint,
	"subprocess": runHint,
	"requests":   networkHint, "httpx": networkHint, "aiohttp": networkHint, "urllib": networkHint, "socket": networkHint, "http": networkHint,
	"concurrent": parallelHint, "threading": parallelHint, "multiprocessing": parallelHint, "asyncio": parallelHint, "queue": parallelHint,
	"dataclasses": recordHint, "pydantic": recordHint, "attr": recordHint, "attrs": recordHint,
	"enum":     `strings do: compare with == and in`,
	"tempfile": `a script makes no temporary files here; a job has its workspace on the node`,
	"shutil":   fileHint, "io": fileHint,
	"glob": `Path("folder").glob("*.txt") lists files`, "fnmatch": `Path("folder").glob("*.txt") lists files`,
	"random": `there is no randomness: pass a seed to the program on the node`, "secrets": `secret("NAME") is a secret; there is no randomness`, "uuid": `job.id and handle.job_id name a run; there is no randomness`,
	"copy": `dict(d) and list(xs) copy; a loaded value is frozen and needs none`, "collections": `a dict does: d.setdefault(key, []).append(x), d[key] = d.get(key, 0) + 1`,
	"itertools": `write nested for loops or a comprehension`, "functools": `write a function or a lambda`, "operator": `write a lambda`,
	"typing": typingHint, "__future__": typingHint, "types": typingHint, "abc": typingHint,
	"importlib": `import_module(path) loads a .star file chosen at run time`,
	"signal":    `with_job and with_node tear down on Ctrl-C by themselves`, "atexit": `with_job and with_node tear down by themselves`, "contextlib": `with_job and with_node tear down by themselves`,
	"traceback": `bifrost exec --trace shows every call`, "inspect": `type(x), dir(x) and hasattr(x, name) look at values`, "warnings": `logging.warning(text) writes to standard error`,
	"string": `the methods of strings are there: s.upper(), s.split(",")`, "textwrap": `write the text as it is to be`, "pprint": `print(json.dumps(value, indent = 2)) shows data`,
	"click": `argparse is there, and def main(argv):`, "typer": `argparse is there, and def main(argv):`, "getpass": `secret("NAME") reads a secret from the environment or .env`,
	"paramiko": clientHint, "fabric": clientHint, "bifrost": clientHint, "broker": clientHint,
	"torch": `it runs on the node: write it into the program that the job starts`, "numpy": `it runs on the node: write it into the program that the job starts`,
	"transformers": `it runs on the node: write it into the program that the job starts`, "huggingface_hub": `load("@std//hf.star", "hf_env") has what a job needs of it`,
	"wandb": `it runs on the node; its key is env = {"WANDB_API_KEY": secret("WANDB_API_KEY")}`,
	"csv":   `split the lines: [line.split(",") for line in text.splitlines()]`, "pickle": `json.dumps and json.loads keep data`, "zipfile": `node.upload and node.download copy whole folders`, "tarfile": `node.upload and node.download copy whole folders`,
	"platform": `a script is the same on every machine`, "base64": `bytes go to the node with node.write_file`, "statistics": `sum(xs) / len(xs) is the mean`, "psutil": `node.gpus() shows what the GPUs do`,
}

// pythonNames are names that are defined in Python and undefined here, with what stands for them.
var pythonNames = map[string]string{
	"__name__": `bifrost calls main by itself: define def main(): and remove this`,
	"assert":   `write check(condition, "message")`,
	"open":     fileHint,
	"input":    `ask with confirm("Proceed?")`,

	"isinstance": `compare the type's name: type(x) == "string"`, "issubclass": `compare the type's name: type(x) == "string"`,
	"map": `write [f(x) for x in xs]`, "filter": `write [x for x in xs if f(x)]`, "reduce": `write a for loop`,
	"divmod": `write a // b and a % b`, "pow": `multiply, or write 1 << n for powers of two`, "next": `take xs[0] of a list, or xs[0] if xs else None`, "iter": `a for loop goes through lists and dicts`,
	"callable": `write type(f) in ("function", "builtin_function_or_method")`, "eval": `import_module(path) loads a .star file; json.loads(text) reads data`, "exec": `node.exec(command) runs a command; import_module(path) loads a .star file`,
	"super": `there are no classes: Config = record(…) and functions`, "object": `there are no classes: struct(a = 1) holds fields`, "self": `there are no classes: pass the value as a parameter`,
	"property": `there are no classes: write a function`, "staticmethod": `there are no classes: write a function`, "classmethod": `there are no classes: write a function`,
	"vars": `dir(x) and getattr(x, name) look at values`, "globals": `a function sees the names of its file`, "locals": `a function sees its own names`, "setattr": `values with fields do not change: struct(a = 1), or a dict`, "delattr": `values with fields do not change: struct(a = 1), or a dict`,
	"frozenset": `write set(xs)`, "complex": `there are no complex numbers`, "bytearray": `write bytes(s)`, "memoryview": `write bytes(s)`,
	"format": `write "%.2f" % x`, "ascii": `write repr(x)`, "bin": `write "%x" % n for hexadecimal`, "hex": `write "%x" % n`, "oct": `write "%o" % n`,
	"id": `compare values with ==`, "quit": `exit(code) ends the script`, "slice": `write xs[a:b]`, "unicode": `write str(x)`, "long": `write int(x)`, "xrange": `write range(n)`, "raw_input": `ask with confirm("Proceed?")`, "help": `bifrost doc NAME explains it`, "breakpoint": `print(x) shows a value; bifrost repl tries things out`,
	"null": `write None`, "nil": `write None`, "none": `write None`, "undefined": `write None`, "NULL": `write None`, "NoneType": `compare with None: x == None`,
	"true": `write True`, "false": `write False`, "TRUE": `write True`, "FALSE": `write False`, "NotImplemented": `write fail("not implemented")`, "Ellipsis": `write pass`,
	"ThreadPoolExecutor": parallelHint, "ProcessPoolExecutor": parallelHint, "Thread": parallelHint, "as_completed": parallelHint, "Popen": runHint,
	"dataclass": recordHint, "dataclass_transform": recordHint, "field": recordHint, "namedtuple": recordHint, "asdict": `json.dumps takes a record as it is`, "replace": `a record copies itself: config.replace(lr = 0.2)`,
	"defaultdict": `write d.setdefault(key, []).append(x)`, "Counter": `write d[x] = d.get(x, 0) + 1`, "OrderedDict": `write dict(): it keeps its order`, "deque": `write a list`,
	"deepcopy": `dict(d) and list(xs) copy; a loaded value is frozen and needs none`, "partial": `write a lambda`, "wraps": decoratorHint,
	"List": typingHint, "Dict": typingHint, "Optional": typingHint, "Any": typingHint, "Tuple": typingHint, "Union": typingHint, "Callable": typingHint, "Literal": typingHint,
	"BifrostClient": clientHint, "GPUClient": clientHint, "ProcessSpec": `node.submit([program, …], name = …, working_dir = …, env = {…}) starts a process`, "job_stream_until_complete": `for line in handle.logs(): print(line), then handle.wait()`,
	"start_tmux_session": `node.submit(command, name = …) starts a job in tmux`, "load_config_from_file": `import_module(path) loads a .star file chosen at run time`,
	"nan": `write float("nan")`, "inf": `write float("inf")`,
	"console": `write print(x)`, "echo": `write print(x)`, "println": `write print(x)`, "printf": `write print("%s" % x)`, "require": `write load("./file.star", "name")`, "include": `write load("./file.star", "name")`, "sleep": `write time.sleep(seconds)`, "getenv": `write os.getenv("NAME")`, "environ": `write os.getenv("NAME")`,
}

var exceptionName = m(`^[A-Z]\w*(Error|Exception|Interrupt|Warning)$|^(Exception|BaseException|StopIteration|SystemExit|GeneratorExit)$`)

// undefinedHint is about a name of Python that is undefined here.
func undefinedHint(name string) string {
	if hint := pythonNames[name]; hint != "" {
		return hint
	}
	if name == "SystemExit" {
		return `exit(code) ends the script`
	}
	if exceptionName().MatchString(name) {
		return exceptionHint
	}
	if hint, known := pythonModules[name]; known && hint != "" {
		return hint
	}
	return ""
}

var (
	importStatement = m(`^\s*import\s+(.+)$`)
	fromStatement   = m(`^\s*from\s+(\.*)([\w.]*)\s+import\s+\(?\s*([\w, ]*)`)
)

// importHint is about an import statement.
func importHint(message, line string) string {
	if !strings.HasPrefix(message, "got import,") && !strings.HasPrefix(message, "got from,") {
		return ""
	}
	if found := fromStatement().FindStringSubmatch(line); found != nil {
		return moduleHint(found[2], found[1] != "", "", strings.Split(found[3], ","))
	}
	found := importStatement().FindStringSubmatch(line)
	if found == nil {
		return `there is no import: write load("./file.star", "name")`
	}
	var hints []string
	for module := range strings.SplitSeq(found[1], ",") {
		name, alias, _ := strings.Cut(strings.TrimSpace(module), " as ")
		hint := moduleHint(strings.TrimSpace(name), false, strings.TrimSpace(alias), nil)
		if len(hints) == 0 || hints[len(hints)-1] != hint {
			hints = append(hints, hint)
		}
	}
	return strings.Join(hints, "\n")
}

// moduleHint is what stands for a module of Python, or for names of it.
func moduleHint(module string, relative bool, alias string, names []string) string {
	first, _, _ := strings.Cut(module, ".")
	hint, known := pythonModules[first]
	switch {
	case known && !relative && hint == "" && alias != "" && alias != module:
		return module + " is there already: remove the import, and write " + module + " for " + alias
	case known && !relative && hint == "" && module == "os.path":
		return "os is there already: remove the import; for os.path write Path: Path(a) / b, .exists(), .name"
	case known && !relative && hint == "" && len(names) > 0 && memberHabits[first+"."+strings.TrimSpace(names[0])] != "" && module != "datetime":
		return first + " is there already: remove the import; " + memberHabits[first+"."+strings.TrimSpace(names[0])]
	case known && !relative && hint == "" && len(names) > 0 && module != "datetime":
		return first + " is there already: remove the import, and write " + first + "." + strings.TrimSpace(names[0])
	case known && !relative && hint == "":
		return first + " is there already: remove the import"
	case known && !relative && strings.HasSuffix(hint, "is there already"):
		return hint + ": remove the import"
	case known && !relative:
		return "remove the import; " + hint
	}
	name := "name"
	if len(names) > 0 && strings.TrimSpace(names[0]) != "" {
		name = strings.TrimSpace(names[0])
	}
	path := strings.ReplaceAll(module, ".", "/")
	if path == "" {
		path, name = name, "name"
	}
	return `there is no import: a file of yours is loaded, load("./` + path + `.star", "` + name + `"); packages of Python run on the node only`
}
