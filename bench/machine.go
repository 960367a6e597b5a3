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
func writeReport(path string, b *bench, table []line, grown, where string, took time.Duration) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	fmt.Fprintf(f, "# Results of the last run\n\nWritten by `make bench`; [performance.md](../docs/performance.md) says what is measured and how.\n\n%s. %s, %d runs of each in turns, medians; %s in all.\n",
		machine(), time.Now().UTC().Format("2006-01-02"), b.runs, took.Round(time.Second))
	if b.quick {
		fmt.Fprint(f, "Quick: a fraction of the data that the rows' names say.\n")
	}
	// The bench itself keeps two or three processes busy.
	if now := load(); now > float64(2*runtime.NumCPU()) {
		fmt.Fprintf(f, "**The machine was busy with other work (load %.0f on %d cores): the times are not to be trusted, ratios hardly, round trips and memory are.**\n", now, runtime.NumCPU())
	}
	fmt.Fprintln(f)
	fmt.Fprint(f, tableHead)
	writeLines(f, table)
	if grown != "" {
		fmt.Fprintf(f, "\nHow cost grows, at no distance:\n\n%s", grown)
	}
	if where != "" {
		fmt.Fprintf(f, "\nWhere the round trips go. One run of each, ours; the time is that at which the bytes enter the link, -> is to the node:\n\n```%s```\n", where)
	}
	return f.Close()
}

// load is how many processes wanted a processor in the last 15 minutes, on average.
func load() float64 {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0
	}
	var one, five, fifteen float64
	fmt.Sscan(string(text), &one, &five, &fifteen)
	return fifteen
}
