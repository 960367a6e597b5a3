// Package interrupt decides what Ctrl-C and the other ways to stop a run mean, from what the run is
// doing and what was pressed before. It is a state machine without clocks, signals or terminals;
// the command feeds it and carries out what it answers.
//
//	m := interrupt.Machine{Terminal: true}
//	m.Observe(event)                       // each of the engine's events
//	m.Started()                            // the job runs
//	switch m.Signal(interrupt.Int) { … }   // each signal
//	switch m.Key('d') { … }                // each key, while m.Asking()
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

// The phases. A script that runs several jobs goes through them again.
const (
	Preparing Phase = iota // no job runs yet: machines are rented, files are sent
	Running                // the job runs
	Ending                 // the job has ended: results and release
)

// A Machine decides. Its zero value is a run without a terminal that prepares. It is not safe for
// concurrent use.
type Machine struct {
	Terminal bool // somebody sits there who can be asked

	phase      Phase
	asking     bool
	decided    Action // Destroy, Stop or Detach once that was answered
	count      int    // of Ctrl-C since the last CarryOn
	detachSoon bool
	rented     int // machines of this run that may cost money now
}

// Phase returns what the run is doing.
func (m *Machine) Phase() Phase { return m.phase }

// Rented tells whether the run has a machine that was not released.
func (m *Machine) Rented() bool { return m.rented > 0 }

// DetachSoon asks for Detach as soon as the job runs.
func (m *Machine) DetachSoon() { m.detachSoon = true }

// Started says that the run's job runs now; the answer is Detach when that was asked for before,
// else None.
func (m *Machine) Started() Action {
	m.phase = Running
	if m.detachSoon && m.decided == None {
		return m.decide(Detach)
	}
	return None
}

// Observe learns from an event what the run is doing; the answer is CarryOn when a question has
// become pointless, else None.
func (m *Machine) Observe(e report.Event) Action {
	switch {
	case e.Step == "provision" && e.Kind == report.Started:
		m.rented++
		m.phase = Preparing
	case e.Step == "provision" && e.Kind == report.Ended && e.Err != nil:
		m.rented-- // the engine's own answer: what it could not undo is an error of another kind
	case (e.Step == "results" || e.Step == "release") && e.Kind == report.Started:
		m.phase = Ending
		return m.withdraw()
	case e.Step == "release" && e.Kind == report.Ended:
		if e.Err == nil && m.rented > 0 {
			m.rented--
		}
		m.phase = Preparing
	case e.Kind == report.Started && (e.Step == "connect" || e.Step == "push"):
		m.phase = Preparing
		return m.withdraw()
	}
	return None
}

// Over says that a run has ended; a script may begin another.
func (m *Machine) Over() Action {
	m.phase = Preparing
	return m.withdraw()
}

func (m *Machine) withdraw() Action {
	if !m.asking {
		return None
	}
	m.asking = false
	m.count = 0
	return CarryOn
}

// Signal answers a signal.
func (m *Machine) Signal(s Signal) Action {
	if s == Hup {
		m.asking = false
		switch {
		case m.decided != None:
			return None // it goes on without a terminal
		case m.phase == Running:
			return m.decide(Detach)
		case m.phase == Preparing:
			m.detachSoon = true
			return DetachSoon
		}
		return None // results and release need nobody
	}
	m.count++
	if m.count >= 3 {
		return Leave
	}
	switch {
	case m.decided != None:
		return Remind
	case m.phase == Preparing:
		return m.decide(Destroy)
	case m.phase == Ending:
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
		return m.withdraw()
	}
	return None
}

func (m *Machine) decide(a Action) Action {
	m.asking = false
	m.decided = a
	return a
}
