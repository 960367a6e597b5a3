package enginetest

import (
	"testing"
	"time"
)

// Until polls a condition for up to half a minute; a test that needs it says what it waits for.
func Until(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !cond(); {
		if time.Now().After(deadline) {
			t.Fatalf("waited 30 s in vain: %s", what)
		}
		time.Sleep(10 * time.Millisecond) // between two looks at the condition
	}
}
