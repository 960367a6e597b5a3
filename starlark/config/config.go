// Package config reads bifrost.toml, the file that marks the root of a folder of scripts and says
// what holds for them. It is the only place that reads it. It depends on a TOML library and on
// packages spell and policy.
//
//	c, err := config.Read(root)
//	for name, m := range c.Modules { fmt.Println(name, m.Git) }
package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"

	"github.com/bifrost-run/bifrost/internal/lazyregexp"
	"github.com/bifrost-run/bifrost/starlark/spell"
)

// File is the name of the file.
const File = "bifrost.toml"

// maxSize is the size in bytes up to which a file is taken for a configuration.
const maxSize = 1 << 20

// A Config is what bifrost.toml says. The zero value is that of an empty or missing file.
type Config struct {
	// MaxPrice is what a machine that is rented may cost, in USD per GPU and hour, and MaxCost what a job may
	// cost, in USD; 0 means no limit.
	MaxPrice float64 `toml:"max_price"`
	MaxCost  float64 `toml:"max_cost"`
	// MaxCostPerHour is what the machines of a run may cost together, in USD per hour; 0 means no limit.
	MaxCostPerHour float64 `toml:"max_cost_per_hour"`
	// Allow is what scripts may do beyond what every script may, and Deny what nobody may.
	Allow Grants `toml:"allow"`
	Deny  Grants `toml:"deny"`
	// Modules are the vendored modules by the name that scripts load them by: load("@NAME//x.star").
	Modules map[string]Module `toml:"modules"`
}

// A Module says where a vendored module comes from. What it is pinned to is in the lock.
type Module struct {
	Git string `toml:"git"` // the URL that it was added from
	Ref string `toml:"ref"` // the branch, tag or commit that was asked for; "" for the default branch

	Allow Grants `toml:"allow"` // all that it may do; the script's own does not reach it
}

// An Error is something wrong with the file.
type Error struct {
	Line    int // from 1; 0 where the whole file is meant
	Message string
	Hint    string // the way out; may be empty
}

func (e *Error) Error() string {
	if e.Line == 0 {
		return File + ": " + e.Message
	}
	return fmt.Sprintf("%s:%d: %s", File, e.Line, e.Message)
}

