package moneytest

import (
	"context"
	"sync"
	"time"

	"github.com/bifrost-run/bifrost/gpu"
	"github.com/bifrost-run/bifrost/gpu/gputest/cloud"
)

// A down is a provider whose API refuses connections from the moment on at which a certain call is made for the
// first time, as when the network goes away.
type down struct {
	gpu.Provider
	acct *cloud.Account
	op   string
	once sync.Once
}

// withDown returns p as a down, with what else it can do. An operation that is none of the interface's refuses
// nothing.
func withDown(p gpu.Provider, acct *cloud.Account, op string) gpu.Provider {
	d := &down{Provider: p, acct: acct, op: op}
	register, registers := p.(gpu.KeyRegistrar)
	prepare, prepares := p.(gpu.Preparer)
	switch {
	case registers:
		return &downRegistrar{d, register}
	case prepares:
		return &downPreparer{d, prepare}
	}
	return d
}

func (d *down) at(op string) {
	if op == d.op {
		d.once.Do(func() { d.acct.Down(time.Hour) })
	}
}

func (d *down) Offers(ctx context.Context, q gpu.Query) ([]gpu.Offer, error) {
	d.at("offers")
	return d.Provider.Offers(ctx, q)
}

func (d *down) Create(ctx context.Context, req gpu.CreateRequest) (gpu.Instance, error) {
	d.at("create")
	return d.Provider.Create(ctx, req)
}

func (d *down) Get(ctx context.Context, id string) (gpu.Instance, error) {
	d.at("get")
	return d.Provider.Get(ctx, id)
}

func (d *down) List(ctx context.Context) ([]gpu.Instance, error) {
	d.at("list")
	return d.Provider.List(ctx)
}

func (d *down) Terminate(ctx context.Context, id string) error {
	d.at("terminate")
	return d.Provider.Terminate(ctx, id)
}

type downRegistrar struct {
	*down
	inner gpu.KeyRegistrar
}

func (d *downRegistrar) RegisterKey(ctx context.Context, key string) (string, error) {
	d.at("register")
	return d.inner.RegisterKey(ctx, key)
}

type downPreparer struct {
	*down
	inner gpu.Preparer
}

func (d *downPreparer) Prepare(ctx context.Context, id string, req gpu.CreateRequest) error {
	d.at("prepare")
	return d.inner.Prepare(ctx, id, req)
}
