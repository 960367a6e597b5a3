package builtins

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	star "go.starlark.net/starlark"
	"go.starlark.net/syntax"

	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/internal/lazyregexp"
	"github.com/bifrost-run/bifrost/starlark"
	"github.com/bifrost-run/bifrost/starlark/policy"
)

// secretHint is the way out for whoever wants a secret in text.
const secretHint = `a secret goes to the node in env = {"NAME": secret("NAME")}, and the command reads $NAME`

// A Secret is a value that no script can see. It prints as <secret NAME>.
type Secret struct {
	name, value string
}

func (s *Secret) String() string        { return starlark.Placeholder(s.name) }
func (s *Secret) Type() string          { return "secret" }
func (s *Secret) Freeze()               {}
func (s *Secret) Truth() star.Bool      { return true }
func (s *Secret) Hash() (uint32, error) { return 0, errors.New("unhashable: secret") }

// Binary implements star.HasBinary: a secret is no part of another value.
func (s *Secret) Binary(op syntax.Token, _ star.Value, _ star.Side) (star.Value, error) {
	return nil, s.refuse(op.String())
}

func (s *Secret) refuse(op string) error {
	return &ArgError{Entry: op, Message: fmt.Sprintf("%s is not to be read", s), Hint: secretHint}
}

func secretEntry() *Entry {
	return &Entry{
		Name: "secret", Result: "secret", Effect: true, Capabilities: []policy.Capability{policy.Env},
		Example: "token = secret(\"HF_TOKEN\")\nprint(token)  # <secret HF_TOKEN>\nprint(secret(\"WANDB_API_KEY\", optional = True))  # None",
		Doc: "Returns the value of a variable of this machine's environment, or of the .env file in the script's root, as a value that goes to a node in env and prints as `<secret NAME>`. " +
			"Adding it to text or encoding it is an error.",
		Params: []Param{
			{Name: "name", Kind: variableKind(), Doc: "of the variable"},
			{Name: "optional", Kind: boolKind(), Default: star.False, Doc: "None, instead of an error, when it is not set or not allowed"},
		},
		// The gate is asked inside, for a refusal of an optional secret is None.
		needs: func(*Call) []policy.Request { return nil },
		run: func(c *Call) (star.Value, error) {
			name, optional := arg[string](c, "name"), arg[bool](c, "optional")
			run := c.thread.Run()
			if err := c.permit(policy.Request{Capability: policy.Env, Target: name}); err != nil {
				var denied *policy.Denied
				if optional && errors.As(err, &denied) {
					c.noticeOnce("secret %s: left out: %v", name, err)
					return star.None, nil
				}
				return nil, err
			}
			value, err := c.lib.variable(run.Root, name)
			if err != nil {
				return nil, err
			}
			if value == "" {
				if optional {
					c.noticeOnce("secret %s: left out: it is not set", name)
					return star.None, nil
				}
				return nil, &fault.Error{
					Kind: fault.NotFound, Op: "secret", Target: name, Err: errors.New("neither the environment nor .env has it"),
					Hint: fmt.Sprintf("export %s=…, or write %s=… to %s/.env, or say secret(%q, optional = True)", name, name, run.Root, name),
				}
			}
			run.Redactor.Add(name, value)
			return &Secret{name: name, value: value}, nil
		},
	}
}

// variable looks up a variable in the environment, then in the .env file of the root. An empty one
// counts as none.
func (l *Library) variable(root, name string) (string, error) {
	if l.opts.Getenv != nil {
		if value, ok := l.opts.Getenv(name); ok && value != "" {
			return value, nil
		}
	}
	if l.opts.NoDotenv {
		return "", nil
	}
	vars, err := ReadDotenv(filepath.Join(root, ".env"))
	return vars[name], err
}

var variableName = lazyregexp.New(`^[A-Za-z_][A-Za-z0-9_]*$`)

func variableKind() Kind {
	return Kind{"str", func(_ *Call, v star.Value) (any, error) {
		s, err := text(v, "a string")
		if err == nil && !variableName().MatchString(s) {
			return nil, &valueError{
				fmt.Sprintf("%q is not the name of a variable", shorten(s)),
				"write the name of the variable, not its value: letters, digits and underscores, no digit first",
			}
		}
		return s, err
	}}
}

// shorten cuts what might be a value that was written instead of its name.
func shorten(s string) string {
	if len(s) > 12 {
		return strings.ToValidUTF8(s[:6], "") + "…"
	}
	return s
}
