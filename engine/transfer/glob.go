package transfer

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/engine/ssh"
)

// maxGlob bounds what Glob takes from a node, in bytes.
const maxGlob = 64 << 20

// Glob returns the paths on the node that match a pattern, sorted by bytes; none is no error. The
// pattern is the shell's: "*", "?" and "[…]" match within one name and not the dot at its beginning,
// a backslash takes the next character for itself. Paths are relative to dir when the pattern is
// relative, else absolute.
func Glob(ctx context.Context, runner ssh.Runner, dir, pattern string) ([]string, error) {
	invalid := func(text string) error {
		return &fault.Error{Kind: fault.Invalid, Op: "glob", Target: pattern, Err: errors.New(text)}
	}
	if pattern == "" {
		return nil, invalid("the pattern is empty")
	}
	if err := checkRemote("glob", dir, pattern); err != nil {
		return nil, err
	}
	for part := range strings.SplitSeq(pattern, "/") {
		if part == "**" {
			return nil, &fault.Error{
				Kind: fault.Invalid, Op: "glob", Target: pattern, Err: errors.New(`"**" is not supported`),
				Hint: `write one "*" for each level, or run find on the node`,
			}
		}
	}
	script := "cd " + ssh.QuotePath(joinRemote(dir, "")) + " || exit 1\n"
	word := ""
	switch rest, home := strings.CutPrefix(pattern, "~/"); {
	case home:
		word = `"$HOME"/` + quotePattern(rest)
	case strings.HasPrefix(pattern, "/"):
		script, word = "", quotePattern(pattern)
	default:
		word = quotePattern(pattern)
	}
	answer := limited{left: maxGlob}
	var stderr tail
	err := runner.Run(ctx, ssh.Command{
		Script: "export LC_ALL=C\n" + script + "for f in " + word + `; do
	if [ -e "$f" ] || [ -L "$f" ]; then printf '%s\000' "$f"; fi
done`,
		Stdout: &answer, Stderr: &stderr,
	})
	switch {
	case answer.over:
		return nil, invalid("it matches more than " + bytesText(maxGlob) + " of names")
	case isExit(err):
		return nil, nodeFault("glob", pattern, &stderr, err)
	case err != nil:
		return nil, err
	}
	var paths []string
	for p := range strings.SplitSeq(strings.TrimSuffix(answer.buf.String(), "\x00"), "\x00") {
		if p != "" {
			paths = append(paths, p)
		}
	}
	slices.Sort(paths)
	return paths, nil
}

// quotePattern returns a pattern as a word of a shell script in which the signs that match are
// active and everything else is quoted.
func quotePattern(pattern string) string {
	var b strings.Builder
	literal := func(s string) {
		if s != "" {
			b.WriteString("'" + strings.ReplaceAll(s, "'", `'\''`) + "'")
		}
	}
	for i := 0; i < len(pattern); {
		switch c := pattern[i]; {
		case c == '*', c == '?':
			b.WriteByte(c)
		case c == '/':
			b.WriteByte(c)
		case c == '\\' && i+1 < len(pattern):
			i++
			literal(pattern[i : i+1])
		case c == '[':
			if n := writeBracket(&b, pattern[i:], literal); n > 0 {
				i += n
				continue
			}
			literal("[")
		default:
			n := strings.IndexAny(pattern[i:], `*?[/\`)
			if n <= 0 {
				n = len(pattern) - i
				if c == '\\' {
					n = 1
				}
			}
			literal(pattern[i : i+n])
			i += n
			continue
		}
		i++
	}
	return b.String()
}

// writeBracket writes a bracket expression, quoting what it holds, and returns its length in the
// pattern; 0 when it has no end and is no such expression.
func writeBracket(b *strings.Builder, s string, literal func(string)) int {
	i := 1
	if i < len(s) && (s[i] == '!' || s[i] == '^') {
		i++
	}
	first := i
	var body []string // alternating: quoted characters, and what stays active
	for ; i < len(s); i++ {
		switch c := s[i]; {
		case c == '/':
			return 0
		case c == ']' && i > first:
			b.WriteByte('[')
			if first == 2 {
				b.WriteByte('!')
			}
			for _, part := range body {
				if part == "-" || strings.HasPrefix(part, "[:") {
					b.WriteString(part)
				} else {
					literal(strings.TrimPrefix(part, "literal "))
				}
			}
			b.WriteByte(']')
			return i + 1
		case c == '-' && i > first && i+1 < len(s) && s[i+1] != ']':
			body = append(body, "-")
		case c == '[' && i+1 < len(s) && s[i+1] == ':':
			end := strings.Index(s[i:], ":]")
			if end < 0 || strings.Trim(s[i+2:i+end], "abcdefghijklmnopqrstuvwxyz") != "" {
				body = append(body, "[")
				continue
			}
			body = append(body, s[i:i+end+2])
			i += end + 1
		case c == '\\' && i+1 < len(s):
			i++
			body = append(body, quotedByte(s[i]))
		default:
			body = append(body, quotedByte(c))
		}
	}
	return 0
}

// quotedByte keeps a literal "-" apart from one that makes a range.
func quotedByte(c byte) string {
	if c == '-' {
		return "literal -"
	}
	return string([]byte{c})
}
