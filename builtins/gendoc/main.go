// Command gendoc writes the reference of the language from the table of builtins.
package main

import (
	"bytes"
	"fmt"
	"os"

	"github.com/bifrost-run/bifrost/builtins"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: gendoc FILE")
		os.Exit(2)
	}
	var text bytes.Buffer
	err := builtins.WriteReference(&text)
	if err == nil {
		err = os.WriteFile(os.Args[1], text.Bytes(), 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "gendoc:", err)
		os.Exit(1)
	}
}
