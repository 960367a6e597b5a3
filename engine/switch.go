package engine

import (
	"github.com/bifrost-run/bifrost/engine/journal"
	"github.com/bifrost-run/bifrost/gpu"
)

// switchOf is what is known of a machine's switch before it was armed.
func switchOf(p gpu.Provider) journal.Switch {
	if _, ok := p.(gpu.SelfEnder); ok {
		return journal.SwitchOff
	}
	return journal.SwitchNone
}
