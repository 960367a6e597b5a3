package builtins

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/big"
	"strconv"
	"strings"
	"time"

	star "go.starlark.net/starlark"
	"go.yaml.in/yaml/v3"

	"github.com/bifrost-run/bifrost/internal/lazyregexp"
)

// mostYAMLPairs is how many keys merges may bring in.
const mostYAMLPairs = 1 << 20

// A yamlParser makes values of the nodes of a document. An alias is the same value again, as in
// Python, so that aliases of aliases stay small.
type yamlParser struct {
	lib   *Library
	op    string
	known map[*yaml.Node]star.Value // nil while it is being made
	depth int
	pairs int
}

func (l *Library) parseYAML(op, text string) ([]star.Value, error) {
	var all []star.Value
	decoder := yaml.NewDecoder(strings.NewReader(text))
	for {
		var document yaml.Node
		err := decoder.Decode(&document)
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, dataError(op, strings.TrimPrefix(err.Error(), "yaml: "))
		}
		p := &yamlParser{lib: l, op: op, known: map[*yaml.Node]star.Value{}}
		v, err := p.value(document.Content[0])
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
}

func (p *yamlParser) fail(n *yaml.Node, format string, args ...any) error {
	return dataError(p.op, fmt.Sprintf("line %d, column %d: ", n.Line, n.Column)+fmt.Sprintf(format, args...))
}

func (p *yamlParser) value(n *yaml.Node) (star.Value, error) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if v, again := p.known[n]; again {
		if v == nil {
			return nil, p.fail(n, "it contains itself")
		}
		return v, nil
	}
	if p.depth++; p.depth > deepestNesting {
		return nil, p.fail(n, "nested more than %d deep", deepestNesting)
	}
	defer func() { p.depth-- }()
	p.known[n] = nil
	v, err := p.make(n)
	p.known[n] = v
	return v, err
}

func (p *yamlParser) make(n *yaml.Node) (star.Value, error) {
	tag := ""
	if n.Style&yaml.TaggedStyle != 0 {
		tag = n.ShortTag()
	}
	switch {
	case n.Kind == yaml.SequenceNode && (tag == "" || tag == "!!seq"):
		list := star.NewList(nil)
		for _, item := range n.Content {
			v, err := p.value(item)
			if err == nil {
				err = list.Append(v)
			}
			if err != nil {
				return nil, err
			}
		}
		return list, nil
	case n.Kind == yaml.MappingNode && (tag == "" || tag == "!!map"):
		return p.dict(n)
	case n.Kind == yaml.ScalarNode:
		return p.scalar(n, tag)
	}
	return nil, p.fail(n, "could not determine a constructor for the tag %s: only YAML's own are read", tag)
}

func (p *yamlParser) dict(n *yaml.Node) (star.Value, error) {
	pairs, err := p.flatten(n, 0)
	if err != nil {
		return nil, err
	}
	dict := star.NewDict(len(pairs))
	for _, kv := range pairs {
		key, err := p.value(kv[0])
		if err != nil {
			return nil, err
		}
		if _, err := key.Hash(); err != nil {
			return nil, p.fail(kv[0], "found unhashable key, a %s", key.Type())
		}
		v, err := p.value(kv[1])
		if err == nil {
			err = dict.SetKey(key, v)
		}
		if err != nil {
			return nil, err
		}
	}
	return dict, nil
}

// flatten returns the pairs of a mapping, those that it merges with << first.
func (p *yamlParser) flatten(n *yaml.Node, depth int) ([][2]*yaml.Node, error) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Kind != yaml.MappingNode {
		return nil, p.fail(n, "expected a mapping or list of mappings for merging")
	}
	if depth > 100 {
		return nil, p.fail(n, "merged more than 100 deep")
	}
	var merged, own [][2]*yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind != yaml.ScalarNode || key.Value != "<<" || key.Style != 0 {
			own = append(own, [2]*yaml.Node{key, value})
			continue
		}
		sources := []*yaml.Node{value}
		if value.Kind == yaml.AliasNode {
			value = value.Alias
		}
		if value.Kind == yaml.SequenceNode {
			sources = value.Content
		}
		for j := len(sources) - 1; j >= 0; j-- { // the first one counts most
			more, err := p.flatten(sources[j], depth+1)
			if err != nil {
				return nil, err
			}
			merged = append(merged, more...)
			if p.pairs += len(more) + 1; p.pairs > mostYAMLPairs {
				return nil, p.fail(n, "merges bring in more than %d keys", mostYAMLPairs)
			}
		}
	}
	return append(merged, own...), nil
}

func (p *yamlParser) scalar(n *yaml.Node, tag string) (star.Value, error) {
	if tag == "" {
		tag = "!!str"
		if n.Style == 0 {
			tag = yamlTag(n.Value)
		}
	}
	bad := func() error { return p.fail(n, "%q is no %s", n.Value, tag) }
	switch tag {
	case "!!str", "!", "!!value", "!!merge":
		return star.String(n.Value), nil
	case "!!null":
		return star.None, nil
	case "!!bool":
		switch strings.ToLower(n.Value) {
		case "yes", "true", "on":
			return star.True, nil
		case "no", "false", "off":
			return star.False, nil
		}
		return nil, bad()
	case "!!int":
		if i, ok := yamlInt(n.Value); ok {
			return i, nil
		}
		return nil, bad()
	case "!!float":
		if f, ok := yamlFloat(n.Value); ok {
			return f, nil
		}
		return nil, bad()
	case "!!timestamp":
		return p.timestamp(n)
	case "!!binary":
		data, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(n.Value), ""))
		if err != nil {
			return nil, bad()
		}
		return star.Bytes(data), nil
	}
	return nil, p.fail(n, "could not determine a constructor for the tag %s: only YAML's own are read", tag)
}

