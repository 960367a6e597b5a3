package local

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

// The files in an instance's folder.
const (
	infoFile    = "info.json"
	lockName    = "lock" // locked by the daemon for as long as it lives
	hostKeyFile = "host_key"
	authFile    = "authorized_keys"
	logFile     = "daemon.log"
	homeDir     = "home"
	tmpDir      = "tmp"
)

// info is info.json: written by who creates the instance, then by its daemon.
type info struct {
	ID       string    `json:"id"`
	Name     string    `json:"name"`
	Created  time.Time `json:"created"`
	User     string    `json:"user"`
	HostKey  string    `json:"host_key"` // authorized_keys form
	GPUType  string    `json:"gpu_type,omitempty"`
	GPUCount int       `json:"gpu_count"`
	Env      []string  `json:"env,omitempty"`  // Config.Env
	Sockets  string    `json:"sockets"`        // folder for tmux, outside: socket paths are short
	Pid      int       `json:"pid,omitempty"`  // of the daemon, once it has started
	Port     int       `json:"port,omitempty"` // once it listens
}

func readInfo(dir string) (info, error) {
	data, err := os.ReadFile(filepath.Join(dir, infoFile))
	if err != nil {
		return info{}, err
	}
	var in info
	if err := json.Unmarshal(data, &in); err != nil {
		return info{}, fmt.Errorf("read %s: %w", filepath.Join(dir, infoFile), err)
	}
	return in, nil
}

// write replaces info.json in one step. A folder that is gone is not made again.
func (in info) write(dir string) error {
	data, err := json.MarshalIndent(in, "", "  ")
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".info-*")
	if err != nil {
		return err
	}
	_, err = f.Write(append(data, '\n'))
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(f.Name(), filepath.Join(dir, infoFile))
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

const (
	idAlphabet = "23456789abcdefghjkmnpqrstuvwxyz"
	idLength   = 8
)

func newID() (string, error) {
	id := make([]byte, idLength)
	if _, err := rand.Read(id); err != nil {
		return "", err
	}
	for i, b := range id {
		id[i] = idAlphabet[int(b)%len(idAlphabet)]
	}
	return string(id), nil
}

func validID(id string) bool {
	return len(id) == idLength && strings.Trim(id, idAlphabet) == ""
}

// newFolder fills dir with all that a daemon needs, and returns its info.
func newFolder(dir, id, name, authorizedKey string) (info, error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return info{}, err
	}
	for _, sub := range []string{homeDir, tmpDir} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o700); err != nil {
			return info{}, err
		}
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return info{}, err
	}
	block, err := ssh.MarshalPrivateKey(private, "bifrost local node "+id)
	if err != nil {
		return info{}, err
	}
	hostKey, err := ssh.NewPublicKey(public)
	if err != nil {
		return info{}, err
	}
	for file, data := range map[string][]byte{
		hostKeyFile: pem.EncodeToMemory(block),
		authFile:    []byte(strings.TrimSpace(authorizedKey) + "\n"),
		lockName:    nil,
	} {
		if err := os.WriteFile(filepath.Join(dir, file), data, 0o600); err != nil {
			return info{}, err
		}
	}
	in := info{
		ID: id, Name: name, Created: time.Now().UTC().Truncate(time.Millisecond), User: userName(),
		HostKey: strings.TrimSpace(string(ssh.MarshalAuthorizedKey(hostKey))), Sockets: socketDir(id),
	}
	return in, in.write(dir)
}

// socketDir is where an instance's tmux has its sockets: two instances never meet there.
func socketDir(id string) string {
	base := os.TempDir()
	if len(base) > 60 { // too long for <base>/bifrost-<id>/tmux-<uid>/<name> as a socket's path
		base = "/tmp"
	}
	return filepath.Join(base, "bifrost-"+id)
}

func userName() string {
	if u, err := user.Current(); err == nil && u.Username != "" {
		return u.Username
	}
	return "user"
}

// removeTree removes dir whatever modes its folders were given.
func removeTree(dir string) error {
	if os.RemoveAll(dir) == nil {
		return nil
	}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if d != nil && d.IsDir() && err == nil {
			_ = os.Chmod(path, 0o700) // before it is read; RemoveAll reports what cannot be
		}
		return nil
	})
	return errors.Join(err, os.RemoveAll(dir))
}

// removeInstance removes the instance's folder, first its name: what is half removed is no
// instance any more.
func removeInstance(dir string) error {
	trash := filepath.Join(filepath.Dir(dir), ".gone-"+filepath.Base(dir))
	if err := os.Rename(dir, trash); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return removeTree(trash)
}
