package argparse

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	star "go.starlark.net/starlark"
)

// A UsageError is a command line that a parser does not take.
type UsageError struct{ Message string }

func (e *UsageError) Error() string { return e.Message }

// A Shown is the end of parsing because the user asked for a text: the help, the version.
type Shown struct{ Text string }

func (e *Shown) Error() string { return "shown: " + e.Text }

// A Value is one entry of what Parse returns.
type Value struct {
	Name  string
	Value star.Value
}

// A parsing is one command line on its way into a namespace.
type parsing struct {
	parser *Parser
	call   Call
	width  int

	args     []string
	pattern  string          // what each of args is: 'O', 'A' or '-'
	options  map[int]matched // by index into args
	rest     []*Action       // positional arguments that are still to come
	extras   []string
	seen     map[*Action]bool
	explicit map[*Action]bool // seen, and not by its default
	values   []Value
}

// A matched is a string that is an option. The action is nil for one that the parser does not know.
type matched struct {
	action   *Action
	flag     string
	explicit *string // what stands behind "=" or the letter
}

// Parse returns what the arguments say, by name, in the order of the parser's arguments. Call is called
// for types that are functions of the script's. The errors are *UsageError, *Shown, and those of Call
// that are none of the user's.
func (p *Parser) Parse(args []string, width int, call Call) ([]Value, error) {
	s := &parsing{
		parser: p, call: call, width: width, args: args,
		options: map[int]matched{}, seen: map[*Action]bool{}, explicit: map[*Action]bool{},
	}
	for _, a := range p.actions {
		if a.Dest != Suppress && s.get(a.Dest) == nil && !suppresses(a.Default) {
			s.set(a.Dest, a.Default)
		}
		if len(a.Flags) == 0 {
			s.rest = append(s.rest, a)
		}
	}
	for _, d := range p.defaults {
		if s.get(d.name) == nil {
			s.set(d.name, d.value)
		}
	}
	if err := s.run(); err != nil {
		return nil, err
	}
	if len(s.extras) > 0 {
		return nil, &UsageError{"unrecognized arguments: " + strings.Join(s.extras, " ")}
	}
	return s.values, nil
}

func suppresses(v star.Value) bool { return v == star.String(Suppress) }

func (s *parsing) get(name string) star.Value {
	for _, v := range s.values {
		if v.Name == name {
			return v.Value
		}
	}
	return nil
}

func (s *parsing) set(name string, v star.Value) {
	for i := range s.values {
		if s.values[i].Name == name {
			s.values[i].Value = v
			return
		}
	}
	s.values = append(s.values, Value{name, v})
}

// classify finds out what each argument is.
func (s *parsing) classify() error {
	var pattern strings.Builder
	for i, arg := range s.args {
		if arg == "--" {
			pattern.WriteString("-" + strings.Repeat("A", len(s.args)-i-1))
			break
		}
		m, isOption, err := s.parser.lookUp(arg)
		if err != nil {
			return err
		}
		if isOption {
			s.options[i] = m
			pattern.WriteByte('O')
		} else {
			pattern.WriteByte('A')
		}
	}
	s.pattern = pattern.String()
	return nil
}

// run takes positional arguments and options in turn until the last option is behind it.
func (s *parsing) run() error {
	if err := s.classify(); err != nil {
		return err
	}
	last := -1
	for i := range s.options {
		last = max(last, i)
	}
	at := 0
	for at <= last {
		next := at
		for s.pattern[next] != 'O' {
			next++
		}
		if at != next {
			end, err := s.takePositionals(at)
			if err != nil {
				return err
			}
			if end > at {
				at = end
				continue
			}
		}
		if s.pattern[at] != 'O' {
			s.extras = append(s.extras, s.args[at:next]...)
			at = next
		}
		var err error
		if at, err = s.takeOption(at); err != nil {
			return err
		}
	}
	end, err := s.takePositionals(at)
	if err != nil {
		return err
	}
	s.extras = append(s.extras, s.args[end:]...)
	return s.finish()
}

// takePositionals gives as many positional arguments as possible their strings.
func (s *parsing) takePositionals(at int) (int, error) {
	var counts []int
	for n := len(s.rest); n > 0; n-- {
		var p strings.Builder
		p.WriteByte('^')
		for _, a := range s.rest[:n] {
			p.WriteString(a.pattern())
		}
		m := regexp.MustCompile(p.String()).FindStringSubmatch(s.pattern[at:])
		if m == nil {
			continue
		}
		for _, group := range m[1:] {
			counts = append(counts, len(group))
		}
		break
	}
	taken := s.rest[:len(counts)]
	s.rest = s.rest[len(counts):]
	for i, a := range taken {
		if err := s.take(a, s.args[at:at+counts[i]], ""); err != nil {
			return 0, err
		}
		at += counts[i]
	}
	return at, nil
}

// takeOption takes the option at an index, those that are written together with it ("-xyz"), and its
// strings.
func (s *parsing) takeOption(at int) (int, error) {
	type use struct {
		action *Action
		args   []string
		flag   string
	}
	var uses []use
	m := s.options[at]
	stop := at + 1
	for {
		if m.action == nil {
			s.extras = append(s.extras, s.args[at])
			return at + 1, nil
		}
		if m.explicit == nil {
			n, err := m.action.matchOne(s.pattern[at+1:])
			if err != nil {
				return 0, err
			}
			stop = at + 1 + n
			uses = append(uses, use{m.action, s.args[at+1 : stop], m.flag})
			break
		}
		n, err := m.action.matchOne("A")
		if err != nil {
			return 0, err
		}
		if n == 1 {
			uses = append(uses, use{m.action, []string{*m.explicit}, m.flag})
			break
		}
		letters := []rune(*m.explicit)
		if n != 0 || strings.HasPrefix(m.flag, "--") || len(letters) == 0 {
			return 0, m.action.errorf("ignored explicit argument %s", Quote(*m.explicit))
		}
		uses = append(uses, use{m.action, nil, m.flag})
		flag := "-" + string(letters[0])
		next := s.parser.option(flag)
		if next == nil {
			return 0, m.action.errorf("ignored explicit argument %s", Quote(*m.explicit))
		}
		m = matched{action: next, flag: flag}
		if len(letters) > 1 {
			tail := string(letters[1:])
			m.explicit = &tail
		}
	}
	for _, u := range uses {
		if err := s.take(u.action, u.args, u.flag); err != nil {
			return 0, err
		}
	}
	return stop, nil
}

