package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/engine/report"
	"github.com/bifrost-run/bifrost/gpu"
)

// provision rents a machine: offers, then one candidate after the other until one is ready.
func (e *Engine) provision(ctx context.Context, spec NodeSpec) (_ *Node, err error) {
	query := *spec.Provision
	query.Count = max(query.Count, 1)
	end := e.cfg.Report.Step("provision", describeQuery(query))
	detail := ""
	defer func() { end(detail, err) }()

	if err := e.haveVolumes(query); err != nil {
		return nil, err
	}
	offers, err := e.candidates(ctx, query)
	if err != nil {
		return nil, err
	}
	if query.VolumeDiskGB > 0 {
		offers = slices.DeleteFunc(offers, func(o gpu.Offer) bool { return !e.hasVolumes(o.Provider) })
		if len(offers) == 0 {
			return nil, noVolumes(query, errors.New("what fits the query is at providers without volumes"))
		}
	}
	if offers, err = e.cfg.Limits.Within(offers, spec.job != "", spec.timeout, spec.MaxCost); err != nil {
		return nil, err
	}
	query.MaxPrice, spec.MaxCost = lower(query.MaxPrice, e.cfg.Limits.Price), lower(spec.MaxCost, e.cfg.Limits.Cost)
	if err := e.own(ctx, true); err != nil {
		return nil, err
	}
	var tried walk
	for _, offer := range offers {
		if tried.passes(offer) {
			continue
		}
		n, err := e.rent(ctx, spec, query, offer)
		if err == nil {
			detail = fmt.Sprintf("%s %s", n.rec.ID, describeOffer(offer))
			return n, nil
		}
		var back *setback
		if !errors.As(err, &back) || ctx.Err() != nil {
			return nil, err
		}
		text := tried.add(offer, back)
		if text != "" {
			e.cfg.Report.Emit(report.Event{Kind: report.Notice, Text: text})
		}
		if tried.booted == maxBooted {
			break
		}
	}
	return nil, tried.err(query)
}

// maxBooted is how many machines may fail to become ready before no other is tried: each costs, and what
// is wrong with three of them may be wrong with all, as an image without an SSH server is.
const maxBooted = 3

// A setback is why a candidate came to nothing. Nothing is left of it, and another may do.
type setback struct {
	err    error
	whole  bool // no other offer of this provider will do either
	booted bool // it was there, and was ended
}

func (s *setback) Error() string { return s.err.Error() }
func (s *setback) Unwrap() error { return s.err }

// A walk is the log of the candidates that were tried.
type walk struct {
	errs    []error
	said    []string       // one line for each reason, in order
	times   map[string]int // how often each was the reason
	skipped map[string]bool
	booted  int

	cheapest float64 // USD per hour, of the offers that were too dear
	dear     error   // why that one was
}

// passes reports whether an offer needs not be tried.
func (w *walk) passes(o gpu.Offer) bool { return w.skipped[o.Provider] }

// add records a setback and returns what there is to say of it, "" where that was said before.
func (w *walk) add(o gpu.Offer, s *setback) string {
	if w.times == nil {
		w.times, w.skipped = map[string]int{}, map[string]bool{}
	}
	w.errs = append(w.errs, s.err)
	if fault.KindOf(s.err) == fault.Budget && (w.dear == nil || o.PriceTotal < w.cheapest) {
		w.cheapest, w.dear = o.PriceTotal, s.err
	}
	if s.booted {
		w.booted++
	}
	next := "; trying the next"
	if s.whole {
		w.skipped[o.Provider] = true
		next = "; no more offers of " + o.Provider + " are tried"
	}
	line := describeCandidate(o) + ": " + firstLine(reason(o, s.err))
	w.times[line]++
	if w.times[line] > 1 {
		return ""
	}
	w.said = append(w.said, line)
	return line + next
}

// reason is an error without the name of the machine that nobody has seen, which tells people nothing, and
// without that of the offer, which stands before it.
func reason(o gpu.Offer, err error) string {
	var refusal *gpu.Error
	var said *fault.Error
	switch {
	case errors.As(err, &refusal):
		return cmp.Or(refusal.Message, string(refusal.Kind))
	case errors.As(err, &said) && said.Target == describeCandidate(o):
		return said.Err.Error()
	}
	return err.Error()
}

// err is the error of a walk that ended without a machine. It has the kind that all setbacks share; of
// several the machines that may exist come first, and what a different query would get comes last.
func (w *walk) err(query gpu.Query) error {
	kinds := map[fault.Kind]error{} // the last of each
	for _, err := range w.errs {
		kinds[fault.KindOf(err)] = err
	}
	if err := kinds[fault.Unreleased]; err != nil {
		return err
	}
	first := w.errs[0]
	if len(w.said) == 1 || len(kinds) == 1 && fault.KindOf(first) == fault.Budget {
		switch fault.KindOf(first) {
		case fault.Budget: // its hint says what would be enough
			return w.dear
		case fault.Auth, fault.Funds, fault.Invalid:
			return w.errs[len(w.errs)-1]
		}
	}
	kind, hint := fault.NoCapacity, "try again later, or ask for less"
	if len(kinds) == 1 {
		switch k := fault.KindOf(first); k {
		case fault.Auth, fault.Funds, fault.Invalid, fault.Unreachable, fault.Budget:
			kind, hint = k, fault.HintOf(w.errs[len(w.errs)-1])
		}
	}
	text := "no offer could be rented:"
	for _, line := range w.said {
		text += "\n" + line
		if n := w.times[line]; n > 1 {
			text += fmt.Sprintf(" (%d times)", n)
		}
	}
	return &fault.Error{Kind: kind, Op: "provision", Target: describeQuery(query), Err: errors.New(text), Hint: hint}
}

func describeCandidate(o gpu.Offer) string {
	parts := []string{o.Provider}
	if o.GPUCount > 0 {
		parts = append(parts, fmt.Sprintf("%dx %s", o.GPUCount, o.GPUType))
	}
	if o.PriceTotal > 0 {
		parts = append(parts, fmt.Sprintf("at $%s/h", gpu.Dollars(o.PriceTotal)))
	}
	return strings.Join(parts, " ")
}
