package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/bifrost-run/bifrost/gpu"
)

// pollEvery is how often this package looks for what it waits for.
const pollEvery = 10 * time.Millisecond

// Create implements gpu.Provider. It returns once the daemon accepts connections; where it fails,
// nothing is left.
func (p *Provider) Create(ctx context.Context, req gpu.CreateRequest) (gpu.Instance, error) {
	if !supported {
		return gpu.Instance{}, refuse("create", gpu.Forbidden, "local nodes do not work on this system; name another provider, or ssh=")
	}
	if req.Name == "" {
		return gpu.Instance{}, refuse("create", gpu.Validation, "the instance has no name")
	}
	if _, _, _, _, err := ssh.ParseAuthorizedKey([]byte(req.AuthorizedKey)); err != nil {
		return gpu.Instance{}, refuse("create", gpu.Validation, "the key that may log in: "+err.Error())
	}
	if req.Query.VolumeDiskGB > 0 {
		return gpu.Instance{}, refuse("create", gpu.Validation, "local nodes have no volumes; leave out volume_disk_gb")
	}
	g := detectGPUs(ctx)
	dir, lock, err := p.reserve(ctx, req, g)
	if err != nil {
		return gpu.Instance{}, definite(ctx, err)
	}
	in, err := launch(ctx, p.daemon, dir, lock)
	lock.Close()
	if err != nil {
		// It must go also where the context has ended.
		if undo := p.end(context.WithoutCancel(ctx), dir); undo != nil {
			err = errors.Join(err, undo)
		}
		return gpu.Instance{}, definite(ctx, err)
	}
	return in.instance(gpu.Running), nil
}

// definite makes err a typed refusal, unless it is the end of the context: nothing was left behind,
// and asking again would not help.
func definite(ctx context.Context, err error) error {
	var typed *gpu.Error
	switch {
	case errors.As(err, &typed):
		return err
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	return refuse("create", gpu.Validation, err.Error())
}

// reserve makes the instance's folder, whose name is its id, and returns it with its lock held:
// whoever looks takes the instance for alive until the daemon, which inherits the lock, has ended.
func (p *Provider) reserve(ctx context.Context, req gpu.CreateRequest, g gpus) (dir string, lock *os.File, err error) {
	if err := os.MkdirAll(p.dir, 0o700); err != nil {
		return "", nil, err
	}
	gate, err := waitLock(ctx, filepath.Join(p.dir, ".lock")) // one name check at a time
	if err != nil {
		return "", nil, err
	}
	defer gate.Close()
	entries, err := os.ReadDir(p.dir)
	if err != nil {
		return "", nil, err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".new-") || strings.HasPrefix(e.Name(), ".gone-") {
			_ = removeTree(filepath.Join(p.dir, e.Name())) // of a process that was killed in the middle
		}
		if !validID(e.Name()) {
			continue
		}
		if other, err := readInfo(filepath.Join(p.dir, e.Name())); err == nil && other.Name == req.Name {
			return "", nil, refuse("create", gpu.Conflict, fmt.Sprintf("an instance %q exists: %s", req.Name, other.ID))
		}
	}
	id, err := newID()
	if err != nil {
		return "", nil, err
	}
	fresh := filepath.Join(p.dir, ".new-"+id)
	defer func() {
		if err != nil {
			_ = removeTree(fresh)
			if lock != nil {
				lock.Close()
			}
		}
	}()
	in, err := newFolder(fresh, id, req.Name, req.AuthorizedKey)
	if err != nil {
		return "", nil, err
	}
	in.GPUType, in.GPUCount, in.Env = g.name, g.count, p.env
	if err = in.write(fresh); err != nil {
		return "", nil, err
	}
	if lock, err = tryLock(filepath.Join(fresh, lockName)); err != nil {
		return "", nil, err
	}
	dir = filepath.Join(p.dir, id)
	if err = os.Rename(fresh, dir); err != nil {
		return "", lock, err
	}
	return dir, lock, nil
}

