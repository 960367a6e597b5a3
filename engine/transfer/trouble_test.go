//go:build linux

package transfer

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bifrost-run/bifrost/engine/enginetest"
	"github.com/bifrost-run/bifrost/engine/fault"
)

// smallDisk mounts a file system of a megabyte.
func smallDisk(t *testing.T, dir string) {
	t.Helper()
	enginetest.Need(t, "root")
	must(t, os.MkdirAll(dir, 0o755))
	if err := unix.Mount("none", dir, "tmpfs", 0, "size=1m"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skipf("mounting a small disk: %v", err)
	}
	t.Cleanup(func() {
		// Another test that just starts a program may have its files open once more.
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
}

func TestDownloadToAFullDisk(t *testing.T) {
	t.Parallel()
	forNodes(t, func(t *testing.T, node *enginetest.Shell) {
		want := tree{"a": noise(1, 300<<10), "b": noise(2, 3<<20)}
		want.write(t, filepath.Join(node.Home, "r"))
		dir := filepath.Join(t.TempDir(), "disk")
		smallDisk(t, dir)
		req := Request{Remote: "r", RemoteDir: "~", Local: "to", LocalDir: dir}
		res, err := Download(t.Context(), node, req)
		wantKind(t, err, fault.DiskFull, dir+"/to", "free", "still to come", "goes on where it stopped")
		if parts := noHalf(t, filepath.Join(dir, "to"), want); parts != 1 || res.Files != 1 {
			t.Errorf("got %d parts and %+v, want one and the first file", parts, res)
		}
		must(t, unix.Mount("none", dir, "tmpfs", unix.MS_REMOUNT, "size=8m"))
		res, err = Download(t.Context(), node, req)
		must(t, err)
		if res.Bytes >= 5<<19 || res.Skipped != 1 {
			t.Errorf("got %+v, want the rest alone", res)
		}
		diffTree(t, filepath.Join(dir, "to"), want)
	})
}

// Pieces of a large file wait beside it only as far as there is room for it as well.
func TestWideDownloadToATightDisk(t *testing.T) {
	t.Parallel()
	s, _, node := distantNode(t, enginetest.Options{})
	want := tree{"f": noise(1, 800<<10)}
	want.write(t, s.Home)
	dir := filepath.Join(t.TempDir(), "disk")
	smallDisk(t, dir)
	w := smallWidth()
	w.spill = 4 << 20
	_, err := downloadOver(t.Context(), node, Request{Remote: "f", Local: "f", LocalDir: dir}, patientRetry(), w)
	must(t, err)
	diffTree(t, dir, want)
}

func TestUploadToAFullDisk(t *testing.T) {
	t.Parallel()
	forNodes(t, func(t *testing.T, node *enginetest.Shell) {
		dir := t.TempDir()
		tree{"s/a": noise(1, 300<<10), "s/b": noise(2, 30<<20), "s/c": noise(3, 30<<20)}.write(t, dir)
		disk := filepath.Join(node.Home, "di sk")
		smallDisk(t, disk)
		tree{"mine": "M"}.write(t, disk)
		res, err := Upload(t.Context(), node, UploadRequest{Local: "s", LocalDir: dir, Remote: "di sk/"})
		wantKind(t, err, fault.DiskFull, disk, "free", "to upload")
		if res.Bytes > 40<<20 {
			t.Errorf("%d bytes were sent to a full disk", res.Bytes)
		}
		_, err = Upload(t.Context(), node, UploadRequest{Local: "s/b", LocalDir: dir, Remote: "di sk/x"})
		wantKind(t, err, fault.DiskFull, disk+": ")
		tree{"p/b": digits(2, 30<<20), "p/c": digits(3, 30<<20)}.write(t, dir)
		res, err = Upload(t.Context(), far{node}, UploadRequest{Local: "p", LocalDir: dir, Remote: "di sk/"})
		wantKind(t, err, fault.DiskFull, disk, "free", "to upload")
		if res.Bytes > 40<<20 {
			t.Errorf("%d bytes were packed for a full disk", res.Bytes)
		}
		wantKind(t, WriteFile(t.Context(), node, "~/di sk", "y", make([]byte, 2<<20), 0), fault.DiskFull, "y")
		diffTree(t, disk, tree{"mine": "M"})
	})
}

func TestDownloadWithoutPermission(t *testing.T) {
	t.Parallel()
	enginetest.Need(t, "root")
	nobody := []string{need(t, "setpriv"), "--reuid=65534", "--regid=65534", "--clear-groups"}
	forNodes(t, func(t *testing.T, node *enginetest.Shell) {
		must(t, os.Chmod(node.Home, 0o755))
		shell := node.Argv
		if shell == nil {
			shell = []string{"/bin/sh"}
		}
		node.Argv = append(nobody[:len(nobody):len(nobody)], shell...)
		tree{"r/a": "A", "r/sec ret": "S", "r/new\nsecret": "S", "r/locked/x": "X", "r/z": "Z", "one": "1"}.write(t, node.Home)
		_, err := Download(t.Context(), node, Request{Remote: "r", RemoteDir: "~", Local: "to", LocalDir: t.TempDir(), MissingOK: true})
		wantKind(t, err, fault.Transfer, "ermission denied") // which is not the same as missing
		must(t, os.Chmod(filepath.Dir(node.Home), 0o755))
		for _, name := range []string{"r/sec ret", "r/new\nsecret", "r/locked", "one"} {
			must(t, os.Chmod(filepath.Join(node.Home, name), 0))
		}
		dir := t.TempDir()
		runner := &counter{Runner: node}
		_, err = Download(t.Context(), runner, Request{Remote: "r", RemoteDir: "~", Local: "to", LocalDir: dir})
		wantKind(t, err, fault.Transfer, "sec ret: permission denied on the node", `new\nsecret"`, "locked", "to; the same download")
		diffTree(t, filepath.Join(dir, "to"), tree{"a": "A", "z": "Z", "locked/": ""})
		if runner.runs > 2 {
			t.Errorf("got %d commands, want 2 at most", runner.runs)
		}
		_, err = Download(t.Context(), node, Request{Remote: "one", RemoteDir: "~", Local: "one", LocalDir: dir})
		wantKind(t, err, fault.Transfer, "one", "ermission denied")
		_, err = Download(t.Context(), node, Request{Remote: "r/locked/", RemoteDir: "~", Local: "l", LocalDir: dir})
		wantKind(t, err, fault.Transfer, "locked", "ermission denied")
		_, err = ReadFile(t.Context(), node, "", "one", 10)
		wantKind(t, err, fault.Transfer, "ermission denied")
		tree{"up": "U"}.write(t, dir)
		_, err = Upload(t.Context(), node, UploadRequest{Local: "up", LocalDir: dir, Remote: "r/"})
		wantKind(t, err, fault.Transfer, "ermission denied")
		wantKind(t, WriteFile(t.Context(), node, "", "w", nil, 0), fault.Transfer, "ermission denied")
	})
}

// A file of a size that does not fit into memory goes both ways in a few megabytes.
func TestMemoryIsBounded(t *testing.T) {
	if testing.Short() {
		t.Skip("moves a gigabyte")
	}
	node := &enginetest.Shell{Home: t.TempDir()}
	const size = 512 << 20
	f, err := os.Create(filepath.Join(node.Home, "big"))
	must(t, err)
	must(t, f.Truncate(size))
	f.Close()
	dir := t.TempDir()
	before := heap()
	_, err = Download(t.Context(), node, Request{Remote: "big", RemoteDir: "~", Local: "big", LocalDir: dir})
	must(t, err)
	_, err = Upload(t.Context(), node, UploadRequest{Local: "big", LocalDir: dir, Remote: "again"})
	must(t, err)
	if grown := heap() - before; grown > 64<<20 {
		t.Errorf("took %d MB of memory", grown>>20)
	}
	info, err := os.Stat(filepath.Join(node.Home, "again"))
	if err != nil || info.Size() != size {
		t.Errorf("got %v, %v; want %d bytes", info, err, size)
	}
}

// heap returns what this process has ever had from the system for its heap, in bytes.
func heap() int64 {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		var kb int64
		if n, _ := fmt.Sscanf(line, "VmHWM: %d kB", &kb); n == 1 {
			return kb << 10
		}
	}
	return 0
}
