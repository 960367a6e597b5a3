package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/term"

	"github.com/bifrost-run/bifrost/engine/fault"
)

// attended tells whether somebody sits at the terminal: sees what is printed and can answer.
func (a *app) attended() bool {
	return term.IsTerminal(int(a.in.Fd())) && term.IsTerminal(int(a.err.Fd()))
}

// confirm asks a question that y answers with yes and anything else with no.
func (a *app) confirm(ctx context.Context, question string) (bool, error) {
	question = strings.TrimSpace(question)
	if a.yes {
		a.screen.Note(question + " yes (--yes)")
		return true, nil
	}
	if !a.attended() {
		return false, &fault.Error{
			Kind: fault.Denied, Err: fmt.Errorf("without a terminal nobody can answer: %q", question),
			Hint: "pass --yes to answer yes beforehand",
		}
	}
	keys, err := openKeys(a.in, false)
	if err != nil {
		return false, fmt.Errorf("ask: %w", err)
	}
	defer keys.Close()
	a.screen.Ask(question + " [y/N] ")
	answer, err := keys.Line(ctx)
	a.screen.Answered(err == nil)
	if err != nil {
		if errors.Is(err, errNoMoreKeys) {
			return false, nil
		}
		return false, fmt.Errorf("ask: %w", err)
	}
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return true, nil
	}
	return false, nil
}

// errNoMoreKeys says that the terminal was closed, as Ctrl-D does.
var errNoMoreKeys = errors.New("end of input")
