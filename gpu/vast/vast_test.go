package vast_test

import (
	"os"
	"testing"

	"github.com/bifrost-run/bifrost/gpu"
	"github.com/bifrost-run/bifrost/gpu/gputest"
	"github.com/bifrost-run/bifrost/gpu/gputest/cloud"
	"github.com/bifrost-run/bifrost/gpu/local"
	"github.com/bifrost-run/bifrost/gpu/vast"
)

func TestMain(m *testing.M) {
	if local.RunIfDaemon() {
		return
	}
	os.Exit(m.Run())
}

var (
	_ gpu.Provider  = (*vast.Provider)(nil)
	_ gpu.Preparer  = (*vast.Provider)(nil)
	_ gpu.SelfEnder = (*vast.Provider)(nil)
)

func account(t *testing.T, opts cloud.Options) (*cloud.Account, *vast.Provider) {
	t.Helper()
	acct := cloud.New(t, vast.Name, opts)
	return acct, vast.New(vast.Config{Key: acct.Key, URL: acct.URL, Unpaced: true})
}

func TestContract(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string]cloud.Options{
		"plain": {},
		"quirks": {
			Page:   1,
			Quirks: []cloud.Quirk{cloud.VastNulls, cloud.VastGone404, cloud.VastOneOffer, cloud.VastGone410, cloud.VastRelayOnly, cloud.VastJupyter},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			opts.Leave = true
			gputest.TestProvider(t, func(t *testing.T) gpu.Provider {
				_, p := account(t, opts)
				return p
			})
		})
	}
}

func TestLogin(t *testing.T) {
	t.Parallel()
	_, p := account(t, cloud.Options{})
	gputest.TestLogin(t, p)
}
