// Command startup measures how long it takes until a deploy script can do its first thing: bifrost exec
// of a script that does nothing, beside the start of Python with paramiko, the library that the scripts
// it replaces begin with. The two alternate; what counts is the ratio.
//
//	go run ./bench/startup -n 21
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"
)

func main() {
	runs := flag.Int("n", 21, "runs of each, after one that does not count")
	flag.Parse()
	if err := measure(*runs); err != nil {
		fmt.Fprintln(os.Stderr, "startup:", err)
		os.Exit(1)
	}
}

func measure(runs int) error {
	dir, err := os.MkdirTemp("", "bifrost-startup-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	bifrost := filepath.Join(dir, "bifrost")
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", bifrost, "./cmd/bifrost")
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // as make build has it
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build: %w\n%s", err, out)
	}
	script := filepath.Join(dir, "nothing.star")
	if err := os.WriteFile(script, []byte("nothing = None\n"), 0o644); err != nil {
		return err
	}
	python, err := findPython()
	if err != nil {
		return err
	}
	env := append(os.Environ(), "XDG_STATE_HOME="+filepath.Join(dir, "state"))
	ours := []string{bifrost, "exec", script}
	peer := []string{python, "-c", "import paramiko"}
	var oursTook, peerTook []time.Duration
	for i := range runs + 1 {
		a, err := timed(env, ours)
		if err != nil {
			return err
		}
		b, err := timed(env, peer)
		if err != nil {
			return err
		}
		if i > 0 {
			oursTook, peerTook = append(oursTook, a), append(peerTook, b)
		}
	}
	a, b := median(oursTook), median(peerTook)
	fmt.Printf("median of %d, alternating\n  bifrost exec nothing.star     %6.1f ms\n  python3 -c 'import paramiko'  %6.1f ms\n  ratio                         %6.2f\n",
		runs, ms(a), ms(b), ms(a)/ms(b))
	return nil
}

// findPython returns a Python that has paramiko.
func findPython() (string, error) {
	for _, name := range []string{"python3", "/usr/bin/python3"} {
		if exec.Command(name, "-c", "import paramiko").Run() == nil {
			return name, nil
		}
	}
	return "", errors.New("there is no Python with paramiko to compare with (Debian: python3-paramiko)")
}

func timed(env, argv []string) (time.Duration, error) {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = env
	start := time.Now()
	out, err := cmd.CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("%v: %w\n%s", argv, err, out)
	}
	return time.Since(start), nil
}

func median(all []time.Duration) time.Duration {
	slices.Sort(all)
	return all[len(all)/2]
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
