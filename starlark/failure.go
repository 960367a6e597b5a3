package starlark

// A Failure is an error as data, for programs. All text in it is free of secrets.
type Failure struct {
	Kind    string  `json:"kind"`
	Message string  `json:"message"`
	File    string  `json:"file,omitempty"`
	Line    int     `json:"line,omitempty"`   // from 1; 0 where the whole file is meant
	Col     int     `json:"col,omitempty"`    // from 1, in characters
	Frames  []Frame `json:"frames,omitempty"` // innermost first; of an error at run time
	Hint    string  `json:"hint,omitempty"`
}

// Failures returns the error as data: one.
func (e *Error) Failures() []Failure {
	f := Failure{Kind: e.Kind, Message: printable(e.Message), Hint: printable(e.Hint), Frames: e.Frames}
	if len(e.Frames) > 0 {
		f.File, f.Line, f.Col = e.Frames[0].File, e.Frames[0].Line, e.Frames[0].Col
	}
	return []Failure{f}
}

// Failures returns every problem as data, in their order.
func (e *StaticError) Failures() []Failure {
	all := make([]Failure, len(e.Problems))
	for i, p := range e.Problems {
		all[i] = Failure{Kind: p.Kind, Message: printable(p.Message), File: p.File, Line: p.Line, Col: p.Col, Hint: printable(p.Hint)}
	}
	return all
}

// Failures returns the error as data: one.
func (e *ArgsError) Failures() []Failure {
	return []Failure{{Kind: "usage", Message: printable(e.Error()), File: e.File, Hint: e.Hint}}
}
