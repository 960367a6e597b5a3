package cloud

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"

	"github.com/bifrost-run/bifrost/gpu"
	"github.com/bifrost-run/bifrost/gpu/local"
)

// A node is where SSH to a machine leads: a port that is there from the beginning, and behind it an instance
// of package local that is made when the first connection comes. So a machine that nobody logs in to costs
// nothing, and who may log in can be said after its creation.
type node struct {
	acct     *Account
	m        *machine
	host     string
	port     int
	listener net.Listener
	ctx      context.Context
	cancel   context.CancelFunc
	conns    sync.WaitGroup

	mu      sync.Mutex
	made    *gpu.Instance // nil before the first connection
	from    *local.Provider
	shallow *shallow // instead of an instance; set with made
	failed  error
	over    bool
}

func newNode(a *Account, m *machine, at22 bool) (*node, error) {
	var l net.Listener
	var err error
	if at22 {
		l, err = listenAt22()
	}
	if !at22 || err != nil { // NeedPort22 tells tests that log in
		if l, err = net.Listen("tcp4", "127.0.0.1:0"); err != nil {
			return nil, err
		}
	}
	addr := l.Addr().(*net.TCPAddr)
	n := &node{acct: a, m: m, host: addr.IP.String(), port: addr.Port, listener: l}
	n.ctx, n.cancel = context.WithCancel(context.Background())
	n.conns.Go(n.accept)
	return n, nil
}

// listenAt22 listens at port 22 of some loopback address that nobody else uses.
func listenAt22() (net.Listener, error) {
	var err error
	for range 20 {
		var b [3]byte
		if _, err := rand.Read(b[:]); err != nil {
			return nil, err
		}
		var l net.Listener
		// The first ones are left to others: 127.0.0.1 has an sshd at times, 127.0.1.1 is this host's name.
		if l, err = net.Listen("tcp4", fmt.Sprintf("127.%d.%d.%d:22", 16+b[0]%200, b[1], 1+b[2]%250)); err == nil {
			return l, nil
		}
	}
	return nil, err
}

func (n *node) accept() {
	for {
		conn, err := n.listener.Accept()
		if err != nil {
			return // it was closed
		}
		n.conns.Go(func() {
			defer conn.Close()
			n.serve(conn)
		})
	}
}

// serve connects a client to the instance. A machine that is not running yet, or to which nobody has given
// a key, closes the connection: its sshd is not up.
func (n *node) serve(client net.Conn) {
	n.acct.mu.Lock()
	seen := n.acct.look(n.m)
	n.acct.mu.Unlock()
	if seen.State != Running || seen.Unreachable || seen.Key == "" {
		return
	}
	inst, err := n.instance(seen)
	if err != nil {
		return
	}
	if n.shallow != nil {
		n.shallow.serve(n.ctx, client)
		return
	}
	var d net.Dialer
	server, err := d.DialContext(n.ctx, "tcp", fmt.Sprintf("%s:%d", inst.Host, inst.Port))
	if err != nil {
		return
	}
	defer server.Close()
	stop := context.AfterFunc(n.ctx, func() { client.Close(); server.Close() })
	defer stop()
	var both sync.WaitGroup
	both.Go(func() { pipe(server, client) })
	both.Go(func() { pipe(client, server) })
	both.Wait()
}

// pipe copies until one side ends; the other learns of it.
func pipe(to, from net.Conn) {
	_, err := io.Copy(to, from)
	if half, ok := to.(*net.TCPConn); ok && err == nil {
		_ = half.CloseWrite()
		return
	}
	to.Close()
	from.Close()
}

