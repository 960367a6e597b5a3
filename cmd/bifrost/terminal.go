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
	answer, err := a.askLine(ctx, question+" [y/N] ")
	return answer == "y" || answer == "yes", err
}

// askLine shows a question and returns the line that is typed, in small letters; "" when the terminal is
// closed instead. One is asked after the other.
func (a *app) askLine(ctx context.Context, question string) (string, error) {
	select {
	case a.keyboard <- struct{}{}:
		defer func() { <-a.keyboard }()
	case <-ctx.Done():
		return "", fmt.Errorf("ask: %w", context.Cause(ctx))
	}
	keys, err := openKeys(a.in, false)
	if err != nil {
		return "", fmt.Errorf("ask: %w", err)
	}
	defer keys.Close()
	a.screen.Ask(question)
	answer, err := keys.Line(ctx)
	a.screen.Answered(err == nil)
	if err != nil && !errors.Is(err, errNoMoreKeys) {
		return "", fmt.Errorf("ask: %w", err)
	}
	return strings.ToLower(strings.TrimSpace(answer)), nil
}

// errNoMoreKeys says that the terminal was closed, as Ctrl-D does.
var errNoMoreKeys = errors.New("end of input")
