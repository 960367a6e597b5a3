package local

import (
	"bytes"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

const adoptsOrphans = true

// adoptOrphans makes this process the parent of what its descendants leave behind, so that whatever
// ran away by setsid and a double fork can still be found.
func adoptOrphans() error {
	return os.NewSyscallError("prctl", unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))
}

// processes lists those of this machine.
func processes() ([]process, error) {
	proc, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer proc.Close()
	names, err := proc.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	var all []process
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		stat, err := os.ReadFile("/proc/" + name + "/stat")
		if err != nil {
			continue // it has ended
		}
		// proc(5): pid (comm) state ppid …; comm may hold anything, ")" included.
		fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
		if len(fields) < 2 {
			continue
		}
		parent, err := strconv.Atoi(string(fields[1]))
		if err != nil {
			continue
		}
		state := fields[0][0]
		all = append(all, process{pid: pid, parent: parent, dead: state == 'Z' || state == 'X'})
	}
	return all, nil
}

// marked returns those of all that were started on instance id, as their environment says.
func marked(all []process, id string) (map[int]bool, error) {
	found := map[int]bool{}
	want := []byte(markEnv + "=" + id)
	for _, p := range all {
		environ, err := os.ReadFile("/proc/" + strconv.Itoa(p.pid) + "/environ")
		if err != nil {
			continue // it has ended, or is not ours
		}
		for kv := range bytes.SplitSeq(environ, []byte{0}) {
			if bytes.Equal(kv, want) {
				found[p.pid] = true
			}
		}
	}
	return found, nil
}

func memoryGB() float64 {
	var s unix.Sysinfo_t
	if unix.Sysinfo(&s) != nil {
		return 0
	}
	return float64(s.Totalram) * float64(s.Unit) / (1 << 30)
}
