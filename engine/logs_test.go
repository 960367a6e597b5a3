package engine

import (
	"bytes"
	"fmt"
	"testing"
)

func TestBacklog(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		past string
		now  string
		tail int
		want string
	}{
		{"all", "a\nb\n", "c\n", 0, "a\nb\n|c\n"},
		{"one line", "a\nb\n", "c\n", 1, "b\n|c\n"},
		{"none", "a\nb\n", "c\n", -1, "|c\n"},
		{"more than there are", "a\nb\n", "c\n", 9, "a\nb\n|c\n"},
		{"the last has no end", "a\nb", "c\n", 1, "b|c\n"},
		{"no past", "", "c\n", 5, "|c\n"},
	} {
		for _, chunk := range []int{1, 2, 3, 100} {
			t.Run(fmt.Sprintf("%s by %d", tt.name, chunk), func(t *testing.T) {
				t.Parallel()
				var out bytes.Buffer
				b := &backlog{w: &out, left: int64(len(tt.past)), tail: tt.tail, present: func() { out.WriteByte('|') }}
				if err := b.begin(); err != nil {
					t.Fatal(err)
				}
				for data := []byte(tt.past + tt.now); len(data) > 0; {
					n := min(chunk, len(data))
					if _, err := b.Write(data[:n]); err != nil {
						t.Fatal(err)
					}
					data = data[n:]
				}
				if got := out.String(); got != tt.want {
					t.Errorf("got %q want %q", got, tt.want)
				}
			})
		}
	}
}
