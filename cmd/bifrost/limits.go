package main

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bifrost-run/bifrost/starlark"
)

// addLimitFlags adds the flags of what a script may use.
func addLimitFlags(cmd *cobra.Command, l *starlark.Limits) {
	flags := cmd.Flags()
	flags.Var(limitFlag{"N", parseSteps, func(n int64) { l.Steps = uint64(n) }}, "max-steps", "most steps of the script, all threads together (default 1000000000; none for any)")
	flags.Var(limitFlag{"SIZE", parseSize, func(n int64) { l.Heap = uint64(n) }}, "max-heap", "most memory that the script holds (default 1GiB; none for any)")
	flags.Var(limitFlag{"SIZE", parseSize, func(n int64) { l.Value = n }}, "max-value", "most bytes of one value that a builtin returns (default 64MiB; none for any)")
	flags.Var(limitFlag{"TIME", parseWall, func(n int64) { l.Wall = time.Duration(n) }}, "max-wall", "longest time that the script runs: 90s, 2h (default none)")
}

// A limitFlag sets one limit.
type limitFlag struct {
	kind  string
	parse func(text string) (int64, error)
	set   func(n int64)
}

func (f limitFlag) String() string { return "" }
func (f limitFlag) Type() string   { return f.kind }

// Set implements pflag.Value.
func (f limitFlag) Set(text string) error {
	if text == "none" {
		f.set(starlark.NoLimit)
		return nil
	}
	n, err := f.parse(text)
	if err == nil && n <= 0 {
		err = errors.New("it must be above 0, or none")
	}
	if err != nil {
		return err
	}
	f.set(n)
	return nil
}

func parseSteps(text string) (int64, error) {
	n, err := strconv.ParseInt(strings.NewReplacer("_", "", ",", "").Replace(text), 10, 64)
	if err != nil {
		return 0, errors.New("want a number, or none")
	}
	return n, nil
}

// parseSize takes bytes, or a size like 512MiB, 2G.
func parseSize(text string) (int64, error) {
	wrong := errors.New("want a size like 512MiB or 2GiB, or none")
	number := strings.TrimRight(text, "BKMGTibkmgt")
	unit := 1.0
	switch strings.TrimSuffix(strings.TrimSuffix(strings.ToUpper(text[len(number):]), "B"), "I") {
	case "":
	case "K":
		unit = 1 << 10
	case "M":
		unit = 1 << 20
	case "G":
		unit = 1 << 30
	case "T":
		unit = 1 << 40
	default:
		return 0, wrong
	}
	n, err := strconv.ParseFloat(number, 64)
	if err != nil || math.IsNaN(n) || n*unit >= math.MaxInt64 {
		return 0, wrong
	}
	return int64(n * unit), nil
}

// parseWall takes a duration, or a number of seconds.
func parseWall(text string) (int64, error) {
	if n, err := strconv.ParseUint(text, 10, 32); err == nil {
		return int64(n) * int64(time.Second), nil
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("want a time like 90s or 2h, or none")
	}
	return int64(d), nil
}
