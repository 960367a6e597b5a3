package local

import (
	"errors"
	"testing"

	"github.com/bifrost-run/bifrost/gpu"
)

func TestCreateIsRefused(t *testing.T) {
	t.Parallel()
	_, err := New(Config{StateDir: t.TempDir()}).Create(t.Context(), gpu.CreateRequest{Name: "n"})
	var refused *gpu.Error
	if !errors.As(err, &refused) || refused.Kind != gpu.Forbidden {
		t.Errorf("got %v, want a refusal", err)
	}
}
