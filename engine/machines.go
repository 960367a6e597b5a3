package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/engine/journal"
	"github.com/bifrost-run/bifrost/gpu"
)

// ListNodes returns the rented machines that exist, newest first: those of the journal, and those
// that the providers' accounts have beside them. Nothing is dialled, and nothing is released when the
// caller is done. A provider that fails is a warning; what the journal knows of it is listed.
func (e *Engine) ListNodes(ctx context.Context) ([]*Node, error) {
	recorded, err := e.journal.Nodes(ctx, false)
	if err != nil {
		return nil, err
	}
	lists, err := e.listAll(ctx)
	if err != nil {
		return nil, err
	}
	there := map[string]gpu.Instance{} // by id
	for _, insts := range lists {
		for _, inst := range insts {
			there[inst.Provider+":"+inst.ID] = inst
		}
	}
	var nodes []*Node
	for _, rec := range recorded {
		inst, exists := there[rec.ID]
		delete(there, rec.ID)
		_, asked := lists[rec.Provider]
		if p, err := e.provider(rec.Provider); err == nil && otherKey(p, rec) {
			asked = false // the account that has it was not
		}
		if rec.Provider == providerSSH || rec.State == journal.NodeIntent || asked && !exists && rec.State != journal.NodeCreated {
			continue // nobody rented it, or it is not there; one that is new may not be shown yet
		}
		if exists {
			describe(&rec, inst)
		}
		nodes = append(nodes, &Node{engine: e, rec: rec})
	}
	for id, inst := range there {
		rec := journal.Node{ID: id, Name: inst.Name, RunID: e.runID, State: journal.NodeReady, Created: inst.Created, Keep: true}
		if p, err := e.provider(inst.Provider); err == nil {
			rec.Account = accountOf(p)
		}
		describe(&rec, inst)
		nodes = append(nodes, &Node{engine: e, rec: rec, foreign: true})
	}
	slices.SortStableFunc(nodes, func(a, b *Node) int {
		return cmp.Or(b.rec.Created.Compare(a.rec.Created), strings.Compare(a.rec.ID, b.rec.ID))
	})
	for _, n := range nodes {
		if n.rec.Host == "" {
			continue
		}
		if n.runner, err = e.client(n.rec); err != nil {
			return nil, err
		}
	}
	return nodes, nil
}

// FindNode returns the machine of this id ("local:abc"), of this name, or with this job on it; nil
// when there is none. Several machines of the same name are an error that lists them.
func (e *Engine) FindNode(ctx context.Context, name string) (*Node, error) {
	if name == "" {
		return nil, invalid("find_node", name, errors.New("there is no name"), `give an id like "local:abc123", a job's id, or a machine's name`)
	}
	if strings.HasPrefix(name, providerSSH+":") {
		return absentIsNil(e.OpenNode(ctx, name))
	}
	nodes, err := e.ListNodes(ctx)
	if err != nil {
		return nil, err
	}
	var found []*Node
	var ids []string
	for _, n := range nodes {
		if n.rec.ID == name {
			return n, nil
		}
		if n.rec.Name == name {
			found, ids = append(found, n), append(ids, n.rec.ID)
		}
	}
	switch {
	case len(found) > 1:
		return nil, invalid("find_node", name, fmt.Errorf("%d machines have this name: %s", len(found), strings.Join(ids, ", ")), "give the id of one of them")
	case len(found) == 1:
		return found[0], nil
	case strings.Contains(name, ":"):
		return nil, nil
	}
	rec, err := e.node(ctx, name)
	if err != nil {
		return absentIsNil(nil, err)
	}
	for _, n := range nodes {
		if n.rec.ID == rec.ID {
			return n, nil
		}
	}
	if rec.Provider != providerSSH {
		return nil, nil // the job's machine is gone
	}
	return absentIsNil(e.OpenNode(ctx, rec.ID))
}

func absentIsNil(n *Node, err error) (*Node, error) {
	if err != nil && fault.KindOf(err) == fault.NotFound {
		return nil, nil
	}
	return n, err
}

// adopt records a machine that bifrost did not rent, before something happens to it that the
// journal must know.
func (n *Node) adopt(ctx context.Context) error {
	n.mu.Lock()
	rec, foreign := n.rec, n.foreign
	n.mu.Unlock()
	if !foreign {
		return nil
	}
	if err := n.engine.journal.PutNode(ctx, rec); err != nil {
		return err
	}
	n.mu.Lock()
	n.foreign = false
	n.mu.Unlock()
	return nil
}
