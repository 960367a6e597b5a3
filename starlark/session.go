package starlark

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"

	"go.starlark.net/resolve"
	star "go.starlark.net/starlark"
	"go.starlark.net/syntax"

	"github.com/bifrost-run/bifrost/starlark/config"
)

// A Session evaluates one piece of a script after the other, as a prompt does. What a piece defines,
// later ones see. It is for one goroutine.
type Session struct {
	run     *Run
	graph   *graph
	thread  *Thread
	folder  string // of its modules, from the root
	globals star.StringDict
	count   int // of the pieces
	stop    func()
}

// NewSession opens a session whose modules are loaded from the folder: "./x.star" is a file in it. Close
// must be called. The error is a *StaticError.
func (h *Host) NewSession(ctx context.Context, dir string) (*Session, error) {
	t, key, err := openFolder(dir)
	if err != nil {
		g := &graph{}
		g.fail(&module{name: dir}, syntax.Position{}, "file", err)
		return nil, g.err()
	}
	c, err := config.Read(t.dir)
	g := newGraph(newLoader(h, t, c))
	if err != nil {
		g.failConfig(err)
		return nil, errors.Join(g.err(), g.loader.close())
	}
	r := h.newRun(g.modules)
	r.Root, r.loader = t.dir, g.loader
	ctx, stop := r.limit(ctx)
	s := &Session{run: r, graph: g, folder: key, globals: maps.Clone(r.names), stop: stop}
	s.thread = r.newThread(ctx, "session", nil, false)
	return s, nil
}

// Close ends the session.
func (s *Session) Close() error {
	s.thread.done()
	s.stop()
	return s.graph.loader.close()
}

// Complete reports whether next, which returns one more line with its newline, has given a whole
// statement. It asks for as many lines as the statement has.
func (s *Session) Complete(next func() ([]byte, error)) bool {
	_, err := s.options().ParseCompoundStmt("session", next)
	return err == nil
}

func (s *Session) options() *syntax.FileOptions {
	return &syntax.FileOptions{Set: true, TopLevelControl: true, GlobalReassign: true, LoadBindsGlobally: true}
}

// Eval runs one piece. It returns the value of a piece that is an expression, else None. When ctx ends the
// piece ends, and the session goes on. The errors are those of Host.Exec.
func (s *Session) Eval(ctx context.Context, source string) (star.Value, error) {
	s.count++
	name := fmt.Sprintf("input %d", s.count)
	m := &module{
		place: place{s.graph.loader.project, path.Join(s.folder, name)}, name: name, source: splitLines([]byte(source)), entry: true, loads: map[string]*module{},
	}
	file, err := s.read(m, []byte(source))
	if err != nil {
		return star.None, err
	}
	s.thread.module = m
	inner, cancel := context.WithCancelCause(s.thread.Context())
	stop := context.AfterFunc(ctx, func() { cancel(context.Cause(ctx)) })
	pop := s.thread.Push(inner)
	v, err := s.eval(file)
	var wrong resolve.ErrorList
	if !errors.As(err, &wrong) {
		err = s.thread.explain(err)
	}
	stop()
	pop()
	cancel(nil)
	s.thread.Lift()
	var exit *ExitError
	switch {
	case wrong != nil:
		s.graph.failNames(m, file, wrong)
		return star.None, s.graph.err()
	case err == nil:
		return v, nil
	case errors.As(err, &exit) && onlyExit(err):
		return star.None, exit
	}
	return star.None, s.run.diagnose(err)
}

// Show returns the text of a value that Eval returned, without the values of secrets. One that is too large to be
// shown is an *Error.
func (s *Session) Show(v star.Value) (string, error) {
	if err := s.thread.CheckText("its text", v); err != nil {
		return "", s.run.diagnose(err)
	}
	return s.run.Redactor.Redact(v.String()), nil
}

// read parses a piece and reads what it loads.
func (s *Session) read(m *module, source []byte) (*syntax.File, error) {
	g := s.graph
	g.problems, g.predeclared = nil, slices.DeleteFunc(slices.Sorted(maps.Keys(s.globals)), isGuard)
	g.modules = maps.Clone(s.run.allModules()) // with those that earlier pieces have imported
	g.modules[m.place] = m
	g.order[m.name] = len(g.order)
	if _, err := readText(bytes.NewReader(source)); err != nil {
		g.fail(m, syntax.Position{}, "file", err)
		return nil, g.err()
	}
	file := g.parseChecked(m, source, s.options())
	if file == nil {
		return nil, g.err()
	}
	g.stack = []visit{{module: m}}
	for _, load := range loadsOf(file) {
		g.load(m, load)
	}
	g.stack = nil
	g.checkTypes(m, file)
	addGuards(file)
	s.run.mu.Lock()
	s.run.modules = maps.Clone(g.modules)
	s.run.mu.Unlock()
	return file, g.err()
}

func (s *Session) eval(file *syntax.File) (star.Value, error) {
	if len(file.Stmts) == 1 {
		if expr, ok := file.Stmts[0].(*syntax.ExprStmt); ok {
			return star.EvalExprOptions(file.Options, s.thread.star, expr.X, s.globals)
		}
	}
	return star.None, star.ExecREPLChunk(file, s.thread.star, s.globals)
}
