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

// TestMachine plays a run: "+x" a step begins, "-x" it ends well, "!x" it fails; INT, TERM, HUP;
// "run" the job
// runs, "over" the run is over; one letter is a key. The answers that are not none are what counts.
func TestMachine(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name     string
		terminal bool
		play     string
		want     string
	}{
		{"before the job", true, "+provision INT", "destroy"},
		{"before the job, again", true, "+provision INT INT INT", "destroy, remind, leave"},
		{"while the job is started", true, "+start INT", "destroy"},
		{"while it runs", true, "run INT", "ask"},
		{"detach", true, "run INT d", "ask, detach"},
		{"stop", true, "run INT s", "ask, stop"},
		{"stop, impatient", true, "run INT s INT INT", "ask, stop, remind, leave"},
		{"carry on", true, "run INT c", "ask, carry on"},
		{"carry on, then again", true, "run INT c INT INT INT", "ask, carry on, ask, stop, leave"},
		{"another key", true, "run INT x d", "ask, detach"},
		{"key before the question", true, "run d s c INT", "ask"},
		{"second is stop", true, "run INT INT", "ask, stop"},
		{"third leaves", true, "run INT INT INT", "ask, stop, leave"},
		{"key after the second", true, "run INT INT d", "ask, stop"},
		{"TERM on a terminal does not ask", true, "run TERM", "stop"},
		{"no terminal", false, "run INT", "stop"},
		{"no terminal, TERM", false, "run TERM TERM TERM", "stop, remind, leave"},
		{"no terminal, before the job", false, "+push TERM", "destroy"},
		{"hup while it runs", false, "run HUP", "detach"},
		{"hup while asking", true, "run INT HUP d", "ask, detach"},
		{"hup before the job", true, "+push HUP -push run", "detach soon, detach"},
		{"hup before the job that fails", true, "+push HUP !push", "detach soon"},
		{"hup after stop", true, "run INT s HUP", "ask, stop"},
		{"hup while ending", true, "run +results HUP", ""},
		{"job ends while asking", true, "run INT +results d", "ask, carry on"},
		{"results", true, "run +results INT INT INT", "remind, remind, leave"},
		{"a second run", true, "run +results -results +release -release +connect INT", "destroy"},
		{"a second job runs", true, "run +release -release +connect run INT", "ask"},
		{"start failed", true, "+start !start INT", "destroy"},
		{"a run without results ended", true, "run over INT", "destroy"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m := Machine{Terminal: tt.terminal}
			var got []string
			for _, word := range strings.Fields(tt.play) {
				var a Action
				switch {
				case word == "INT":
					a = m.Signal(Int)
				case word == "TERM":
					a = m.Signal(Term)
				case word == "HUP":
					a = m.Signal(Hup)
				case word == "over":
					a = m.Over()
				case word == "run":
					a = m.Started()
				case word[0] == '+':
					a = m.Observe(began(word[1:]))
				case word[0] == '-':
					a = m.Observe(ended(word[1:]))
				case word[0] == '!':
					a = m.Observe(failed(word[1:]))
				default:
					a = m.Key(word[0])
				}
				if a != None {
					got = append(got, names[a])
				}
			}
			if got := strings.Join(got, ", "); got != tt.want {
				t.Errorf("%s: got %q want %q", tt.play, got, tt.want)
			}
		})
	}
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
		{failed("release"), true},
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
