package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/bifrost-run/bifrost/cmd/bifrost/internal/screen"
	"github.com/bifrost-run/bifrost/engine"
	"github.com/bifrost-run/bifrost/engine/journal"
)

const (
	psAsk   = 3 * time.Second // how long the machines of running jobs may take to answer
	psEvery = 2 * time.Second // of --watch
)

func newPs(a *app) *cobra.Command {
	var all, watch, asJSON, quiet bool
	cmd := &cobra.Command{
		Use:     "ps",
		Short:   "Jobs and machines: state, age, price, spent, time left",
		GroupID: groupWatch,
		Long: `Lists the jobs that are not over and the machines that are not gone, those of other terminals too; your
own machines (ssh=) only while a job is on them. The machines of running jobs are asked how the jobs are; one that does not answer within 3 seconds is
shown as unreachable. A machine's state is in upper case where it may cost money that nobody wants to spend:
RELEASING until its provider has confirmed that it is gone. LEFT is when bifrost ends it at the latest. SWITCH
is node where the machine itself ends then, whatever becomes of this computer: shown only once that was read
back from it; client only where it is for bifrost alone.

--json prints {"version": 1, "jobs": [...], "nodes": [...]}. Fields of jobs: id, state, reachable,
exit_code, signal, reason, node, command, script, created, started, ended, timeout_s, log, results
({remote, local}). Of nodes: id, state, gpu_type, gpu_count, price_per_hour, spent, created, ended,
until, keep, switch (armed, off, client only), switch_until, note. Times are RFC 3339, prices USD; what is not known is absent.`,
		Example: `  bifrost ps
  bifrost ps -a
  bifrost terminate $(bifrost ps -q)`,
		Args: takes(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if asJSON && quiet {
				return usage(cmd, "give one of them", "--json and -q were given together")
			}
			ctx, stop := a.interruptible(cmd.Context())
			defer stop()
			eng, err := a.engine()
			if err != nil {
				return err
			}
			for {
				list, err := readListing(ctx, eng, all, quiet)
				if err != nil {
					return quietInterrupt(ctx, err)
				}
				if err := a.printListing(list, asJSON, quiet, watch); err != nil || !watch {
					return err
				}
				select {
				case <-ctx.Done():
					return quietInterrupt(ctx, context.Cause(ctx))
				case <-time.After(psEvery):
				}
			}
		},
	}
	flags := cmd.Flags()
	flags.BoolVarP(&all, "all", "a", false, "those that are over and gone too")
	flags.BoolVarP(&watch, "watch", "w", false, "again every two seconds, until Ctrl-C")
	flags.BoolVar(&asJSON, "json", false, "as JSON")
	flags.BoolVarP(&quiet, "quiet", "q", false, "ids of jobs only")
	return cmd
}

// A listing is what ps shows, read at one moment.
type listing struct {
	Now         time.Time
	Jobs        []journal.Job
	Nodes       []journal.Node
	Unreachable map[string]bool // ids of jobs whose machine did not answer
}

func readListing(ctx context.Context, eng *engine.Engine, all, quick bool) (listing, error) {
	jobs, err := eng.Jobs(ctx, all)
	if err != nil {
		return listing{}, err
	}
	l := listing{Unreachable: map[string]bool{}}
	if !quick && askJobs(ctx, eng, jobs, l.Unreachable) {
		if jobs, err = eng.Jobs(ctx, all); err != nil {
			return listing{}, err
		}
	}
	nodes, err := eng.Nodes(ctx, all)
	if err != nil {
		return listing{}, err
	}
	l.Now, l.Jobs, l.Nodes = time.Now(), jobs, nodes
	if !all { // the user's own machines are of interest while they are used
		l.Nodes = slices.DeleteFunc(nodes, func(n journal.Node) bool { return n.Provider == "ssh" && l.jobOf(n) == "" })
	}
	return l, nil
}