// yamlTags are the tags of plain text, in the order in which PyYAML tries them.
var yamlTags = []struct {
	tag string
	re  lazyregexp.Regexp
}{
	{"!!bool", lazyregexp.New(`^(?:yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF)$`)},
	{"!!float", lazyregexp.New(`^(?:[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+][0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?|[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+\.[0-9_]*|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$`)},
	{"!!int", lazyregexp.New(`^(?:[-+]?0b[0-1_]+|[-+]?0[0-7_]+|[-+]?(?:0|[1-9][0-9_]*)|[-+]?0x[0-9a-fA-F_]+|[-+]?[1-9][0-9_]*(?::[0-5]?[0-9])+)$`)},
	{"!!merge", lazyregexp.New(`^<<$`)},
	{"!!null", lazyregexp.New(`^(?:~|null|Null|NULL|)$`)},
	{"!!timestamp", yamlTimestamp},
	{"!!value", lazyregexp.New(`^=$`)},
}

var yamlTimestamp = lazyregexp.New(`^([0-9]{4})-([0-9][0-9]?)-([0-9][0-9]?)(?:(?:[Tt]|[ \t]+)([0-9][0-9]?):([0-9][0-9]):([0-9][0-9])(?:\.([0-9]*))?(?:[ \t]*(?:(Z)|([-+])([0-9][0-9]?)(?::([0-9][0-9]))?))?)?$`)

// yamlTag is the type of plain text.
func yamlTag(text string) string {
	for _, t := range yamlTags {
		if t.re().MatchString(text) {
			if m := t.re().FindStringSubmatch(text); t.tag == "!!timestamp" && m[4] == "" && len(text) != len("2024-05-06") {
				continue // a date alone has all its digits
			}
			return t.tag
		}
	}
	return "!!str"
}

func yamlInt(text string) (star.Value, bool) {
	s := strings.ReplaceAll(text, "_", "")
	sign := ""
	if strings.HasPrefix(s, "-") || strings.HasPrefix(s, "+") {
		sign, s = strings.TrimPrefix(s[:1], "+"), s[1:]
	}
	base := 10
	switch {
	case s == "0":
	case strings.HasPrefix(s, "0b"):
		s, base = s[2:], 2
	case strings.HasPrefix(s, "0x"):
		s, base = s[2:], 16
	case strings.HasPrefix(s, "0"):
		base = 8
	}
	if len(s) > longestInt {
		return nil, false
	}
	total := new(big.Int)
	for digit := range strings.SplitSeq(s, ":") { // 1:30 is 90
		n, ok := new(big.Int).SetString(digit, base)
		if !ok {
			return nil, false
		}
		total.Add(total.Mul(total, big.NewInt(60)), n)
	}
	if sign == "-" {
		total.Neg(total)
	}
	return star.MakeBigInt(total), true
}

func yamlFloat(text string) (star.Value, bool) {
	s := strings.ToLower(strings.ReplaceAll(text, "_", ""))
	sign := 1.0
	if strings.HasPrefix(s, "-") || strings.HasPrefix(s, "+") {
		if s[0] == '-' {
			sign = -1
		}
		s = s[1:]
	}
	total := 0.0
	for digit := range strings.SplitSeq(strings.TrimPrefix(s, "."), ":") {
		if !strings.Contains(s, ":") {
			digit = s
		}
		f, err := strconv.ParseFloat(strings.NewReplacer(".inf", "inf", ".nan", "nan").Replace(digit), 64)
		if err != nil && !errors.Is(err, strconv.ErrRange) {
			return nil, false
		}
		total = total*60 + f
	}
	return star.Float(sign * total), true
}

func (p *yamlParser) timestamp(n *yaml.Node) (star.Value, error) {
	m := yamlTimestamp().FindStringSubmatch(n.Value)
	if m == nil {
		return nil, p.fail(n, "%q is no !!timestamp", n.Value)
	}
	if m[4] == "" {
		return nil, p.fail(n, "%s is a date without a time, for which there is no type here: put it in quotes", n.Value)
	}
	number := func(s string) int { i, _ := strconv.Atoi(s); return i }
	var parts [7]int
	for i := range 6 {
		parts[i] = number(m[i+1])
	}
	parts[6] = number((m[7] + "000000")[:6])
	w, err := wallOf(parts)
	if err != nil {
		return nil, p.fail(n, "%v", err)
	}
	t := moment{wall: w}
	switch {
	case m[9] != "":
		minutes := number(m[10])*60 + number(m[11])
		if m[9] == "-" {
			minutes = -minutes
		}
		t.zone = p.lib.timezone(int64(minutes) * int64(time.Minute/time.Microsecond))
	case m[8] != "":
		t.zone = p.lib.timezone(0)
	}
	return p.lib.datetime(p.op, t)
}
