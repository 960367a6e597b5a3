package engine_test

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/bifrost-run/bifrost/engine"
	"github.com/bifrost-run/bifrost/gpu"
	"github.com/bifrost-run/bifrost/gpu/gputest/clients"
	"github.com/bifrost-run/bifrost/gpu/gputest/cloud"
)

// onCloud opens an engine that rents from an account of the cloud for tests, and returns its state folder too.
func onCloud(t *testing.T, provider string, opts cloud.Options) (*cloud.Account, *engine.Engine, string) {
	t.Helper()
	acct := cloud.New(t, provider, opts)
	state := t.TempDir()
	eng, _ := openAt(t, state, func(cfg *engine.Config) {
		cfg.Providers = []gpu.Provider{clients.New(provider, acct.URL, acct.Key)}
		cfg.Timing = engine.Timing{
			AdoptPoll: 10 * time.Millisecond, BootPoll: 10 * time.Millisecond, ReleasePoll: 10 * time.Millisecond, Confirm: 10 * time.Millisecond,
		}
		cfg.Guardian = nil // it would need the account's address and key
	})
	return acct, eng, state
}

// noSecret checks that no file of a state folder has one of these.
func noSecret(t *testing.T, state string, secrets ...string) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(state, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		files++
		text, err := os.ReadFile(path)
		for _, secret := range secrets {
			if secret == "" || bytes.Contains(text, []byte(secret)) {
				t.Errorf("%s has the key %q", path, secret)
			}
		}
		return err
	})
	if err != nil || files == 0 {
		t.Errorf("%d files, %v", files, err)
	}
}