// take does what an argument is for, with the strings that it was given.
func (s *parsing) take(a *Action, args []string, flag string) error {
	s.seen[a] = true
	v, isDefault, err := s.valueOf(a, args)
	if err != nil {
		return err
	}
	if !isDefault {
		s.explicit[a] = true
		if a.mutex != nil {
			for _, other := range a.mutex.actions {
				if other != a && s.explicit[other] {
					return a.errorf("not allowed with argument %s", other.shown())
				}
			}
		}
	}
	if suppresses(v) {
		return nil
	}
	switch a.Action {
	case "store":
		s.set(a.Dest, v)
	case "store_const", "store_true", "store_false":
		s.set(a.Dest, or(a.Const, star.None))
	case "append":
		s.extend(a, v)
	case "append_const":
		s.extend(a, or(a.Const, star.None))
	case "extend":
		s.extend(a, slices.Collect(star.Elements(v.(star.Iterable)))...)
	case "count":
		n, ok := s.get(a.Dest).(star.Int)
		if !ok {
			n = star.MakeInt(0)
		}
		s.set(a.Dest, n.Add(star.MakeInt(1)))
	case "BooleanOptionalAction":
		s.set(a.Dest, star.Bool(!strings.HasPrefix(flag, "--no-")))
	case "help":
		return &Shown{s.parser.Help(s.width)}
	case "version":
		return &Shown{s.parser.version(a.Version, s.width)}
	}
	return nil
}

// extend adds to the list of a name, which is a new one, so that the default stays as it is.
func (s *parsing) extend(a *Action, values ...star.Value) {
	var items []star.Value
	if have, ok := s.get(a.Dest).(star.Iterable); ok {
		items = slices.Collect(star.Elements(have))
	}
	s.set(a.Dest, star.NewList(append(items, values...)))
}

// finish converts the defaults that stay and finds out what is missing.
func (s *parsing) finish() error {
	var missing []string
	for _, a := range s.parser.actions {
		if s.seen[a] {
			continue
		}
		if a.Required {
			missing = append(missing, a.shown())
			continue
		}
		text, isString := a.Default.(star.String)
		if have, ok := s.get(a.Dest).(star.String); !isString || !ok || have != text {
			continue
		}
		v, err := s.convert(a, string(text))
		if err != nil {
			return err
		}
		s.set(a.Dest, v)
	}
	if len(missing) > 0 {
		return &UsageError{"the following arguments are required: " + strings.Join(missing, ", ")}
	}
	for _, m := range s.parser.mutexes {
		if !m.Required || slices.ContainsFunc(m.actions, func(a *Action) bool { return s.explicit[a] }) {
			continue
		}
		var names []string
		for _, a := range m.actions {
			if !a.suppressed() {
				names = append(names, a.shown())
			}
		}
		return &UsageError{fmt.Sprintf("one of the arguments %s is required", strings.Join(names, " "))}
	}
	return nil
}

// lookUp finds the option that an argument is, abbreviated or not, and reports false for an argument
// that is none.
func (p *Parser) lookUp(arg string) (matched, bool, error) {
	if !strings.HasPrefix(arg, "-") {
		return matched{}, false, nil
	}
	if a := p.option(arg); a != nil {
		return matched{action: a, flag: arg}, true, nil
	}
	if arg == "-" {
		return matched{}, false, nil
	}
	if flag, value, found := strings.Cut(arg, "="); found {
		if a := p.option(flag); a != nil {
			return matched{action: a, flag: flag, explicit: &value}, true, nil
		}
	}
	candidates := p.candidates(arg)
	switch {
	case len(candidates) > 1:
		var flags []string
		for _, m := range candidates {
			flags = append(flags, m.flag)
		}
		return matched{}, false, &UsageError{fmt.Sprintf("ambiguous option: %s could match %s", arg, strings.Join(flags, ", "))}
	case len(candidates) == 1:
		return candidates[0], true, nil
	case negativeNumber().MatchString(arg) && !p.negative, strings.Contains(arg, " "):
		return matched{}, false, nil
	}
	return matched{flag: arg}, true, nil
}

// candidates are the options that an argument may mean: those that begin with it, and the one-letter
// option with its value glued to it.
func (p *Parser) candidates(arg string) []matched {
	var found []matched
	if strings.HasPrefix(arg, "--") {
		if p.NoAbbrev {
			return nil
		}
		prefix, value, hasValue := strings.Cut(arg, "=")
		for _, o := range p.options {
			if strings.HasPrefix(o.flag, prefix) {
				m := matched{action: o.action, flag: o.flag}
				if hasValue {
					m.explicit = &value
				}
				found = append(found, m)
			}
		}
		return found
	}
	letters := []rune(arg)
	short, tail := string(letters[:2]), string(letters[2:])
	for _, o := range p.options {
		switch {
		case o.flag == short:
			found = append(found, matched{action: o.action, flag: o.flag, explicit: &tail})
		case strings.HasPrefix(o.flag, arg):
			found = append(found, matched{action: o.action, flag: o.flag})
		}
	}
	return found
}
