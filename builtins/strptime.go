package builtins

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	star "go.starlark.net/starlark"

	"github.com/bifrost-run/bifrost/internal/lazyregexp"
)

// strptimeParts has what each directive reads, as Python's _strptime has it.
var strptimeParts = map[byte]string{
	'd': `3[0-1]|[1-2]\d|0[1-9]|[1-9]| [1-9]`,
	'f': `[0-9]{1,6}`,
	'H': `2[0-3]|[0-1]\d|\d`,
	'I': `1[0-2]|0[1-9]|[1-9]`,
	'j': `36[0-6]|3[0-5]\d|[1-2]\d\d|0[1-9]\d|00[1-9]|[1-9]\d|0[1-9]|[1-9]`,
	'm': `1[0-2]|0[1-9]|[1-9]`,
	'M': `[0-5]\d|\d`,
	'S': `6[0-1]|[0-5]\d|\d`,
	'y': `\d\d`,
	'Y': `\d\d\d\d`,
	'z': `[+-]\d\d:?[0-5]\d(?::?[0-5]\d(?:\.\d{1,6})?)?|Z`,
	'Z': `utc|gmt`,
	'p': `am|pm`,
	'a': `mon|tue|wed|thu|fri|sat|sun`,
	'A': `monday|tuesday|wednesday|thursday|friday|saturday|sunday`,
	'b': `jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec`,
	'B': `january|february|march|april|may|june|july|august|september|october|november|december`,
}

var spaces = lazyregexp.New(`\s+`)

// strptimePattern is the expression of a format, and the directives of its groups.
func strptimePattern(format string) (*regexp.Regexp, []byte, error) {
	format = strings.NewReplacer("%F", "%Y-%m-%d", "%T", "%H:%M:%S", "%R", "%H:%M", "%X", "%H:%M:%S", "%x", "%m/%d/%y", "%c", "%a %b %d %H:%M:%S %Y").Replace(format)
	var b strings.Builder
	b.WriteString(`^(?i:`)
	var groups []byte
	for i := 0; i < len(format); i++ {
		if format[i] != '%' {
			rest := format[i:]
			if end := strings.IndexByte(rest, '%'); end >= 0 {
				rest = rest[:end]
			}
			b.WriteString(spaces().ReplaceAllString(regexp.QuoteMeta(rest), `\s+`))
			i += len(rest) - 1
			continue
		}
		if i++; i == len(format) {
			return nil, nil, &valueError{"it ends with %", "a percent sign is written %%"}
		}
		d := format[i]
		part, known := strptimeParts[d]
		switch {
		case d == '%':
			b.WriteByte('%')
			continue
		case !known:
			return nil, nil, &valueError{
				fmt.Sprintf("%%%s is no directive that is read here", firstRune(format[i:])),
				"those are %a %A %b %B %c %d %f %H %I %j %m %M %p %S %x %X %y %Y %z %Z %% and %F %R %T",
			}
		case strings.IndexByte(string(groups), d) >= 0:
			return nil, nil, fmt.Errorf("it has %%%c twice", d)
		}
		groups = append(groups, d)
		b.WriteString("(" + part + ")")
	}
	b.WriteString(`)`)
	re, err := regexp.Compile(b.String())
	return re, groups, err
}

func datetimeStrptimeEntry() *Entry {
	return &Entry{
		Name: "strptime", Result: "datetime", Capabilities: pure,
		Doc: "Returns the time that a text says in a format, with a zone where the format has %z. Text in another format is an error of kind \"data\".",
		Params: []Param{
			{Name: "date_string", Kind: messageKind(), Doc: "the text"},
			formatParam(),
		},
		Example: `print(datetime.strptime("20240506-070809", "%Y%m%d-%H%M%S"))  # 2024-05-06 07:08:09`,
		run: func(c *Call) (star.Value, error) {
			text, format := arg[string](c, "date_string"), arg[string](c, "format")
			re, groups, err := strptimePattern(format)
			if err != nil {
				return nil, c.wrongValue("format", err)
			}
			found := re.FindStringSubmatch(text)
			switch {
			case found == nil:
				return nil, dataError(c.name, fmt.Sprintf("time data %q does not match format %q", text, format))
			case len(found[0]) < len(text):
				return nil, dataError(c.name, fmt.Sprintf("unconverted data remains: %s", text[len(found[0]):]))
			}
			m, err := c.lib.momentOf(groups, found[1:])
			if err != nil {
				return nil, dataError(c.name, err.Error())
			}
			return c.lib.datetime(c.name, m)
		},
	}
}

