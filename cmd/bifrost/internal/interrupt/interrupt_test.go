package interrupt

import (
	"errors"
	"strings"
	"testing"

	"github.com/bifrost-run/bifrost/engine/report"
)

func began(step string) report.Event { return report.Event{Kind: report.Started, Step: step} }
func ended(step string) report.Event { return report.Event{Kind: report.Ended, Step: step} }

func failed(step string) report.Event {
	return report.Event{Kind: report.Ended, Step: step, Err: errors.New("x")}
}

var names = map[Action]string{
	None: "none", Destroy: "destroy", Ask: "ask", Stop: "stop", Detach: "detach", DetachSoon: "detach soon",
	CarryOn: "carry on", Remind: "remind", Leave: "leave",
}

// TestMachine plays a run. "begin" announces a job or an item, "ready" is the end of that; "run:x", "end:x" and
// "over:x" are the job x; "+x" a step begins, "-x" it ends well, "!x" it fails; INT, TERM, HUP; DETACH is -d; one letter
// is a key. The answers that are not none are what counts.
func TestMachine(t *testing.T) {
	t.Parallel()
	const two = "begin begin run:a ready run:b ready " // as parallel does it
	for _, tt := range []struct {
		name     string
		terminal bool
		play     string
		want     string
	}{
		{"before the job", true, "begin +provision INT", "destroy"},
		{"before the job, again", true, "begin +provision INT INT INT", "destroy, remind, leave"},
		{"while the job is started", true, "begin +start INT", "destroy"},
		{"while it runs", true, "begin run:a ready INT", "ask"},
		{"detach", true, "begin run:a ready INT d", "ask, detach"},
		{"stop", true, "begin run:a ready INT s", "ask, stop"},
		{"stop, impatient", true, "begin run:a ready INT s INT INT", "ask, stop, remind, leave"},
		{"carry on", true, "begin run:a ready INT c", "ask, carry on"},
		{"carry on, then again", true, "begin run:a ready INT c INT INT INT", "ask, carry on, ask, stop, leave"},
		{"another key", true, "begin run:a ready INT x d", "ask, detach"},
		{"key before the question", true, "begin run:a ready d s c INT", "ask"},
		{"second is stop", true, "begin run:a ready INT INT", "ask, stop"},
		{"third leaves", true, "begin run:a ready INT INT INT", "ask, stop, leave"},
		{"key after the second", true, "begin run:a ready INT INT d", "ask, stop"},
		{"TERM on a terminal does not ask", true, "begin run:a ready TERM", "stop"},
		{"no terminal", false, "begin run:a ready INT", "stop"},
		{"no terminal, TERM", false, "begin run:a ready TERM TERM TERM", "stop, remind, leave"},
		{"no terminal, before the job", false, "begin +push TERM", "destroy"},
		{"hup while it runs", false, "begin run:a ready HUP", "detach"},
		{"hup while asking", true, "begin run:a ready INT HUP d", "ask, detach"},
		{"hup before the job", true, "begin +push HUP -push run:a ready", "detach soon, detach"},
		{"hup before the job that fails", true, "begin +push HUP !push over:a ready", "detach soon"},
		{"hup before a job that fails, then one that runs", true, "begin HUP over:a ready begin run:b ready", "detach soon, detach"},
		{"hup after stop", true, "begin run:a ready INT s HUP", "ask, stop"},
		{"hup while ending", true, "begin run:a ready end:a +results HUP", ""},
		{"job ends while asking", true, "begin run:a ready INT end:a d", "ask, carry on"},
		{"results", true, "begin run:a ready end:a +results INT INT INT", "remind, remind, leave"},
		{"a second run", true, "begin run:a ready end:a +release -release over:a begin +connect INT", "destroy"},
		{"a second job runs", true, "begin run:a ready end:a +release -release over:a begin +connect run:b ready INT", "ask"},
		{"between two runs", true, "begin run:a ready end:a over:a INT", "destroy"},
		{"start failed", true, "begin +start !start INT", "destroy"},
		{"-d", false, "DETACH begin run:a ready", "detach"},

		{"a node", true, "+provision -provision +connect -connect INT", "destroy"},
		{"a node is released", true, "+provision -provision +release INT", "remind"},
		{"a node is released, another one is not", true, "+provision -provision begin +release INT", "destroy"},

		{"two run", true, two + "INT", "ask"},
		{"one of two has ended", true, two + "end:a +results -results +release -release over:a INT", "ask"},
		{"one of two is ending", true, two + "end:a +results INT", "ask"},
		{"one of two has ended, hup", true, two + "end:a over:a HUP", "detach"},
		{"one of two ends while asking", true, two + "INT end:a over:a d", "ask, detach"},
		{"both end while asking", true, two + "INT end:a end:b d", "ask, carry on"},
		{"one is sent while asking", true, "begin begin run:a ready INT +connect -connect +push -push s", "ask, stop"},
		{"one starts while asking", true, "begin begin run:a ready INT run:b ready d", "ask, detach"},
		{"one starts after the stop", true, "begin begin run:a ready INT s run:b ready", "ask, stop"},
		{"one runs, one does not yet", true, "begin begin run:a ready INT d", "ask, detach"},
		{"one has ended, one does not run yet", true, "begin begin run:a ready end:a +results INT", "destroy"},
		{"both have ended", true, two + "end:a end:b +results INT", "remind"},
		{"neither runs, hup", true, "begin begin HUP run:a ready run:b ready", "detach soon, detach"},
		{"one runs, hup", true, "begin begin run:a ready HUP run:b ready", "detach soon, detach"},
		{"one runs, hup, the other fails", true, "begin begin run:a ready HUP over:b ready", "detach soon, detach"},
		{"both fail after hup", true, "begin begin HUP over:a ready over:b ready", "detach soon"},
		{"hup twice", true, "begin begin run:a ready HUP HUP run:b ready", "detach soon, detach soon, detach"},
		{"-d waits for all", false, "DETACH begin begin begin run:a ready run:b ready end:a over:a run:c ready", "detach"},
		{"-d, one item has no job", false, "DETACH begin begin run:a ready ready", "detach"},
		{"-d, none has a job, then one", false, "DETACH begin begin ready ready begin run:a ready", "detach"},
		{"-d, interrupted before all run", true, "DETACH begin begin run:a ready INT s run:b ready", "ask, stop"},
		{"-d, second job of an item", false, "DETACH begin begin run:a ready end:a over:a run:b end:b over:b run:c ready", "detach"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m := Machine{Terminal: tt.terminal}
			var got []string
			for _, word := range strings.Fields(tt.play) {
				if a := play(&m, word); a != None {
					got = append(got, names[a])
				}
			}
			if got := strings.Join(got, ", "); got != tt.want {
				t.Errorf("%s: got %q want %q", tt.play, got, tt.want)
			}
		})
	}
}