// askJobs asks the machines of running jobs how the jobs are: a job that nobody attends to has
// ended without the journal knowing. It tells whether any was asked.
func askJobs(ctx context.Context, eng *engine.Engine, jobs []journal.Job, unreachable map[string]bool) bool {
	ctx, cancel := context.WithTimeout(ctx, psAsk)
	defer cancel()
	var wg sync.WaitGroup
	var mu sync.Mutex
	asked := false
	for _, j := range jobs {
		if j.State != journal.JobRunning {
			continue
		}
		asked = true
		wg.Go(func() {
			h, err := eng.Attach(ctx, j.ID)
			if err == nil {
				_, err = h.Status(ctx)
			}
			if err != nil {
				mu.Lock()
				unreachable[j.ID] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return asked
}

func (a *app) printListing(l listing, asJSON, quiet, watch bool) error {
	out := a.screen.Stdout()
	switch {
	case asJSON:
		return writeJSON(out, l.json())
	case quiet:
		for _, j := range l.Jobs {
			if _, err := fmt.Fprintln(out, j.ID); err != nil {
				return err
			}
		}
		return nil
	case watch && term.IsTerminal(int(a.out.Fd())) && !a.env.Plain:
		if _, err := io.WriteString(out, "\x1b[H\x1b[2J"); err != nil {
			return err
		}
	case len(l.Jobs)+len(l.Nodes) == 0 && !watch:
		a.screen.Line("no jobs and no machines; bifrost ps -a shows the past, bifrost exec FILE starts one")
		return nil
	}
	return l.write(out)
}

// write prints the two tables.
func (l listing) write(w io.Writer) error {
	jobs := screen.NewTable("job", "state", ">age", ">left", "node", "command")
	for _, j := range l.Jobs {
		jobs.Row(j.ID, l.jobState(j), l.age(j.Created), l.left(jobUntil(j)), j.NodeID, shorten(j.Command, 40))
	}
	nodes := screen.NewTable("node", "state", "gpus", ">age", ">$/hour", ">spent", ">left", "switch", "job")
	for _, n := range l.Nodes {
		nodes.Row(n.ID, nodeState(n), gpus(n), l.age(n.Created), price(n), spent(n), l.left(nodeUntil(n)), switchWord(n), l.jobOf(n))
	}
	if jobs.Len() > 0 {
		if err := jobs.Write(w); err != nil {
			return err
		}
	}
	if nodes.Len() == 0 {
		return nil
	}
	if jobs.Len() > 0 {
		if _, err := fmt.Fprintln(w); err != nil {
			return err
		}
	}
	return nodes.Write(w)
}

func (l listing) jobState(j journal.Job) string {
	switch {
	case l.Unreachable[j.ID] && !j.State.Final():
		return string(j.State) + " (unreachable)"
	case j.State == journal.JobFailed && j.Signal != "":
		return "failed (" + j.Signal + ")"
	case j.State == journal.JobFailed && j.ExitCode != nil:
		return fmt.Sprintf("failed (%d)", *j.ExitCode)
	}
	return string(j.State)
}

// nodeState is in upper case where it may cost money that nobody wants to spend.
func nodeState(n journal.Node) string {
	switch {
	case n.State == journal.NodeReleasing, n.State == journal.NodeLeaked:
		return strings.ToUpper(string(n.State))
	case n.State == journal.NodeReady && !n.HoldUntil.IsZero():
		return "held"
	}
	return string(n.State)
}

// switchWord is who ends a machine that nobody needs any more: the node itself where that was read back,
// else only bifrost. What is gone, and what nobody rented, has none.
func switchWord(n journal.Node) string {
	switch {
	case n.Provider == "ssh" || n.State == journal.NodeGone || n.State == journal.NodeIntent:
		return ""
	case n.Switch == journal.SwitchArmed:
		return "node"
	}
	return string(journal.SwitchNone)
}

func gpus(n journal.Node) string {
	if n.GPUType == "" || n.GPUCount == 0 {
		return ""
	}
	return fmt.Sprintf("%dx %s", n.GPUCount, n.GPUType)
}

func price(n journal.Node) string {
	if n.Provider == "ssh" {
		return ""
	}
	return screen.Money(n.PricePerHour)
}

func spent(n journal.Node) string {
	if n.Provider == "ssh" {
		return ""
	}
	return screen.Money(engine.Cost(n))
}

func (l listing) jobOf(n journal.Node) string {
	var ids []string
	for _, j := range l.Jobs {
		if j.NodeID == n.ID && !j.State.Final() {
			ids = append(ids, j.ID)
		}
	}
	return strings.Join(ids, ",")
}

func (l listing) age(since time.Time) string {
	if since.IsZero() {
		return ""
	}
	return screen.Duration(l.Now.Sub(since))
}

func (l listing) left(until time.Time) string {
	if until.IsZero() {
		return ""
	}
	if left := until.Sub(l.Now); left > 0 {
		return screen.Duration(left)
	}
	return "over"
}

// jobUntil is when a running job will be ended at its time limit; zero when it has none.
func jobUntil(j journal.Job) time.Time {
	if j.State != journal.JobRunning || j.TimeoutS == 0 || j.Started.IsZero() {
		return time.Time{}
	}
	return j.Started.Add(time.Duration(j.TimeoutS) * time.Second)
}

// nodeUntil is when bifrost will end a machine at the latest; zero when nothing says so.
func nodeUntil(n journal.Node) time.Time {
	switch {
	case n.State == journal.NodeGone:
		return time.Time{}
	case !n.HoldUntil.IsZero():
		return n.HoldUntil
	}
	return n.Deadline
}

func shorten(text string, cols int) string {
	text = strings.Join(strings.Fields(text), " ")
	if runes := []rune(text); len(runes) > cols {
		return string(runes[:cols-3]) + "..."
	}
	return text
}

// The shapes of ps --json, version 1. Fields may be added; none changes its meaning.
type (
	jsonListing struct {
		Version int        `json:"version"`
		Jobs    []jsonJob  `json:"jobs"`
		Nodes   []jsonNode `json:"nodes"`
	}
	jsonJob struct {
		ID        string       `json:"id"`
		State     string       `json:"state"`
		Reachable *bool        `json:"reachable,omitempty"`
		ExitCode  *int         `json:"exit_code,omitempty"`
		Signal    string       `json:"signal,omitempty"`
		Reason    string       `json:"reason,omitempty"`
		Node      string       `json:"node,omitempty"`
		Command   string       `json:"command"`
		Script    string       `json:"script,omitempty"`
		Created   *time.Time   `json:"created,omitempty"`
		Started   *time.Time   `json:"started,omitempty"`
		Ended     *time.Time   `json:"ended,omitempty"`
		TimeoutS  int64        `json:"timeout_s,omitempty"`
		Log       string       `json:"log,omitempty"`
		Results   []jsonResult `json:"results,omitempty"`
	}
	jsonResult struct {
		Remote string `json:"remote"`
		Local  string `json:"local"`
	}
	jsonNode struct {
		ID           string     `json:"id"`
		State        string     `json:"state"`
		GPUType      string     `json:"gpu_type,omitempty"`
		GPUCount     int        `json:"gpu_count,omitempty"`
		PricePerHour float64    `json:"price_per_hour"`
		Spent        float64    `json:"spent"`
		Created      *time.Time `json:"created,omitempty"`
		Ended        *time.Time `json:"ended,omitempty"`
		Until        *time.Time `json:"until,omitempty"`
		Keep         bool       `json:"keep"`
		Switch       string     `json:"switch,omitempty"`
		SwitchUntil  *time.Time `json:"switch_until,omitempty"`
		Note         string     `json:"note,omitempty"`
	}
)

func (l listing) json() jsonListing {
	list := jsonListing{Version: 1, Jobs: []jsonJob{}, Nodes: []jsonNode{}}
	for _, j := range l.Jobs {
		job := jsonJob{
			ID: j.ID, State: string(j.State), ExitCode: j.ExitCode, Signal: j.Signal, Reason: j.Reason, Node: j.NodeID, Command: j.Command, Script: j.Script,
			Created: moment(j.Created), Started: moment(j.Started), Ended: moment(j.Ended), TimeoutS: j.TimeoutS, Log: j.LocalLog,
		}
		if j.State == journal.JobRunning {
			reachable := !l.Unreachable[j.ID]
			job.Reachable = &reachable
		}
		for _, r := range j.Results {
			job.Results = append(job.Results, jsonResult{Remote: r.Remote, Local: r.Local})
		}
		list.Jobs = append(list.Jobs, job)
	}
	for _, n := range l.Nodes {
		list.Nodes = append(list.Nodes, jsonNode{
			ID: n.ID, State: string(n.State), GPUType: n.GPUType, GPUCount: n.GPUCount, PricePerHour: n.PricePerHour, Spent: engine.Cost(n),
			Created: moment(n.Created), Ended: moment(n.Ended), Until: moment(nodeUntil(n)), Keep: n.Keep, Switch: string(n.Switch), SwitchUntil: moment(n.SwitchUntil), Note: n.Note,
		})
	}
	return list
}

func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

func writeJSON(w io.Writer, value any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(value)
}
