package builtins

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/bifrost-run/bifrost/engine/fault"
)

// ReadDotenv returns the variables of a .env file, none when there is no such file; see ParseDotenv. Its
// errors hold no values.
func ReadDotenv(path string) (map[string]string, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, &fault.Error{Kind: fault.Invalid, Op: "read", Target: path, Err: err}
	}
	defer f.Close()
	vars, err := ParseDotenv(f)
	if err != nil {
		return nil, &fault.Error{Kind: fault.Invalid, Op: "read", Target: path, Err: err, Hint: "lines are NAME=value; quotes go around the whole value"}
	}
	return vars, nil
}

// ParseDotenv reads lines of NAME=value. Blank lines and lines that begin with # are skipped, as is
// "export " in front. A value in single quotes is taken as it is; in double quotes \n, \", \\ and \$ are
// escapes; without quotes it ends at " #" and is trimmed. Nothing is expanded. Errors name the line
// and never its value.
func ParseDotenv(r io.Reader) (map[string]string, error) {
	vars := map[string]string{}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for number := 1; lines.Scan(); number++ {
		line := strings.TrimSpace(strings.TrimPrefix(lines.Text(), "\uFEFF"))
		if line == "" || line[0] == '#' {
			continue
		}
		line = strings.TrimSpace(strings.TrimPrefix(line, "export "))
		name, value, found := strings.Cut(line, "=")
		name = strings.TrimSpace(name)
		if !found || !variableName().MatchString(name) {
			return nil, fmt.Errorf("line %d is not NAME=value", number)
		}
		value, err := dotenvValue(strings.TrimSpace(value))
		if err != nil {
			return nil, fmt.Errorf("line %d: %s: %w", number, name, err)
		}
		vars[name] = value
	}
	return vars, lines.Err()
}

func dotenvValue(s string) (string, error) {
	if s == "" || (s[0] != '"' && s[0] != '\'') {
		if i := strings.Index(s, " #"); i >= 0 {
			s = strings.TrimSpace(s[:i])
		}
		return s, nil
	}
	quote := s[0]
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == quote:
			if rest := strings.TrimSpace(s[i+1:]); rest != "" && rest[0] != '#' {
				return "", errors.New("there is text after the closing quote")
			}
			return b.String(), nil
		case s[i] == '\\' && quote == '"' && i+1 < len(s):
			i++
			switch s[i] {
			case 'n':
				b.WriteByte('\n')
			case 't':
				b.WriteByte('\t')
			case '"', '\\', '$':
				b.WriteByte(s[i])
			default:
				b.WriteByte('\\')
				b.WriteByte(s[i])
			}
		default:
			b.WriteByte(s[i])
		}
	}
	return "", errors.New("the quote is not closed")
}
