package main

import (
	"testing"
	"time"
)

func TestParseSince(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"30d":        now.AddDate(0, 0, -30),
		"2w":         now.AddDate(0, 0, -14),
		"12h":        now.Add(-12 * time.Hour),
		"1h30m":      now.Add(-90 * time.Minute),
		"0.5d":       now.Add(-12 * time.Hour),
		"2026-11-01": time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC),
	} {
		if got, ok := parseSince(text, now); !ok || !got.Equal(want) {
			t.Errorf("%q: got %v, %v, want %v", text, got, ok, want)
		}
	}
	for _, text := range []string{"", "d", "-3d", "0d", "30", "yesterday", "2026-13-01", "2027-01-01", "-5h", "1e99d", "nand", "9999999999h"} {
		if got, ok := parseSince(text, now); ok {
			t.Errorf("%q: got %v, want a refusal", text, got)
		}
	}
}
