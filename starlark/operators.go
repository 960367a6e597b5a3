package starlark

import (
	"math"
	"strings"

	star "go.starlark.net/starlark"
	"go.starlark.net/syntax"
)

// A multiplication, a format and a join are one step of the interpreter each, and can ask for more memory
// than there is or for hours of work, which nothing interrupts. So the left side of the operators * and %
// and the string of the methods join, replace and format go through guards, which a module's syntax tree is
// made to call before it is compiled. The guards look at sizes only; the work is the interpreter's, but for %,
// which is Python's.

// The names of the guards. They have a space, so that no script can write them.
const (
	operandGuard = "left operand"
	methodGuard  = "string method"
)

// mostIntBytes is how large an int may get by multiplication: the time of one grows faster than the size.
const mostIntBytes = 512 << 10

// addGuards makes the tree call the guards.
func addGuards(file *syntax.File) {
	syntax.Walk(file, func(n syntax.Node) bool {
		addKeyGuards(n)
		switch n := n.(type) {
		case *syntax.BinaryExpr:
			if n.Op == syntax.STAR || n.Op == syntax.PERCENT {
				n.X = callGuard(operandGuard, n.X, n.OpPos)
			}
		case *syntax.AssignStmt:
			op := map[syntax.Token]syntax.Token{syntax.STAR_EQ: syntax.STAR, syntax.PERCENT_EQ: syntax.PERCENT}[n.Op]
			if left := readAgain(n.LHS); op != 0 && left != nil {
				n.RHS = &syntax.BinaryExpr{X: left, OpPos: n.OpPos, Op: op, Y: n.RHS}
				n.Op = syntax.EQ
			}
		case *syntax.DotExpr:
			switch n.Name.Name {
			case "join", "replace", "format":
				n.X = callGuard(methodGuard, n.X, n.Dot)
			}
		}
		return true
	})
}

func callGuard(name string, arg syntax.Expr, at syntax.Position) syntax.Expr {
	return &syntax.CallExpr{Fn: &syntax.Ident{NamePos: at, Name: name}, Lparen: at, Args: []syntax.Expr{arg}, Rparen: at}
}

// readAgain returns an expression with the value of one that is assigned to, or nil when that cannot be
// evaluated twice.
func readAgain(e syntax.Expr) syntax.Expr {
	switch e := e.(type) {
	case *syntax.ParenExpr:
		return readAgain(e.X)
	case *syntax.Ident:
		return &syntax.Ident{NamePos: e.NamePos, Name: e.Name}
	case *syntax.Literal:
		return e
	case *syntax.DotExpr:
		if x := readAgain(e.X); x != nil {
			return &syntax.DotExpr{X: x, Dot: e.Dot, NamePos: e.NamePos, Name: e.Name}
		}
	case *syntax.IndexExpr:
		x, y := readAgain(e.X), readAgain(e.Y)
		if x != nil && y != nil {
			return &syntax.IndexExpr{X: x, Lbrack: e.Lbrack, Y: y, Rbrack: e.Rbrack}
		}
	}
	return nil
}

// isGuard reports whether a predeclared name is none that scripts can write.
func isGuard(name string) bool { return strings.Contains(name, " ") }

// guards are what the tree calls.
func guards() star.StringDict {
	return star.StringDict{
		operandGuard: star.NewBuiltin(operandGuard, func(thread *star.Thread, _ *star.Builtin, args star.Tuple, _ []star.Tuple) (star.Value, error) {
			t := ThreadOf(thread)
			switch args[0].(type) {
			case star.Int, star.String, star.Bytes, *star.List, star.Tuple:
				if t != nil {
					return operand{args[0], t}, nil
				}
			}
			return args[0], nil
		}),
		methodGuard: star.NewBuiltin(methodGuard, func(thread *star.Thread, _ *star.Builtin, args star.Tuple, _ []star.Tuple) (star.Value, error) {
			if s, ok := args[0].(star.String); ok && ThreadOf(thread) != nil {
				return stringMethods{s}, nil
			}
			return args[0], nil
		}),
		"getattr": star.NewBuiltin("getattr", guardedGetattr),
	}
}

// An operand is the left side of * or %.
type operand struct {
	star.Value
	thread *Thread
}

// Binary implements star.HasBinary.
func (o operand) Binary(op syntax.Token, y star.Value, _ star.Side) (star.Value, error) {
	if err := o.check(op, y); err != nil {
		return nil, err
	}
	if format, ok := o.Value.(star.String); ok && op == syntax.PERCENT {
		values, several := y.(star.Tuple)
		if !several {
			values = star.Tuple{y}
		}
		text, err := o.thread.Percent(string(format), values)
		return star.String(text), err
	}
	return star.Binary(op, o.Value, y)
}

