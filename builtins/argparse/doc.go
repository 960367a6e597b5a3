// Package argparse parses a script's arguments as the Python 3.11 module of that name does, help,
// errors and oddities included: a person who typed a command line for the Python script types the same
// one for its port. It depends on nothing but the interpreter's values.
//
//	p := argparse.New("deploy.star")
//	err := p.Add(argparse.Action{Flags: []string{"--gpus"}, Type: argparse.Int, Default: star.MakeInt(8)}, nil)
//	values, err := p.Parse([]string{"--gp=2"}, argparse.DefaultWidth, nil)
//
// It is not built on pflag: what pflag knows how to do (find a flag, take the text behind it) is the
// small part of it, and pflag decides the rest otherwise: abbreviations, values that may be missing,
// positional arguments among options, numbers below zero, and every text that users read.
package argparse
