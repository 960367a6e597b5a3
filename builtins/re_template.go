package builtins

import (
	"fmt"
	"strconv"
	"strings"

	star "go.starlark.net/starlark"

	"github.com/bifrost-run/bifrost/internal/lazyregexp"
)

// templateEscape is what may stand in the replacement of re.sub behind a backslash.
var templateEscape = lazyregexp.New(`^\\(?:g<([^>]*)>|(0[0-7]{0,2}|[1-3][0-7]{2})|([1-9][0-9]?)|(.))`)

// expand puts the groups of a match into a replacement.
func (c *Call) expand(template string, m *matched) (string, error) {
	var b strings.Builder
	for i := 0; i < len(template); {
		if template[i] != '\\' {
			b.WriteByte(template[i])
			i++
			continue
		}
		found := templateEscape().FindStringSubmatch(template[i:])
		switch {
		case found == nil:
			return "", fmt.Errorf("bad escape (end of pattern) at position %d", i)
		case found[2] != "":
			n, err := strconv.ParseUint(found[2], 8, 8)
			if err != nil {
				return "", fmt.Errorf(`octal escape value \%s outside of range 0-0o377 at position %d`, found[2], i)
			}
			b.WriteRune(rune(n))
		case found[4] != "":
			text, err := plainEscape(found[4], i)
			if err != nil {
				return "", err
			}
			b.WriteString(text)
		default:
			group, err := m.reference(found[1]+found[3], i)
			if err != nil {
				return "", err
			}
			text, _ := star.AsString(m.group(group, star.String("")))
			b.WriteString(text)
		}
		i += len(found[0])
	}
	return b.String(), nil
}

// reference is the number of a group that a replacement names.
func (m *matched) reference(name string, position int) (int, error) {
	if n, err := strconv.Atoi(name); err == nil {
		if n < 0 || n >= len(m.pattern.groups) {
			return 0, fmt.Errorf("invalid group reference %d at position %d", n, position+1)
		}
		return n, nil
	}
	if n, known := m.pattern.names[name]; known {
		return n, nil
	}
	return 0, fmt.Errorf("unknown group name '%s'", name)
}

func plainEscape(c string, position int) (string, error) {
	if c == `\` {
		return `\`, nil
	}
	if r, known := controls[c[0]]; known {
		return string(r), nil
	}
	switch {
	case c == "b":
		return "\b", nil
	case c == "g":
		return "", fmt.Errorf("missing group name at position %d", position+2)
	case identifier().MatchString(c) && c != "_":
		return "", fmt.Errorf(`bad escape \%s at position %d`, c, position)
	}
	return `\` + c, nil
}
