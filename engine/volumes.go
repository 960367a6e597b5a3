package engine

import (
	"errors"
	"fmt"
	"slices"

	"github.com/bifrost-run/bifrost/gpu"
)

// volumeOf is the path of the volume that a query asks for; "" for none.
func volumeOf(p gpu.Provider, q gpu.Query) string {
	keeper, ok := p.(gpu.VolumeKeeper)
	if q.VolumeDiskGB == 0 || !ok {
		return ""
	}
	return keeper.Volumes()
}

func (e *Engine) hasVolumes(provider string) bool {
	p, err := e.provider(provider)
	_, ok := p.(gpu.VolumeKeeper)
	return err == nil && ok
}

// haveVolumes refuses a query for a volume where it names a provider that has none, or where nobody has.
func (e *Engine) haveVolumes(q gpu.Query) error {
	if q.VolumeDiskGB == 0 {
		return nil
	}
	for _, name := range q.Providers {
		if !e.hasVolumes(name) {
			return noVolumes(q, fmt.Errorf("%s has no volumes", name))
		}
	}
	if q.Providers == nil && !slices.ContainsFunc(e.cfg.Providers, func(p gpu.Provider) bool { return e.hasVolumes(p.Name()) }) {
		return noVolumes(q, errors.New("none of the providers that can be asked has volumes"))
	}
	return nil
}

func noVolumes(q gpu.Query, err error) error {
	return invalid("volume_disk_gb", fmt.Sprint(q.VolumeDiskGB), err,
		`runpod has volumes: providers = "runpod"; elsewhere leave volume_disk_gb out, container_disk_gb is the size of the machine's own disk`)
}
