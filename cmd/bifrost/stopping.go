package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/bifrost-run/bifrost/cmd/bifrost/internal/interrupt"
	"github.com/bifrost-run/bifrost/engine"
	"github.com/bifrost-run/bifrost/engine/report"
)

const stopQuestion = "d detach, s stop + fetch results + release, c carry on"

// A stopper carries out what an interrupt.Machine decides about a run.
type stopper struct {
	app    *app
	cancel context.CancelCauseFunc
	cause  error // what Destroy cancels with, by the signal that came last

	mu      sync.Mutex
	machine interrupt.Machine
	asking  context.CancelFunc // ends the reading of keys; nil when nobody is asked
	reading sync.WaitGroup
}

// stoppable returns a context for a run that the user can stop, and the stopper that does it. It must
// be called before the engine is opened; the caller calls close.
func (a *app) stoppable(ctx context.Context) (runCtx context.Context, s *stopper, closeStopper func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	s = &stopper{app: a, cancel: cancel, cause: errInterrupted, machine: interrupt.Machine{Terminal: a.attended()}}
	a.watch = s.observe
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) { // nohup has said that the hangup is nobody's business
		signal.Notify(signals, syscall.SIGHUP)
	}
	done, joined := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(joined)
		for {
			select {
			case <-done:
				return
			case sig := <-signals:
				s.signal(sig)
			}
		}
	}()
	return ctx, s, func() {
		signal.Stop(signals)
		close(done)
		<-joined
		s.do(func(*interrupt.Machine) interrupt.Action { return interrupt.CarryOn })
		s.reading.Wait()
		cancel(nil)
	}
}

// do asks the machine and carries out its answer.
func (s *stopper) do(ask func(m *interrupt.Machine) interrupt.Action) {
	s.mu.Lock()
	defer s.mu.Unlock()
	action := ask(&s.machine)
	if action != interrupt.None && action != interrupt.Ask {
		s.stopAsking()
	}
	screen := s.app.screen
	switch action {
	case interrupt.CarryOn:
		if s.machine.Phase() == interrupt.Running {
			screen.Note("carrying on")
		}
	case interrupt.Destroy:
		screen.Note("interrupted: destroying what this run created")
		s.cancel(s.cause)
	case interrupt.Ask:
		s.ask()
	case interrupt.Stop:
		if s.machine.Running() > 1 {
			screen.Note(fmt.Sprintf("stopping %d jobs, then fetching their results and releasing the machines", s.machine.Running()))
		} else {
			screen.Note("stopping the job, then fetching its results and releasing the machine")
		}
		s.cancel(engine.ErrStop)
	case interrupt.Detach:
		screen.Note("detaching: " + s.runOn("") + "; a body, and what follows it in the script, stop here")
		s.cancel(engine.ErrDetach)
	case interrupt.DetachSoon:
		if s.machine.Beginning() > 1 || s.machine.Running() > 0 {
			screen.Note("detaching as soon as all that was begun runs")
		} else {
			screen.Note("detaching as soon as the job runs")
		}
	case interrupt.Remind:
		text := "what was begun is being ended"
		if s.machine.Phase() == interrupt.Ending {
			text = "the job has ended: its results are fetched and the machine is released"
		}
		screen.Note(text + "; the third Ctrl-C leaves at once, and the machine may run on")
	case interrupt.Leave:
		if !s.machine.Rented() {
			s.app.leaveNow(exitInterrupt)
			return
		}
		screen.Warn("leaving at once: a machine may still run and cost money; bifrost ps shows it, bifrost terminate ends it")
		s.app.leaveNow(exitUnreleased)
	}
}

func (s *stopper) signal(sig os.Signal) {
	kind, cause := interrupt.Int, errInterrupted
	switch sig {
	case syscall.SIGTERM:
		kind, cause = interrupt.Term, errTerminated
	case syscall.SIGHUP:
		kind = interrupt.Hup
	}
	s.do(func(m *interrupt.Machine) interrupt.Action {
		s.cause = cause
		if s.asking == nil { // whoever is asked something else answers with Ctrl-C that all shall end
			m.Terminal = s.app.attended() && len(s.app.keyboard) == 0
		}
		return m.Signal(kind)
	})
}

// observe sees the engine's events.
func (s *stopper) observe(e report.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.machine.Observe(e)
}

// begin is told of what may have a job, and ready that it has begun it.
func (s *stopper) begin() (ready func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.machine.Begin()
	return func() { s.do(func(m *interrupt.Machine) interrupt.Action { return m.Ready() }) }
}

// started, ending and over are told of each job of the run.
func (s *stopper) started(job string) {
	s.do(func(m *interrupt.Machine) interrupt.Action { return m.Started(job) })
}

func (s *stopper) ending(job string) {
	s.do(func(m *interrupt.Machine) interrupt.Action { return m.Ending(job) })
}

func (s *stopper) over(job string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.machine.Over(job)
}

// terminated tells whether it was SIGTERM that stopped the run.
func (s *stopper) terminated() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cause == errTerminated
}

// ask shows the question and reads keys until one answers it. The log goes on meanwhile.
func (s *stopper) ask() {
	keys, err := openKeys(s.app.in, true)
	if err == nil {
		select {
		case s.app.keyboard <- struct{}{}:
		default: // somebody was asked something in this moment
			err = errors.Join(errNoMoreKeys, keys.Close())
		}
	}
	if err != nil {
		s.app.screen.Note("interrupted; " + s.runOn(" after d and s") + ". Ctrl-C again stops it, fetches the results and releases the machine")
		return
	}
	s.app.screen.Note("interrupted; " + s.runOn(" after d and s") + ": " + stopQuestion)
	s.app.screen.Sticky(stopQuestion + "?")
	ctx, cancel := context.WithCancel(context.Background())
	s.asking = cancel
	s.reading.Go(func() {
		defer func() { <-s.app.keyboard }()
		defer keys.Close()
		for {
			key, err := keys.Key(ctx)
			if err != nil {
				return
			}
			s.do(func(m *interrupt.Machine) interrupt.Action { return m.Key(key) })
		}
	})
}

// runOn says which jobs go on, and when that ends which do not run yet.
func (s *stopper) runOn(when string) string {
	text := "the job runs on"
	if n := s.machine.Running(); n > 1 {
		text = fmt.Sprintf("%d jobs run on", n)
	}
	if s.machine.Beginning() > 0 {
		text += ", what has not started yet is destroyed" + when
	}
	return text
}

func (s *stopper) stopAsking() {
	if s.asking != nil {
		s.asking()
		s.asking = nil
		s.app.screen.Sticky("")
	}
}
