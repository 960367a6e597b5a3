package journal

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"strings"
	"time"

	"github.com/bifrost-run/bifrost/engine/fault"
)

// A Node is a machine that bifrost uses, or one that it is about to rent.
type Node struct {
	ID           string // "local:<provider's id>", "ssh:user@host:port"; before creation "intent:<name>"
	Name         string // unique; what an ambiguous create is found again by
	Provider     string // "ssh" for the user's own machines
	ProviderID   string
	RunID        string // of the bifrost process that made it; see LockRun
	State        NodeState
	Host         string
	Port         int
	User         string
	HostKey      string // authorized_keys form
	SSH          string // as the user typed it, for ssh nodes
	IdentityFile string // path, never the key
	GPUType      string
	GPUCount     int
	PricePerHour float64 // USD for the machine
	Created      time.Time
	Ended        time.Time // set when it becomes gone
	Keep         bool      // not to be released by bifrost on its own
	HoldUntil    time.Time
	Deadline     time.Time
	Offer        string // JSON
	Volume       string // the absolute path of the volume that was rented with it; "" for none
	Switch       Switch
	SwitchUntil  time.Time // when an armed switch ends the machine, by this machine's clock
	Account      string    // gpu.Accounts of the key that last saw it, or that is about to rent it; "" when unknown
	Note         string    // why it is in its state, one line; recorded with each transition
}

// A Switch is what was last read back of the means by which a machine ends itself.
type Switch string

// What a switch can be. "" is not known yet.
const (
	SwitchNone  Switch = "client only" // the provider gives its machines none: only bifrost ends it
	SwitchArmed Switch = "armed"       // read back as running; see Node.SwitchUntil
	SwitchOff   Switch = "off"         // not armed on purpose, or it could not be
)

const nodeColumns = `id, name, provider, provider_id, run_id, state, host, port, user, host_key, ssh,
	identity_file, gpu_type, gpu_count, price_per_hour, created, ended, keep, hold_until, deadline, offer, note,
	volume, switch, switch_until, account`

func nodeValues(n Node) []any {
	return []any{
		n.ID, n.Name, n.Provider, n.ProviderID, n.RunID, string(n.State), n.Host, n.Port, n.User, n.HostKey, n.SSH,
		n.IdentityFile, n.GPUType, n.GPUCount, n.PricePerHour, millis(n.Created), millis(n.Ended), n.Keep,
		millis(n.HoldUntil), millis(n.Deadline), n.Offer, n.Note, n.Volume, string(n.Switch), millis(n.SwitchUntil), n.Account,
	}
}

func scanNode(scan func(...any) error) (Node, error) {
	var n Node
	var state string
	var created, ended, hold, deadline, until int64
	err := scan(&n.ID, &n.Name, &n.Provider, &n.ProviderID, &n.RunID, &state, &n.Host, &n.Port, &n.User, &n.HostKey, &n.SSH,
		&n.IdentityFile, &n.GPUType, &n.GPUCount, &n.PricePerHour, &created, &ended, &n.Keep, &hold, &deadline, &n.Offer, &n.Note,
		&n.Volume, &n.Switch, &until, &n.Account)
	n.State = NodeState(state)
	n.Created, n.Ended, n.HoldUntil, n.Deadline = moment(created), moment(ended), moment(hold), moment(deadline)
	n.SwitchUntil = moment(until)
	return n, err
}

// IntentID is the id of a node of this name before its provider has given it one.
func IntentID(name string) string { return "intent:" + name }

// PutIntent records that a machine is about to be created. Name and Provider are required, the name
// must be one that no node has had; ID and State are set here, and Created defaults to now.
func (j *Journal) PutIntent(ctx context.Context, n Node) error {
	if n.Name == "" || n.Provider == "" {
		return defect("record", "intent "+n.Name, "it needs a name and a provider")
	}
	n.ID, n.State = IntentID(n.Name), NodeIntent
	if n.Created.IsZero() {
		n.Created = time.Now()
	}
	return j.tx(ctx, "write", func(tx *sql.Tx) error {
		taken, err := column(ctx, tx, "SELECT id FROM nodes WHERE name = ?", n.Name)
		if err != nil {
			return err
		}
		if len(taken) > 0 {
			return &fault.Error{Kind: fault.Conflict, Op: "record", Target: "intent " + n.Name, Err: errors.New("the name is that of " + taken[0])}
		}
		return insertNode(ctx, tx, n)
	})
}

