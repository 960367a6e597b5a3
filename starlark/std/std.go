// Package std is the library that every script has: load("@std//hf.star", "hf_env"). It is written in
// Starlark over the builtins that scripts see, and can do no more than they.
//
//	host := &starlark.Host{Libraries: map[string]fs.FS{"std": std.FS}}
package std

import "embed"

// FS has the modules, at its root.
//
//go:embed *.star
var FS embed.FS
