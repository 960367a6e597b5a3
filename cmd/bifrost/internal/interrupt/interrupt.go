// Package interrupt decides what Ctrl-C and the other ways to stop a run mean, from what the run is
// doing and what was pressed before. It is a state machine without clocks, signals or terminals;
// the command feeds it and carries out what it answers.
//
//	m := interrupt.Machine{Terminal: true}
//	m.Begin()                              // a job is on its way, perhaps one of several
//	m.Observe(event)                       // each of the engine's events
//	m.Started("train-1")                   // it runs
//	m.Ready()                              // whoever began is done with beginning
//	switch m.Signal(interrupt.Int) { … }   // each signal
//	switch m.Key('d') { … }                // each key, while it asks
//	m.Ending("train-1")                    // its results and its machine remain
//	m.Over("train-1")
package interrupt

import "github.com/bifrost-run/bifrost/engine/report"

// A Signal is a request to stop that reached the process.
type Signal int

// The signals.
const (
	Int  Signal = iota // Ctrl-C
	Term               // somebody ended the process
	Hup                // the terminal went away
)

// An Action is what the command has to do now.
type Action int

// The actions.
const (
	None       Action = iota
	Destroy           // end the run; what it created is destroyed
	Ask               // ask for one of the keys d, s, c; the log goes on
	Stop              // stop the job, fetch the results, release the machine
	Detach            // leave the job running
	DetachSoon        // the same as soon as the job runs; nothing to do yet
	CarryOn           // the question is withdrawn
	Remind            // say what is being done already, and what the next one does
	Leave             // end the process at once, whatever is open
)

// A Phase is what a run is doing.
type Phase int

// The phases. A script that runs several jobs goes through them again; of several at once, the one
// that runs decides, then the one that does not run yet.
const (
	Preparing Phase = iota // no job runs yet: machines are rented, files are sent
	Running                // a job runs
	Ending                 // the jobs have ended: results and release
)

// A Machine decides. Its zero value is a run without a terminal that prepares. It is not safe for
// concurrent use.
type Machine struct {
	Terminal bool // somebody sits there who can be asked

	asking     bool
	decided    Action // Destroy, Stop or Detach once that was answered
	count      int    // of Ctrl-C since the last CarryOn
	detachSoon bool

	beginning int              // what may have a job that does not run yet
	jobs      map[string]Phase // Running or Ending, by the job's id
	rented    int              // machines of this run that may cost money now
	releasing int              // releases under way
}

// Phase returns what the run is doing.
func (m *Machine) Phase() Phase {
	switch {
	case m.Running() > 0:
		return Running
	case m.beginning == 0 && (len(m.jobs) > 0 || m.releasing > 0):
		return Ending
	}
	return Preparing
}

// Running is how many jobs run.
func (m *Machine) Running() int {
	n := 0
	for _, phase := range m.jobs {
		if phase == Running {
			n++
		}
	}
	return n
}

// Beginning is how many jobs, and items that may have one, were begun and do not run yet.
func (m *Machine) Beginning() int { return m.beginning }

// Rented tells whether the run has a machine that was not released.
func (m *Machine) Rented() bool { return m.rented > 0 }

// DetachSoon asks for Detach as soon as a job runs and all that was begun with it.
func (m *Machine) DetachSoon() { m.detachSoon = true }

// Begin says that a job, or an item that may have one, is on its way. Ready follows.
func (m *Machine) Begin() { m.beginning++ }

// Ready says that what Begin announced has a job that runs, or has none; the answer is Detach when
// that was asked for before and this is the last to be ready, else None.
func (m *Machine) Ready() Action {
	m.beginning--
	return m.detachWhenReady()
}

// Started says that a job runs now; the answer is as that of Ready.
func (m *Machine) Started(job string) Action {
	if m.jobs == nil {
		m.jobs = map[string]Phase{}
	}
	m.jobs[job] = Running
	return m.detachWhenReady()
}

func (m *Machine) detachWhenReady() Action {
	if m.detachSoon && m.decided == None && m.beginning == 0 && m.Running() > 0 {
		return m.decide(Detach)
	}
	return None
}

// Ending says that a job that had started runs no more; its results and its machine remain. The
// answer is CarryOn when a question has become pointless, else None.
func (m *Machine) Ending(job string) Action {
	if _, ran := m.jobs[job]; ran { // else its start failed
		m.jobs[job] = Ending
	}
	return m.withdraw()
}

// Over says that nothing of a job remains. A job that never started is over too.
func (m *Machine) Over(job string) { delete(m.jobs, job) }

// Observe learns from an event which machines the run has.
func (m *Machine) Observe(e report.Event) {
	switch {
	case e.Step == "provision" && e.Kind == report.Started:
		m.rented++
	case e.Step == "provision" && e.Kind == report.Ended && e.Err != nil:
		m.rented-- // the engine's own answer: what it could not undo is an error of another kind
	case e.Step == "release" && e.Kind == report.Started:
		m.releasing++
	case e.Step == "release" && e.Kind == report.Ended:
		m.releasing--
		if e.Err == nil && m.rented > 0 {
			m.rented--
		}
	}
}

// withdraw takes the question back when no job runs any more.
func (m *Machine) withdraw() Action {
	if !m.asking || m.Running() > 0 {
		return None
	}
	return m.carryOn()
}

func (m *Machine) carryOn() Action {
	m.asking = false
	m.count = 0
	return CarryOn
}

// Signal answers a signal.
func (m *Machine) Signal(s Signal) Action {
	if s == Hup {
		m.asking = false
		if m.decided != None || m.Phase() == Ending {
			return None // it goes on without a terminal
		}
		m.detachSoon = true
		if a := m.detachWhenReady(); a != None {
			return a
		}
		return DetachSoon
	}
	m.count++
	if m.count >= 3 {
		return Leave
	}
	switch {
	case m.decided != None:
		return Remind
	case m.Phase() == Preparing:
		return m.decide(Destroy)
	case m.Phase() == Ending:
		return Remind
	case m.Terminal && s == Int && m.count == 1:
		m.asking = true
		return Ask
	}
	return m.decide(Stop)
}

// Key answers a key that was pressed while the machine asks.
func (m *Machine) Key(k byte) Action {
	if !m.asking {
		return None
	}
	switch k {
	case 'd', 'D':
		return m.decide(Detach)
	case 's', 'S':
		return m.decide(Stop)
	case 'c', 'C':
		return m.carryOn()
	}
	return None
}

func (m *Machine) decide(a Action) Action {
	m.asking = false
	m.decided = a
	return a
}