// NodeCreated replaces the intent of this name by the node that the provider created. n.ID is
// required; State defaults to created; what n leaves empty stays as the intent has it. A second
// call with the same id does nothing, with another one it is an error of kind conflict. Where the
// intent is missing or was given up, the node is recorded all the same: it exists and costs.
func (j *Journal) NodeCreated(ctx context.Context, name string, n Node) error {
	if n.State == "" {
		n.State = NodeCreated
	}
	if n.ID == "" || n.State == NodeIntent || !n.State.valid() {
		return defect("record", "node "+n.ID, "created as %q", n.State)
	}
	n.Name = name
	return j.tx(ctx, "write", func(tx *sql.Tx) error {
		known, err := collect(ctx, tx, scanNode, "SELECT "+nodeColumns+" FROM nodes WHERE name = ? OR id = ? ORDER BY seq", name, n.ID)
		if err != nil {
			return err
		}
		var intent *Node
		for _, k := range known {
			switch {
			case k.ID == n.ID && k.Name == name:
				return nil // another process adopted it first
			case k.ID == n.ID:
				return &fault.Error{Kind: fault.Conflict, Op: "record", Target: "node " + n.ID, Err: errors.New("it is recorded under the name " + k.Name)}
			case k.State == NodeIntent:
				intent = &k
			case k.ID != IntentID(name):
				return &fault.Error{
					Kind: fault.Conflict, Op: "record", Target: "node " + n.ID,
					Err:  errors.New("a second machine for the name " + name + ", which is that of " + k.ID),
					Hint: "look at the provider's console: one of them is not needed and costs money",
				}
			}
		}
		if intent == nil {
			n.Note = strings.TrimPrefix(n.Note+"; recorded without an open intent", "; ")
			if n.Created.IsZero() {
				n.Created = time.Now()
			}
			return insertNode(ctx, tx, n)
		}
		n = over(*intent, n)
		values := nodeValues(n)
		_, err = tx.ExecContext(ctx, "UPDATE nodes SET ("+nodeColumns+") = ("+marks(len(values))+") WHERE id = ?", append(values, intent.ID)...)
		if err != nil {
			return err
		}
		for _, move := range []string{
			"UPDATE transitions SET id = ? WHERE kind = 'node' AND id = ?",
			"UPDATE jobs SET node_id = ? WHERE node_id = ?",
		} {
			if _, err := tx.ExecContext(ctx, move, n.ID, intent.ID); err != nil {
				return err
			}
		}
		return record(ctx, tx, KindNode, n.ID, string(NodeIntent), string(n.State), n.Note)
	})
}

// over returns n with what it leaves empty taken from the intent.
func over(intent, n Node) Node {
	n.Provider = cmp.Or(n.Provider, intent.Provider)
	n.ProviderID = cmp.Or(n.ProviderID, intent.ProviderID)
	n.RunID = cmp.Or(n.RunID, intent.RunID)
	n.Host = cmp.Or(n.Host, intent.Host)
	n.Port = cmp.Or(n.Port, intent.Port)
	n.User = cmp.Or(n.User, intent.User)
	n.HostKey = cmp.Or(n.HostKey, intent.HostKey)
	n.SSH = cmp.Or(n.SSH, intent.SSH)
	n.IdentityFile = cmp.Or(n.IdentityFile, intent.IdentityFile)
	n.GPUType = cmp.Or(n.GPUType, intent.GPUType)
	n.GPUCount = cmp.Or(n.GPUCount, intent.GPUCount)
	n.PricePerHour = cmp.Or(n.PricePerHour, intent.PricePerHour)
	n.Created = cmp.Or(n.Created, intent.Created)
	n.Keep = n.Keep || intent.Keep
	n.HoldUntil = cmp.Or(n.HoldUntil, intent.HoldUntil)
	n.Deadline = cmp.Or(n.Deadline, intent.Deadline)
	n.Offer = cmp.Or(n.Offer, intent.Offer)
	n.Volume = cmp.Or(n.Volume, intent.Volume)
	n.Switch = cmp.Or(n.Switch, intent.Switch)
	n.Account = cmp.Or(n.Account, intent.Account)
	return n
}

