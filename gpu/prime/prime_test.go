package prime

import (
	"context"
	"os"
	"testing"

	"github.com/bifrost-run/bifrost/gpu"
	"github.com/bifrost-run/bifrost/gpu/gputest"
	"github.com/bifrost-run/bifrost/gpu/gputest/cloud"
	"github.com/bifrost-run/bifrost/gpu/local"
)

func TestMain(m *testing.M) {
	if local.RunIfDaemon() {
		return
	}
	os.Exit(m.Run())
}

// account is an account at a Prime of its own, and the client for it.
func account(t *testing.T, opts cloud.Options) (*cloud.Account, *Provider) {
	t.Helper()
	acct := cloud.New(t, Name, opts)
	return acct, New(Config{Key: acct.Key, URL: acct.URL, Unpaced: true})
}

func TestContract(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string]cloud.Options{
		"AtOnce":    {}, // times are in ns
		"Slow":      {Machine: cloud.Behaviour{Pending: 50e6, Starting: 50e6, Ending: 100e6}, Leave: true},
		"Remembers": {Quirks: []cloud.Quirk{cloud.PrimeRemembers}},
		"Odd":       {Page: 1, Quirks: []cloud.Quirk{cloud.PrimeWantsMaxPrice, cloud.PrimeBlink, cloud.PrimeForms}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			gputest.TestProvider(t, func(t *testing.T) gpu.Provider {
				_, p := account(t, opts)
				return p
			})
		})
	}
}

func TestLogin(t *testing.T) {
	t.Parallel()
	_, p := account(t, cloud.Options{Machine: cloud.Behaviour{Starting: 50e6}})
	gputest.TestLogin(t, p)
}

func contextEndingWith(t *testing.T, cause error) (context.Context, func()) {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	return ctx, func() { cancel(cause) }
}