func (o operand) check(op syntax.Token, y star.Value) error {
	if op == syntax.PERCENT {
		if format, ok := o.Value.(star.String); ok {
			return o.thread.checkFormat("%", string(format), '%', y)
		}
		return nil
	}
	x, xIsInt := o.Value.(star.Int)
	factor, yIsInt := y.(star.Int)
	switch {
	case xIsInt && yIsInt:
		if size := int64(x.BigInt().BitLen()+factor.BigInt().BitLen()) / 8; size > mostIntBytes {
			return &LimitError{Limit: "value", What: "*", Max: mostIntBytes, Got: size}
		}
	case xIsInt:
		return o.thread.checkRepeat(y, x)
	case yIsInt:
		return o.thread.checkRepeat(o.Value, factor)
	}
	return nil
}

// checkRepeat is about the repetition of a string or list.
func (t *Thread) checkRepeat(v star.Value, times star.Int) error {
	size := int64(max(0, star.Len(v)))
	switch v.(type) {
	case *star.List, star.Tuple:
		size *= elementBytes
	}
	n, ok := times.Int64()
	if size == 0 || ok && n <= 0 || !ok && times.Sign() < 0 {
		return nil
	}
	if most := t.run.limits.Value; !ok || n > most/size {
		return &LimitError{Limit: "value", What: "*", Max: most, Got: multiplied(size, n, ok)}
	}
	return nil
}

func multiplied(size, n int64, known bool) int64 {
	if !known || n > math.MaxInt64/size {
		return math.MaxInt64
	}
	return size * n
}

// checkFormat is about a text with places for values, each of which begins with mark. Every place could
// take the largest value, so it is compared with what the run may hold, not with what one value may have.
func (t *Thread) checkFormat(what, format string, mark byte, values ...star.Value) error {
	largest := int64(0)
	for _, v := range values {
		size, err := t.sizeOfText(what, v)
		if err != nil {
			return err
		}
		largest = max(largest, size)
	}
	places := int64(strings.Count(format, string(mark)))
	if most := int64(min(t.run.limits.Heap, NoLimit)); places > 0 && largest > most/places {
		return &LimitError{Limit: "value", What: what, Max: most, Got: multiplied(largest, places, true)}
	}
	return nil
}

// stringMethods are those methods of a string whose result can be much larger than it.
type stringMethods struct{ plainText }

type plainText = star.String

// Attr implements star.HasAttrs.
func (s stringMethods) Attr(name string) (star.Value, error) {
	method, err := s.plainText.Attr(name)
	inner, ok := method.(*star.Builtin)
	if err != nil || !ok {
		return method, err
	}
	return star.NewBuiltin(name, func(thread *star.Thread, _ *star.Builtin, args star.Tuple, kwargs []star.Tuple) (star.Value, error) {
		if t := ThreadOf(thread); t != nil {
			if err := t.checkMethod(name, string(s.plainText), args, kwargs); err != nil {
				return nil, err
			}
		}
		if name == "format" {
			args, kwargs = showAll(args, kwargs)
		}
		return inner.CallInternal(thread, args, kwargs)
	}).BindReceiver(s.plainText), nil
}

func (t *Thread) checkMethod(name, s string, args star.Tuple, kwargs []star.Tuple) error {
	size := float64(0) // of the result; a float does not overflow
	switch name {
	case "format":
		values := append(star.Tuple{}, args...)
		for _, kv := range kwargs {
			values = append(values, kv[1])
		}
		return t.checkFormat(name, s, '{', values...)
	case "join":
		if len(args) != 1 {
			return nil // the interpreter says so
		}
		parts := star.Iterate(args[0])
		if parts == nil {
			return nil
		}
		defer parts.Done()
		var part star.Value
		for parts.Next(&part) {
			size += float64(len(s) + max(0, star.Len(part)))
		}
	case "replace":
		if len(args) < 2 {
			return nil
		}
		old, isText := star.AsString(args[0])
		replacement, alsoText := star.AsString(args[1])
		if !isText || !alsoText {
			return nil
		}
		size = float64(len(s)) + float64(strings.Count(s, old))*float64(len(replacement)-len(old))
	}
	if most := t.run.limits.Value; size > float64(most) {
		return &LimitError{Limit: "value", What: "string." + name, Max: most, Got: int64(min(size, math.MaxInt64/2))}
	}
	return nil
}

// guardedGetattr is the interpreter's getattr, which would return a method of a string without its guard.
func guardedGetattr(thread *star.Thread, _ *star.Builtin, args star.Tuple, kwargs []star.Tuple) (star.Value, error) {
	if len(args) > 1 && ThreadOf(thread) != nil {
		args = append(star.Tuple{guardedTable(args[0])}, args[1:]...)
		s, isText := args[0].(star.String)
		switch name, _ := star.AsString(args[1]); name {
		case "join", "replace", "format":
			if isText {
				return stringMethods{s}.Attr(name)
			}
		}
	}
	return star.Universe["getattr"].(*star.Builtin).CallInternal(thread, args, kwargs)
}
