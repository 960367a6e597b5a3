package engine

import (
	"cmp"
	"time"
)

// A Timing is how long the engine waits where machines and money are concerned. A field that is 0 has the
// default that its comment begins with. People need none of them; tests shorten them.
type Timing struct {
	Search time.Duration // 20 s: what one provider may take to list its offers
	Ask    time.Duration // 45 s: what one provider may take for any other question, when others wait for it

	Refused time.Duration // 2 min: how long a create that is refused for its rate is sent again

	Adopt     time.Duration // 2 min: how long a create without a clear answer is looked for by its name
	AdoptPoll time.Duration // 1 s: the first pause between two looks; it grows to twenty times as long

	Boot     time.Duration // as the provider needs, see bootLimit: from the create to a machine that is ready
	BootPoll time.Duration // 500 ms: the first pause between two looks at a machine that boots; it grows to twenty times as long
	Driver   time.Duration // 2 min: how long nvidia-smi may fail on a machine that can be reached
	Visible  time.Duration // 1 min: how long after its create a machine that is not shown counts as one that is not shown yet

	Release     time.Duration // 2 min: how long a release is tried before it is left to the guardian and to settling
	ReleasePoll time.Duration // 2 s: the first pause between two terminate calls; it grows to fifteen times as long
	Confirm     time.Duration // 2 s, on this machine 50 ms: between the two reads that confirm that a machine is gone

	NoJob time.Duration // 30 min: how long a machine may be there without a job, when nobody vouches for it
	Hold  time.Duration // 15 min: how long a machine is held for results that are not complete
	Grace time.Duration // 30 min: what a job's machine may take beyond its time limit
	Watch time.Duration // 5 s: how often a guardian looks whether a machine is over its time
	Guard time.Duration // 500 ms: how often it looks whether the process that it guards is gone
}

// orDefaults returns t with its defaults filled in, but for Boot and Confirm, which depend on the provider.
func (t Timing) orDefaults() Timing {
	t.Search = cmp.Or(t.Search, 20*time.Second)
	t.Ask = cmp.Or(t.Ask, 45*time.Second)
	t.Refused = cmp.Or(t.Refused, 2*time.Minute)
	t.Adopt = cmp.Or(t.Adopt, 2*time.Minute)
	t.AdoptPoll = cmp.Or(t.AdoptPoll, time.Second)
	t.BootPoll = cmp.Or(t.BootPoll, 500*time.Millisecond)
	t.Driver = cmp.Or(t.Driver, 2*time.Minute)
	t.Visible = cmp.Or(t.Visible, time.Minute)
	t.Release = cmp.Or(t.Release, 2*time.Minute)
	t.ReleasePoll = cmp.Or(t.ReleasePoll, 2*time.Second)
	t.NoJob = cmp.Or(t.NoJob, 30*time.Minute)
	t.Hold = cmp.Or(t.Hold, DefaultHold)
	t.Grace = cmp.Or(t.Grace, 30*time.Minute)
	t.Watch = cmp.Or(t.Watch, 5*time.Second)
	t.Guard = cmp.Or(t.Guard, 500*time.Millisecond)
	return t
}

// bootLimit is how long a machine of a provider may take from its create until it is ready. The figures
// are what clients of these providers report as of November 2026, with room.
func (e *Engine) bootLimit(provider string, gpus int) time.Duration {
	if t := e.cfg.Timing.Boot; t > 0 {
		return t
	}
	switch {
	case provider == "runpod", provider == "prime":
		return 20 * time.Minute
	case provider == "vast":
		return 12 * time.Minute
	case provider == "lambda" && gpus >= 8:
		return 30 * time.Minute
	case provider == "lambda":
		return 15 * time.Minute
	}
	return 10 * time.Minute
}

// confirmPause is what lies between the two reads that confirm that a machine is gone.
func (e *Engine) confirmPause(provider string) time.Duration {
	switch {
	case e.cfg.Timing.Confirm > 0:
		return e.cfg.Timing.Confirm
	case provider == "local":
		return 50 * time.Millisecond
	}
	return 2 * time.Second
}

// now is the time of day, for what is recorded and shown. What must pass is measured without it: the
// clock of a machine can be set.
func (e *Engine) now() time.Time { return e.cfg.Now() }
