//go:build linux

package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// machine describes what the figures were measured on, without a name that tells which one it is.
func machine() string {
	cpu := "unknown processor"
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(info)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				cpu = strings.TrimSpace(value)
				break
			}
		}
	}
	kernel := ""
	var name unix.Utsname
	if unix.Uname(&name) == nil {
		kernel = unix.ByteSliceToString(name.Release[:])
	}
	return fmt.Sprintf("%s, %d cores, Linux %s, %s, %s, %s, %s, files in memory on both sides", cpu, runtime.NumCPU(), kernel,
		strings.TrimSuffix(firstWord(",", "ssh", "-V"), ","), firstWord("  protocol", "rsync", "--version"), firstWord("\n", "git", "--version"), runtime.Version())
}

// firstWord is what a program prints up to a separator.
func firstWord(end string, argv ...string) string {
	out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		return argv[0] + " is missing"
	}
	text, _, _ := strings.Cut(string(out), end)
	return strings.Join(strings.Fields(text), " ")
}

// writeReport rewrites the file of results.
func writeReport(path string, b *bench, table []line, grown string, took time.Duration) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	fmt.Fprintf(f, "# Results of the last run\n\nWritten by `make bench`; [performance.md](../docs/performance.md) says what is measured and how.\n\n%s. %s, %d runs of each in turns, medians; %s in all.\n\n",
		machine(), time.Now().UTC().Format("2006-01-02"), b.runs, took.Round(time.Second))
	fmt.Fprint(f, tableHead)
	writeLines(f, table)
	if grown != "" {
		fmt.Fprintf(f, "\nHow cost grows, at no distance:\n\n%s", grown)
	}
	return f.Close()
}