// Get implements gpu.Provider. An instance whose daemon has died is Failed until it is terminated.
func (p *Provider) Get(ctx context.Context, id string) (gpu.Instance, error) {
	if err := ctx.Err(); err != nil {
		return gpu.Instance{}, context.Cause(ctx)
	}
	if !validID(id) {
		return gpu.Instance{}, refuse("get", gpu.NotFound, "there is no instance "+id)
	}
	inst, err := read(filepath.Join(p.dir, id))
	if errors.Is(err, fs.ErrNotExist) {
		return gpu.Instance{}, refuse("get", gpu.NotFound, "there is no instance "+id)
	}
	return inst, err
}

// List implements gpu.Provider.
func (p *Provider) List(ctx context.Context) ([]gpu.Instance, error) {
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	entries, err := os.ReadDir(p.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var all []gpu.Instance
	for _, e := range entries {
		if !validID(e.Name()) {
			continue
		}
		inst, err := read(filepath.Join(p.dir, e.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			continue // it went while we looked
		} else if err != nil {
			return nil, err
		}
		all = append(all, inst)
	}
	return all, nil
}

// Terminate implements gpu.Provider. It returns once what ran on the instance has ended and its
// folder is gone.
func (p *Provider) Terminate(ctx context.Context, id string) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	if !validID(id) {
		return nil
	}
	return p.end(ctx, filepath.Join(p.dir, id))
}

// stopPatience is how long a daemon may take to end what runs on it, before that is done from here.
const stopPatience = 5 * time.Second

// end stops the daemon of the instance in dir, ends what it leaves, and removes the folder.
func (p *Provider) end(ctx context.Context, dir string) error {
	id := filepath.Base(dir)
	in, err := readInfo(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return removeInstance(dir) // gone, or almost
	} else if err != nil {
		in = info{ID: id, Sockets: socketDir(id)} // damaged: what the id tells has to do
	}
	if err := stopDaemon(ctx, dir); err != nil {
		return err
	}
	// The daemon has done all this unless it was killed.
	if err := endMarked(ctx, id); err != nil {
		return err
	}
	if in.Sockets == socketDir(id) || filepath.Base(in.Sockets) == "bifrost-"+id {
		endTmux(ctx, in.Sockets)
		if err := removeTree(in.Sockets); err != nil {
			return err
		}
	}
	return removeInstance(dir)
}

// stopDaemon ends the daemon of the instance in dir with all its descendants. The lock is the
// proof: while it is held, the process id that the daemon wrote is its own.
func stopDaemon(ctx context.Context, dir string) error {
	asked := false
	for force := time.Now().Add(stopPatience); ; {
		alive, err := locked(filepath.Join(dir, lockName))
		if err != nil || !alive {
			return err
		}
		in, err := readInfo(dir)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		} else if err != nil {
			return err
		}
		switch {
		case in.Pid == 0 && time.Now().After(force):
			return refuse("terminate", gpu.Conflict, "another process is still creating this instance")
		case in.Pid == 0: // it is just being started
		case !asked:
			asked = true
			askToStop(in.Pid)
		case time.Now().After(force):
			if err := endTree(ctx, in.Pid, 0); err != nil {
				return err
			}
			force = time.Now().Add(stopPatience)
		}
		if err := pause(ctx, pollEvery); err != nil {
			return err
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func waitLock(ctx context.Context, path string) (*os.File, error) {
	for {
		f, err := tryLock(path)
		if !errors.Is(err, errLocked) {
			return f, err
		}
		if err := pause(ctx, pollEvery); err != nil {
			return nil, err
		}
	}
}

var errLocked = errors.New("locked by another process")

// read describes the instance in dir.
func read(dir string) (gpu.Instance, error) {
	in, err := readInfo(dir)
	if err != nil {
		return gpu.Instance{}, err
	}
	alive, err := locked(filepath.Join(dir, lockName))
	switch {
	case err != nil:
		return gpu.Instance{}, err
	case !alive:
		return in.instance(gpu.Failed), nil
	case in.Port == 0:
		return in.instance(gpu.Starting), nil
	}
	return in.instance(gpu.Running), nil
}

func (in info) instance(state gpu.State) gpu.Instance {
	inst := gpu.Instance{
		Provider: Name, ID: in.ID, Name: in.Name, State: state, User: in.User, HostKey: in.HostKey,
		GPUType: in.GPUType, GPUCount: in.GPUCount, Created: in.Created,
	}
	if in.Port != 0 {
		inst.Host, inst.Port = "127.0.0.1", in.Port
	}
	return inst
}
