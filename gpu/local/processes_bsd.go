//go:build unix && !linux

package local

import (
	"bytes"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
)

const adoptsOrphans = false

// adoptOrphans does nothing: orphans pass to init here.
func adoptOrphans() error { return nil }

// processes lists those of this machine.
func processes() ([]process, error) {
	var all []process
	err := ps(func(pid int, rest string) {
		fields := strings.Fields(rest)
		if len(fields) < 2 {
			return
		}
		if parent, err := strconv.Atoi(fields[0]); err == nil {
			all = append(all, process{pid: pid, parent: parent, dead: strings.HasPrefix(fields[1], "Z")})
		}
	}, "-A", "-o", "pid=,ppid=,stat=")
	return all, err
}

// marked returns those of all that were started on instance id: ps shows the environment of the
// user's own processes, except that of the system's programs.
func marked(_ []process, id string) (map[int]bool, error) {
	found := map[int]bool{}
	err := ps(func(pid int, rest string) {
		if strings.Contains(" "+strings.TrimSpace(rest)+" ", " "+markEnv+"="+id+" ") {
			found[pid] = true
		}
	}, "-A", "-E", "-ww", "-o", "pid=,command=")
	return found, err
}

// ps calls line with each process that ps shows, but for itself.
func ps(line func(pid int, rest string), args ...string) error {
	var out bytes.Buffer
	cmd := exec.Command("ps", args...)
	cmd.Stdout = &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("list processes: %w", err)
	}
	for text := range strings.Lines(out.String()) {
		first, rest, _ := strings.Cut(strings.TrimSpace(text), " ")
		if pid, err := strconv.Atoi(first); err == nil && pid != cmd.Process.Pid {
			line(pid, rest)
		}
	}
	return nil
}

func memoryGB() float64 { return 0 }
