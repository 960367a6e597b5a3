package starlark

import (
	"errors"
	"maps"
	"path/filepath"
	"slices"

	"go.starlark.net/starlarkstruct"
)

// An ImportError is a module that cannot be imported while the script runs.
type ImportError struct {
	Message  string
	Hint     string    // the way out; may be empty
	Problems []Problem // of the module's graph; nil when it could not be found
}

func (e *ImportError) Error() string { return e.Message }

// Import returns the public globals of the module that the calling file calls spec, a string as load
// has it. The module and what it loads are checked first, then run on a thread that cannot act, unless
// the run has done that already. What is wrong with them is an *ImportError.
func (t *Thread) Import(spec string) (*starlarkstruct.Module, error) {
	from := t.callingModule()
	return t.importModule(spec, func(g *graph) (*module, error) { return g.target(from, spec) })
}

// ImportFile is Import for a file of the project by its absolute path; shown is how the user wrote it. It
// is not for vendored modules.
func (t *Thread) ImportFile(path, shown string) (*starlarkstruct.Module, error) {
	return t.importModule(shown, func(g *graph) (*module, error) {
		if len(t.Packages()) > 0 {
			return nil, about(shown, &fileError{
				"is a path, and paths lead to files of the project, which no vendored module loads",
				`a vendored module imports its own files: "./x.star", "//lib/x.star"`,
			})
		}
		project := t.run.loader.project
		name, err := project.inside(path)
		if err != nil {
			return nil, about(shown, err)
		}
		file, err := project.find(shown, name)
		if err != nil {
			return nil, about(shown, err)
		}
		return g.module(place{project, file}, shown)
	})
}

// importModule reads, checks and runs what find finds.
func (t *Thread) importModule(spec string, find func(g *graph) (*module, error)) (*starlarkstruct.Module, error) {
	m, err := t.run.extend(spec, find)
	if err != nil {
		return nil, err
	}
	l, err := t.run.loadModule(t, m)
	if err != nil {
		return nil, err
	}
	return l.public, nil
}

// extend adds a module and what it loads to the run's graph. With a problem anywhere nothing is added.
func (r *Run) extend(spec string, find func(g *graph) (*module, error)) (*module, error) {
	r.reading.Lock()
	defer r.reading.Unlock()
	g := newGraph(r.loader)
	g.modules = maps.Clone(r.allModules())
	m, err := find(g)
	if err != nil {
		e := &ImportError{Message: err.Error()}
		var wrong *fileError
		if errors.As(err, &wrong) {
			e.Hint = wrong.hint
		}
		return nil, e
	}
	var static *StaticError
	if errors.As(g.err(), &static) {
		e := &ImportError{Message: about(spec, &fileError{message: "cannot be loaded:\n" + static.Error()}).Error(), Problems: static.Problems}
		i := slices.IndexFunc(static.Problems, func(p Problem) bool { return p.Hint != "" })
		if i >= 0 {
			e.Hint = static.Problems[i].Hint
		}
		return nil, e
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.modules = g.modules
	return m, nil
}

// callingModule is the module that the function which called the builtin is of. A builtin that is called
// on a forked thread itself is called by the function that forked it.
func (t *Thread) callingModule() *module {
	for _, frame := range slices.Backward(t.star.CallStack()) {
		if m := t.run.moduleOf(frame.Pos.Filename()); m != nil {
			return m
		}
	}
	if t.from != nil {
		return t.from
	}
	return t.run.entry
}

// inside returns the path in the tree of an absolute path.
func (t *tree) inside(abs string) (string, error) {
	name, err := filepath.Rel(t.dir, abs)
	if err != nil || !filepath.IsLocal(name) { // it may lead there by another name
		if dir, evalErr := filepath.EvalSymlinks(filepath.Dir(abs)); evalErr == nil {
			name, err = filepath.Rel(t.dir, filepath.Join(dir, filepath.Base(abs)))
		}
	}
	if err != nil || !filepath.IsLocal(name) {
		return "", outside(t)
	}
	return filepath.ToSlash(name), checkSpec(filepath.ToSlash(name))
}
