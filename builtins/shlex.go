package builtins

import (
	"errors"
	"strings"

	star "go.starlark.net/starlark"

	"github.com/bifrost-run/bifrost/internal/lazyregexp"
)

func shlexModule() *Module {
	wanted := Kind{"list of str", func(_ *Call, v star.Value) (any, error) {
		if _, ok := v.(star.String); ok {
			return nil, want(v, "a list of strings")
		}
		return each(v, "a list of strings", func(v star.Value) (string, error) { return text(v, "a string; str(x) makes one") })
	}}
	line := Kind{"str", func(_ *Call, v star.Value) (any, error) { return text(v, "a string; str(x) makes one") }}
	return &Module{
		Name: "shlex", Doc: "Words of a shell. A command that is a list of arguments needs none of it: no shell reads it.",
		Entries: []*Entry{
			{
				Name: "quote", Result: "str", Capabilities: pure,
				Doc:     "Returns the text as one word of a shell, whatever is in it.",
				Example: `print("ls " + shlex.quote("my file"))  # ls 'my file'`,
				Params:  []Param{{Name: "s", Kind: line, Doc: "the text"}},
				run:     func(c *Call) (star.Value, error) { return star.String(shellQuote(arg[string](c, "s"))), nil },
			},
			{
				Name: "join", Result: "str", Capabilities: pure,
				Doc:     "Returns the words, each quoted, as one command line.",
				Example: `print(shlex.join(["grep", "-e", "a b", "x"]))  # grep -e 'a b' x`,
				Params:  []Param{{Name: "split_command", Kind: wanted, Doc: "the words"}},
				run: func(c *Call) (star.Value, error) {
					words := arg[[]string](c, "split_command")
					quoted := make([]string, len(words))
					for i, w := range words {
						quoted[i] = shellQuote(w)
					}
					return star.String(strings.Join(quoted, " ")), nil
				},
			},
			{
				Name: "split", Result: "list of str", Capabilities: pure,
				Doc:     "Takes a command line apart into its words, as a POSIX shell would, without expanding anything.",
				Example: `print(shlex.split("python train.py --name 'my run'"))  # ["python", "train.py", "--name", "my run"]`,
				Params: []Param{
					{Name: "s", Kind: line, Doc: "the command line"},
					{Name: "comments", Kind: boolKind(), Default: star.False, Doc: "a word that starts with # begins a comment, which ends with the line"},
				},
				run: func(c *Call) (star.Value, error) {
					words, err := shellSplit(arg[string](c, "s"), arg[bool](c, "comments"))
					if err != nil {
						return nil, c.wrongValue("s", err)
					}
					return stringList(words), nil
				},
			},
		},
	}
}

var unsafeInShell = lazyregexp.New(`[^\w@%+=:,./-]`)

func shellQuote(s string) string {
	if s != "" && !unsafeInShell().MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'"'"'`) + "'"
}

// shellSplit is Python's shlex.split: quotes and backslashes make words of what has spaces.
func shellSplit(s string, comments bool) ([]string, error) {
	words := []string{}
	var word strings.Builder
	inWord := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case strings.IndexByte(" \t\r\n", c) >= 0:
			if inWord {
				words = append(words, word.String())
			}
			word.Reset()
			inWord = false
		case c == '#' && comments:
			if inWord {
				words = append(words, word.String())
			}
			word.Reset()
			inWord = false
			end := strings.IndexByte(s[i:], '\n')
			if end < 0 {
				return words, nil
			}
			i += end
		case c == '\\':
			if i++; i == len(s) {
				return nil, errors.New("it ends with a backslash, which escapes nothing")
			}
			word.WriteByte(s[i])
			inWord = true
		case c == '\'':
			end := strings.IndexByte(s[i+1:], '\'')
			if end < 0 {
				return nil, errors.New("a quote ' is not closed")
			}
			word.WriteString(s[i+1 : i+1+end])
			i, inWord = i+1+end, true
		case c == '"':
			for i++; i < len(s) && s[i] != '"'; i++ {
				if s[i] == '\\' && i+1 < len(s) && (s[i+1] == '"' || s[i+1] == '\\') {
					i++
				}
				word.WriteByte(s[i])
			}
			if i == len(s) {
				return nil, errors.New(`a quote " is not closed`)
			}
			inWord = true
		default:
			word.WriteByte(c)
			inWord = true
		}
	}
	if inWord {
		words = append(words, word.String())
	}
	return words, nil
}
