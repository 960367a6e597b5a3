package screen

import (
	"fmt"
	"strings"
	"time"
	"unicode"
)

// Duration returns d as people read it: "0.8s", "42s", "12m03s", "1h02m", "2d03h".
func Duration(d time.Duration) string {
	switch {
	case d < 0:
		return "0.0s"
	case d < 9950*time.Millisecond:
		return fmt.Sprintf("%.1fs", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%ds", min(int(d.Round(time.Second).Seconds()), 59))
	case d < time.Hour:
		s := int(d.Seconds())
		return fmt.Sprintf("%dm%02ds", s/60, s%60)
	case d < 24*time.Hour:
		m := int(d.Minutes())
		return fmt.Sprintf("%dh%02dm", m/60, m%60)
	}
	h := int(d.Hours())
	return fmt.Sprintf("%dd%02dh", h/24, h%24)
}

// Money returns an amount of USD with cents. What is not nothing is never shown as nothing.
func Money(usd float64) string {
	if usd > 0 && usd < 0.005 {
		return "<$0.01"
	}
	return fmt.Sprintf("$%.2f", usd)
}

// Bytes returns a size in decimal units: "0 B", "12 kB", "3.1 MB".
func Bytes(n int64) string {
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	f, unit := float64(n), 0
	for f >= 999.5 && unit < 5 {
		f /= 1000
		unit++
	}
	if f < 9.95 {
		return fmt.Sprintf("%.1f %cB", f, " kMGTP"[unit])
	}
	return fmt.Sprintf("%.0f %cB", f, " kMGTP"[unit])
}

// clean returns text as one line that moves no cursor: spaces and ends of lines become one space,
// control characters "?".
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.IsControl(r), r == unicode.ReplacementChar:
			return '?'
		}
		return r
	}, strings.Join(strings.Fields(text), " "))
}

// fit cuts text to the columns of a line, so that it never wraps.
func fit(text string, cols int) string {
	used := 0
	for i, r := range text {
		w := 1
		if r >= 0x1100 {
			w = 2 // wide for sure or perhaps: a line that is too short harms nobody
		}
		if used+w > cols {
			return text[:i]
		}
		used += w
	}
	return text
}
