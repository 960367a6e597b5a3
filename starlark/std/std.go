// Package std is the library that every script has: load("@std//hf.star", "hf_env"). It is written in
// Starlark over the builtins that scripts see, and can do no more than they.
//
//	host := &starlark.Host{Libraries: map[string]fs.FS{"std": std.FS}}
package std

import "embed"

// FS has the modules, at its root. They are named one by one because a pattern cannot leave out their tests.
//
//go:embed gpus.star hf.star markers.star python.star results.star serve.star
var FS embed.FS
