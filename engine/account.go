package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/engine/journal"
	"github.com/bifrost-run/bifrost/gpu"
)

// accountOf tells the key that a provider is asked with from others; "" where it needs none.
func accountOf(p gpu.Provider) string {
	if has, ok := p.(gpu.Accounts); ok {
		return has.Account()
	}
	return ""
}

// otherKey reports whether a provider is asked with another key than the machine was rented with. It may be
// a new key of the same account, or one of an account that does not see the machine.
func otherKey(p gpu.Provider, rec journal.Node) bool {
	account := accountOf(p)
	return account != "" && rec.Account != "" && account != rec.Account
}

// elsewhere is the error of a machine that is not shown to another key than it was rented with: it may well
// be there, and cost.
func elsewhere(rec journal.Node) error {
	return &fault.Error{
		Kind: fault.Unreleased, Op: "read back", Target: rec.ID,
		Err: fmt.Errorf("the key of %s is not the one that it was rented with, and does not show it", rec.Provider),
		Hint: fmt.Sprintf("it may still cost $%.2f per hour: set the key it was rented with, then bifrost terminate %s; "+
			"when you know that it is gone, bifrost terminate --forget %[2]s records that", rec.PricePerHour, rec.ID),
	}
}

// readBack is get for a machine of the journal. With another key than it was rented with only that it is there
// counts: every error is of kind unreleased then. One that another key shows too is of the same account, and
// is recorded with that key from then on.
func (e *Engine) readBack(ctx context.Context, p gpu.Provider, rec journal.Node) (gpu.Instance, error) {
	if otherKey(p, rec) { // it may have been seen with this one since
		if now, err := e.journal.Node(ctx, rec.ID); err == nil {
			rec.Account = now.Account
		}
	}
	_, id, _ := strings.Cut(rec.ID, ":")
	inst, err := e.get(ctx, p, id)
	switch {
	case !otherKey(p, rec):
	case isKind(err, gpu.NotFound):
		return inst, elsewhere(rec)
	case err != nil:
		return inst, unreleased(rec, err)
	case inst.Name == rec.Name:
		return inst, e.journal.SetNode(context.WithoutCancel(ctx), rec.ID, func(n *journal.Node) error {
			n.Account = accountOf(p)
			return nil
		})
	}
	return inst, err
}

// Forget records a machine as gone because the user says so, and ends its jobs. It is for one that no key
// shows any more; one that its provider lists is an error of kind conflict. A machine that was rented costs
// until it is ended at the provider, whatever is recorded here.
func (e *Engine) Forget(ctx context.Context, id string) error {
	rec, err := e.node(ctx, id)
	switch {
	case err != nil:
		return err
	case rec.Provider == providerSSH:
		return invalid("forget", rec.ID, errors.New("bifrost did not rent this machine"), "it costs nothing here, and is listed only while a job is on it")
	}
	if p, err := e.provider(rec.Provider); err == nil {
		there, _ := e.list(ctx, p) // where that cannot be had there is only the user's word
		for _, inst := range there {
			if inst.State != gpu.Terminated && (inst.Name == rec.Name || rec.ID == rec.Provider+":"+inst.ID) {
				return &fault.Error{
					Kind: fault.Conflict, Op: "forget", Target: rec.ID, Err: fmt.Errorf("%s shows it: it is %s", rec.Provider, inst.State),
					Hint: "bifrost terminate " + rec.ID + " ends it",
				}
			}
		}
	}
	why := "forgotten by " + who()
	err = e.recordGone(ctx, rec.ID, why)
	return errors.Join(err, e.closeJobsOf(ctx, rec.ID, why))
}