// PutNode records a machine that bifrost did not create, or replaces its record: one under "ssh=",
// or one that a script names by the provider's id. State defaults to ready. A machine of the user's
// own (Provider "ssh") may come back after it was gone: nobody pays for it.
func (j *Journal) PutNode(ctx context.Context, n Node) error {
	if n.State == "" {
		n.State = NodeReady
	}
	if n.ID == "" || n.Provider == "" || n.State == NodeIntent || !n.State.valid() {
		return defect("record", "node "+n.ID, "it needs an id, a provider, and a state that is none of an intent: %q", n.State)
	}
	return j.tx(ctx, "write", func(tx *sql.Tx) error {
		old, err := scanNode(tx.QueryRowContext(ctx, "SELECT "+nodeColumns+" FROM nodes WHERE id = ?", n.ID).Scan)
		if errors.Is(err, sql.ErrNoRows) {
			if n.Created.IsZero() {
				n.Created = time.Now()
			}
			return insertNode(ctx, tx, n)
		} else if err != nil {
			return err
		}
		n.Created = cmp.Or(n.Created, old.Created)
		return updateNode(ctx, tx, old.State, n, n.Provider == "ssh")
	})
}

// SetNode reads a node, lets fn change it, and writes it back, all under the write lock. fn must
// not call the journal; an error of fn changes nothing and is returned. The id stays, Ended is set
// when the node becomes gone, and a change of state that cannot be is an error of kind internal:
// a node that is gone stays gone.
func (j *Journal) SetNode(ctx context.Context, id string, fn func(*Node) error) error {
	return j.tx(ctx, "write", func(tx *sql.Tx) error {
		n, err := scanNode(tx.QueryRowContext(ctx, "SELECT "+nodeColumns+" FROM nodes WHERE id = ?", id).Scan)
		if errors.Is(err, sql.ErrNoRows) {
			return j.notFound("node "+id, "list nodes with: bifrost ps -a")
		} else if err != nil {
			return err
		}
		from := n.State
		if err := fn(&n); err != nil {
			return err
		}
		if n.ID != id {
			return defect("record", "node "+id, "its id cannot change to %q", n.ID)
		}
		return updateNode(ctx, tx, from, n, false)
	})
}

// Node returns the node with this id. Kind not_found means that the journal has none.
func (j *Journal) Node(ctx context.Context, id string) (Node, error) {
	found, err := list(ctx, j, scanNode, "SELECT "+nodeColumns+" FROM nodes WHERE id = ?", id)
	switch {
	case err != nil:
		return Node{}, err
	case len(found) == 0:
		return Node{}, j.notFound("node "+id, "list nodes with: bifrost ps -a")
	}
	return found[0], nil
}

// Nodes returns the nodes that may exist, newest first; with all also those that are gone.
func (j *Journal) Nodes(ctx context.Context, all bool) ([]Node, error) {
	query := "SELECT " + nodeColumns + " FROM nodes WHERE state <> 'gone' ORDER BY seq DESC"
	if all {
		query = "SELECT " + nodeColumns + " FROM nodes ORDER BY seq DESC"
	}
	return list(ctx, j, scanNode, query)
}

func insertNode(ctx context.Context, tx *sql.Tx, n Node) error {
	values := nodeValues(n)
	if _, err := tx.ExecContext(ctx, "INSERT INTO nodes ("+nodeColumns+") VALUES ("+marks(len(values))+")", values...); err != nil {
		return err
	}
	return record(ctx, tx, KindNode, n.ID, "", string(n.State), n.Note)
}

func updateNode(ctx context.Context, tx *sql.Tx, from NodeState, n Node, mayReturn bool) error {
	if !n.State.valid() || !from.mayBecome(n.State) && !mayReturn {
		return defect("record", "node "+n.ID, "it cannot go from %s to %s", from, n.State)
	}
	if n.State == NodeGone && n.Ended.IsZero() {
		n.Ended = time.Now()
	}
	values := nodeValues(n)
	if _, err := tx.ExecContext(ctx, "UPDATE nodes SET ("+nodeColumns+") = ("+marks(len(values))+") WHERE id = ?", append(values, n.ID)...); err != nil {
		return err
	}
	return record(ctx, tx, KindNode, n.ID, string(from), string(n.State), n.Note)
}