func play(m *Machine, word string) Action {
	does, job, _ := strings.Cut(word, ":")
	switch does {
	case "INT":
		return m.Signal(Int)
	case "TERM":
		return m.Signal(Term)
	case "HUP":
		return m.Signal(Hup)
	case "DETACH":
		m.DetachSoon()
	case "begin":
		m.Begin()
	case "ready":
		return m.Ready()
	case "run":
		return m.Started(job)
	case "end":
		return m.Ending(job)
	case "over":
		m.Over(job)
	default:
		switch word[0] {
		case '+':
			m.Observe(began(word[1:]))
		case '-':
			m.Observe(ended(word[1:]))
		case '!':
			m.Observe(failed(word[1:]))
		default:
			return m.Key(word[0])
		}
	}
	return None
}

func TestRented(t *testing.T) {
	t.Parallel()
	var m Machine
	for _, step := range []struct {
		e    report.Event
		want bool
	}{
		{began("connect"), false},
		{began("provision"), true},
		{ended("provision"), true},
		{began("release"), true},
		{failed("release"), true},
		{began("release"), true},
		{ended("release"), false},
		{began("provision"), true},
		{failed("provision"), false},
	} {
		m.Observe(step.e)
		if got := m.Rented(); got != step.want {
			t.Errorf("after %s: got %t want %t", step.e.Step, got, step.want)
		}
	}
}

// TestEndingOfAJobThatNeverRan: the teardown of a job whose start failed is announced, too.
func TestEndingOfAJobThatNeverRan(t *testing.T) {
	t.Parallel()
	var m Machine
	m.Begin()
	if got := m.Ending("job-1"); got != None || m.Running() != 0 {
		t.Errorf("Ending = %v with %d running, want None and 0", got, m.Running())
	}
	m.Over("job-1")
	m.Ready()
}
