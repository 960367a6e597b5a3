// Command gendoc writes the reference of the language from the table of builtins.
package main

import (
	"bytes"
	"fmt"
	"os"

	"github.com/bifrost-run/bifrost/builtins"
	"github.com/bifrost-run/bifrost/builtins/fake"
	"github.com/bifrost-run/bifrost/starlark/startest"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: gendoc FILE")
		os.Exit(2)
	}
	var text bytes.Buffer
	err := builtins.WriteReference(&text, fake.New("/").Module())
	writeAssert(&text)
	if err == nil {
		err = os.WriteFile(os.Args[1], text.Bytes(), 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "gendoc:", err)
		os.Exit(1)
	}
}

// writeAssert describes the module assert, which has no part in the table.
func writeAssert(text *bytes.Buffer) {
	text.WriteString("### `assert`\n\nAn assertion that does not hold fails the test, which goes on.\n\n| call | holds when |\n|---|---|\n")
	for _, a := range startest.Assertions() {
		fmt.Fprintf(text, "| `%s` | %s |\n", a.Signature, a.Doc)
	}
}