// instance makes the instance, once.
func (n *node) instance(m Machine) (gpu.Instance, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.over:
		return gpu.Instance{}, errors.New("the machine has ended")
	case n.failed != nil:
		return gpu.Instance{}, n.failed
	case n.made != nil:
		return *n.made, nil
	}
	dir := filepath.Join(n.acct.dir, m.ID)
	bin := filepath.Join(dir, "bin")
	key := m.Key
	err := os.MkdirAll(bin, 0o700)
	if err == nil {
		err = os.WriteFile(filepath.Join(bin, "nvidia-smi"), []byte(nvidiaSMI(m)), 0o700)
	}
	if err == nil && m.Locked {
		key, err = anotherKey()
	}
	if err == nil {
		path := []string{bin, cmp.Or(os.Getenv("PATH"), "/usr/bin:/bin")}
		if own := n.acct.opts.Path; own != "" {
			path = slices.Insert(path, 1, own)
		}
		env := []string{"PATH=" + strings.Join(path, string(os.PathListSeparator))}
		for name, value := range m.Env {
			env = append(env, name+"="+value)
		}
		var inst gpu.Instance
		if n.acct.opts.Shallow {
			n.shallow, err = newShallow(dir, key, env)
		} else {
			n.from = local.New(local.Config{StateDir: dir, Daemon: n.acct.opts.Daemon, Env: env})
			inst, err = n.from.Create(n.ctx, gpu.CreateRequest{Name: m.ID, AuthorizedKey: key})
		}
		n.made = &inst
	}
	if err != nil {
		n.made = nil
		if n.ctx.Err() == nil {
			n.failed = fmt.Errorf("make the node of %s: %w", m.ID, err)
		}
		return gpu.Instance{}, err
	}
	return *n.made, nil
}

// end ends the node and whatever runs on it. It may be repeated.
func (n *node) end() {
	n.listener.Close()
	n.cancel()
	n.conns.Wait()
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.over {
		return
	}
	n.over = true
	switch {
	case n.shallow != nil:
		n.shallow.end()
	case n.made != nil:
		if err := n.from.Terminate(context.Background(), n.made.ID); err != nil {
			n.failed = fmt.Errorf("end the node of %s: %w", n.m.ID, err)
		}
	}
}

// err is what went wrong with the node itself.
func (n *node) err() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.failed
}

// anotherKey is a key that nobody has.
func anotherKey() (string, error) {
	public, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return "", err
	}
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		return "", err
	}
	return string(ssh.MarshalAuthorizedKey(key)), nil
}

// nvidiaSMI is a script that answers as nvidia-smi does on the machine.
func nvidiaSMI(m Machine) string {
	return strings.NewReplacer(
		"COUNT", fmt.Sprint(max(0, m.Count-m.FewerGPUs)),
		"MODEL", cmp.Or(m.OtherGPU, m.Offer.Model, m.Offer.GPU),
		"MEMORY", fmt.Sprint(m.Offer.VRAMGB*1024),
	).Replace(`#!/bin/sh
# The GPUs of a machine of the cloud for tests.
query=
for arg; do
	case $arg in
	-L) query=list ;;
	--query-gpu=*) query=${arg#--query-gpu=} ;;
	esac
done
[ COUNT -gt 0 ] || { echo "No devices were found"; exit 6; }
i=0
while [ $i -lt COUNT ]; do
	if [ "$query" = list ]; then
		echo "GPU $i: MODEL (UUID: GPU-00000000-0000-0000-0000-00000000000$i)"
	else
		line=
		IFS=,
		for field in ${query:-index,name}; do
			case $field in
			index) value=$i ;;
			name | gpu_name) value="MODEL" ;;
			uuid | gpu_uuid) value=GPU-00000000-0000-0000-0000-00000000000$i ;;
			memory.total | memory.free) value=MEMORY ;;
			driver_version) value=570.86.15 ;;
			memory.used | utilization.*) value=0 ;;
			*) echo "Field \"$field\" is not a valid field to query."; exit 2 ;;
			esac
			line="$line${line:+, }$value"
		done
		unset IFS
		echo "$line"
	fi
	i=$((i + 1))
done
`)
}