// Read reads the file in the folder dir. Without one the result is the zero Config. What is wrong with
// the file is an *Error, or several that are joined.
func Read(dir string) (Config, error) {
	f, err := os.Open(filepath.Join(dir, File))
	if errors.Is(err, fs.ErrNotExist) {
		return Config{}, nil
	} else if err != nil {
		return Config{}, &Error{Message: reason(err)}
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	switch {
	case err != nil:
		return Config{}, &Error{Message: reason(err)}
	case len(data) > maxSize:
		return Config{}, &Error{Message: fmt.Sprintf("it is larger than %d MiB, which no configuration is", maxSize>>20)}
	}
	return Parse(string(data))
}

// Parse is Read for the text of a file.
func Parse(text string) (Config, error) {
	var c Config
	meta, err := toml.Decode(text, &c)
	var wrong toml.ParseError
	if errors.As(err, &wrong) {
		return Config{}, &Error{Line: wrong.Position.Line, Message: wrong.Message}
	} else if err != nil {
		return Config{}, misfit(err)
	}
	var all []error
	told := map[string]bool{}
	for _, key := range meta.Keys() {
		for i := range key { // of [a.b], the library lists a.b alone
			if e := check(meta, key[:i+1]); e != nil && !told[e.Message] {
				told[e.Message] = true
				e.Line = lineOf(text, key[:i+1])
				all = append(all, e)
			}
		}
	}
	if err := errors.Join(all...); err != nil {
		return Config{}, err
	}
	for _, limit := range []struct {
		key  string
		usd  float64
		unit string
	}{{"max_price", c.MaxPrice, "USD per GPU and hour"}, {"max_cost", c.MaxCost, "USD"}, {"max_cost_per_hour", c.MaxCostPerHour, "USD per hour"}} {
		if meta.IsDefined(limit.key) && !(limit.usd > 0 && limit.usd <= math.MaxFloat64) {
			all = append(all, &Error{
				Line: lineOf(text, []string{limit.key}), Message: fmt.Sprintf("%s: %v is no price", limit.key, limit.usd),
				Hint: "write " + limit.unit + " above 0, or leave it out for no limit",
			})
		}
	}
	all = append(append(all, c.Allow.check(text, "allow")...), c.Deny.check(text, "deny")...)
	for _, name := range slices.Sorted(maps.Keys(c.Modules)) {
		all = append(all, c.Modules[name].Allow.check(text, "modules", name, "allow")...)
		line := lineOf(text, []string{"modules", name})
		if err := CheckName(name); err != nil {
			all = append(all, &Error{Line: line, Message: "modules: " + err.Error()})
		}
		if c.Modules[name].Git == "" {
			all = append(all, &Error{
				Line: line, Message: "modules." + name + " does not say git, where it comes from",
				Hint: "bifrost mod add " + name + " GIT-URL writes it",
			})
		}
	}
	if err := errors.Join(all...); err != nil {
		return Config{}, err
	}
	return c, nil
}

var nameForm = lazyregexp.New(`^[a-z][a-z0-9_-]*$`)

// CheckName tells whether name can be that of a vendored module.
func CheckName(name string) error {
	if name == "std" {
		return errors.New(`"std" is the library inside bifrost: choose another name`)
	}
	if !nameForm().MatchString(name) || len(name) > 64 {
		return fmt.Errorf("%q is no name: it has up to 64 of a-z, 0-9, _ and -, a letter first", name)
	}
	return nil
}

var decoderWords = lazyregexp.New(`^toml: (?:line (\d+) )?\(last key "(.*?)"\): (?:incompatible types: TOML value has type (.+); destination has type (.+)|(.*))$`)

var goWords = strings.NewReplacer("int64", "integer", "float64", "float", "bool", "boolean", "[]interface {}", "array", "slice", "array", "map[string]interface {}", "table", "map", "table")

// misfit explains a value of the wrong type.
func misfit(err error) error {
	m := decoderWords().FindStringSubmatch(err.Error())
	if m == nil {
		return &Error{Message: strings.TrimPrefix(err.Error(), "toml: ")}
	}
	e := &Error{Message: m[2] + ": " + m[5]}
	if m[5] == "" {
		e.Message = fmt.Sprintf("%s: got %s, want %s", m[2], goWords.Replace(strings.ToLower(m[3])), goWords.Replace(m[4]))
	}
	e.Line, _ = strconv.Atoi(m[1])
	return e
}

// check explains a key that means nothing, or is none of the tables that it should be: the library
// takes anything for a table that becomes a map. What is in a table that means nothing is not looked at.
func check(meta toml.MetaData, key []string) *Error {
	table, ok := typeAt(key[:len(key)-1])
	if !ok {
		return nil
	}
	t, ok := typeAt(key)
	if ok {
		if kind := meta.Type(key...); t.Kind() == reflect.Map && kind != "Hash" && kind != "" {
			return &Error{Message: fmt.Sprintf("%s: got %s, want table", strings.Join(key, "."), strings.ToLower(kind))}
		}
		return nil
	}
	var known []string
	for _, f := range reflect.VisibleFields(table) {
		known = append(known, f.Tag.Get("toml"))
	}
	e := &Error{Message: "unknown key " + strings.Join(key, ".")}
	if near := spell.Nearest(key[len(key)-1], known); near != "" {
		e.Hint = "did you mean " + near + "?"
	} else {
		e.Hint = "there is " + strings.Join(known, ", ")
	}
	return e
}

// typeAt is the type of the value with this key, where there may be one.
func typeAt(key []string) (reflect.Type, bool) {
	t := reflect.TypeFor[Config]()
	for _, part := range key {
		switch t.Kind() {
		case reflect.Map:
			t = t.Elem()
		case reflect.Struct:
			fields := reflect.VisibleFields(t)
			i := slices.IndexFunc(fields, func(f reflect.StructField) bool { return f.Tag.Get("toml") == part })
			if i < 0 {
				return nil, false
			}
			t = fields[i].Type
		default:
			return nil, false
		}
		if t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
	}
	return t, true
}

// reason is why a file cannot be read, without the path that the message has already.
func reason(err error) string {
	var pathError *fs.PathError
	if errors.As(err, &pathError) {
		err = pathError.Err
	}
	return err.Error()
}