// momentOf puts together what the directives have read.
func (l *Library) momentOf(directives []byte, texts []string) (moment, error) {
	parts := [7]int{1900, 1, 1}
	var m moment
	afternoon, hour12, yearDay := false, false, 0
	for i, d := range directives {
		text := strings.ToLower(strings.TrimSpace(texts[i]))
		n, _ := strconv.Atoi(text)
		switch d {
		case 'Y':
			parts[0] = n
		case 'y':
			if parts[0] = 1900 + n; n < 69 {
				parts[0] = 2000 + n
			}
		case 'm':
			parts[1] = n
		case 'b', 'B':
			parts[1] = strings.Index(strptimeParts['b'], text[:3])/4 + 1
		case 'd':
			parts[2] = n
		case 'j':
			yearDay = n
		case 'H':
			parts[3] = n
		case 'I':
			parts[3], hour12 = n%12, true
		case 'p':
			afternoon = text == "pm"
		case 'M':
			parts[4] = n
		case 'S':
			parts[5] = n
		case 'f':
			parts[6], _ = strconv.Atoi((text + "00000")[:6])
		case 'z':
			m.zone = l.timezone(parseOffset(text))
		}
	}
	if hour12 && afternoon {
		parts[3] += 12
	}
	var err error
	m.wall, err = wallOf(parts)
	if err == nil && yearDay > 0 && !strings.ContainsAny(string(directives), "mdbB") {
		m.wall = m.wall.AddDate(0, 0, yearDay-1)
	}
	return m, err
}

// parseOffset reads +02:00, +0200, with seconds and their fraction, or Z, in microseconds.
func parseOffset(text string) int64 {
	if strings.EqualFold(text, "z") {
		return 0
	}
	whole, fraction, _ := strings.Cut(text[1:], ".")
	digits := strings.ReplaceAll(whole, ":", "") + "00"
	at := func(i int) int64 { n, _ := strconv.Atoi(digits[i : i+2]); return int64(n) }
	micros := (at(0)*3600 + at(2)*60 + at(4)) * microsPerSecond
	if fraction != "" {
		n, _ := strconv.Atoi((fraction + "00000")[:6])
		micros += int64(n)
	}
	if text[0] == '-' {
		return -micros
	}
	return micros
}

var isoDate = lazyregexp.New(`^(\d{4})-(\d\d)-(\d\d)(?:.(\d\d)(?::(\d\d)(?::(\d\d)(?:[.,](\d+))?)?)?(Z|[+-]\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?)?)?$`)

func datetimeFromisoformatEntry() *Entry {
	return &Entry{
		Name: "fromisoformat", Result: "datetime", Capabilities: pure,
		Doc:     "Returns the time that a text in the format of `isoformat` says. The shorter formats of ISO 8601, without dashes or with weeks, are refused.",
		Params:  []Param{{Name: "date_string", Kind: messageKind(), Doc: "the text"}},
		Example: `print(datetime.fromisoformat("2024-05-06T07:08:09Z"))  # 2024-05-06 07:08:09+00:00`,
		run: func(c *Call) (star.Value, error) {
			text := arg[string](c, "date_string")
			found := isoDate().FindStringSubmatch(text)
			if found == nil {
				return nil, dataError(c.name, fmt.Sprintf("Invalid isoformat string: %q", text))
			}
			var parts [7]int
			for i := range 6 {
				parts[i], _ = strconv.Atoi(found[i+1])
			}
			if found[7] != "" {
				parts[6], _ = strconv.Atoi((found[7] + "00000")[:6])
			}
			w, err := wallOf(parts)
			if err != nil {
				return nil, dataError(c.name, err.Error())
			}
			m := moment{wall: w}
			if found[8] != "" {
				m.zone = c.lib.timezone(parseOffset(found[8]))
			}
			return c.lib.datetime(c.name, m)
		},
	}
}
