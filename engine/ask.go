package engine

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/bifrost-run/bifrost/gpu"
)

// asked asks a provider one question, and bounds it.
func (e *Engine) asked(ctx context.Context, question func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, e.cfg.Timing.Ask)
	defer cancel()
	return question(ctx)
}

// get reads a machine, in bounded time.
func (e *Engine) get(ctx context.Context, p gpu.Provider, id string) (inst gpu.Instance, err error) {
	err = e.asked(ctx, func(ctx context.Context) (err error) {
		inst, err = p.Get(ctx, id)
		return err
	})
	return inst, err
}

// list lists what a provider's account has, in bounded time.
func (e *Engine) list(ctx context.Context, p gpu.Provider) (all []gpu.Instance, err error) {
	err = e.asked(ctx, func(ctx context.Context) (err error) {
		all, err = p.List(ctx)
		return err
	})
	if err != nil && ctx.Err() == nil {
		err = providerFault("list", p.Name(), err)
	}
	return all, err
}

// listAll asks all providers at once for the machines that exist, by the provider's name. One that fails, or
// does not answer within Timing.Ask, is a warning and is not among them.
func (e *Engine) listAll(ctx context.Context) (map[string][]gpu.Instance, error) {
	lists := make([][]gpu.Instance, len(e.cfg.Providers))
	errs := make([]error, len(e.cfg.Providers))
	var wg sync.WaitGroup
	for i, p := range e.cfg.Providers {
		wg.Go(func() { lists[i], errs[i] = e.list(ctx, p) })
	}
	wg.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	answers := map[string][]gpu.Instance{}
	for i, p := range e.cfg.Providers {
		if errs[i] != nil {
			e.warn(errs[i])
			continue
		}
		answers[p.Name()] = []gpu.Instance{}
		for _, inst := range lists[i] {
			if inst.State != gpu.Terminated {
				inst.Provider = p.Name()
				answers[p.Name()] = append(answers[p.Name()], inst)
			}
		}
	}
	return answers, nil
}

// isGone reports whether an answer to Get says that the machine does not exist any more.
func isGone(inst gpu.Instance, err error) bool {
	if err != nil {
		return isKind(err, gpu.NotFound)
	}
	return inst.State == gpu.Terminated
}

// isKind reports whether an error is a provider's refusal of one of these kinds.
func isKind(err error, kinds ...gpu.Kind) bool {
	var refusal *gpu.Error
	return errors.As(err, &refusal) && slices.Contains(kinds, refusal.Kind)
}
