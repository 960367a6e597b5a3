package builtins

import (
	"fmt"
	"strings"
	"time"
)

// A wallTime is a time as clocks show it, with what strftime writes of its zone.
type wallTime struct {
	time.Time           // in UTC, whatever the zone is
	zone, offset string // "UTC" and "+0000"; empty where the zone is not known
}

// strftime formats a time by the directives that Python documents, in the C locale, and the short
// forms of the C library that say the same on every machine.
func (t wallTime) strftime(format string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' {
			b.WriteByte(format[i])
			continue
		}
		if i++; i == len(format) {
			return "", &valueError{"it ends with %", "a percent sign is written %%"}
		}
		text, known := t.directive(format[i])
		if !known {
			return "", &valueError{
				fmt.Sprintf("%%%s is no directive that Python has on every machine", firstRune(format[i:])),
				"those are %a %A %b %B %c %d %f %G %H %I %j %m %M %p %S %u %U %V %w %W %x %X %y %Y %z %Z %% and %D %e %F %R %T",
			}
		}
		b.WriteString(text)
	}
	return b.String(), nil
}

func firstRune(s string) string {
	for _, r := range s {
		return string(r)
	}
	return ""
}

func (t wallTime) directive(c byte) (text string, known bool) {
	two := func(n int) (string, bool) { return fmt.Sprintf("%02d", n), true }
	weekday := int(t.Weekday()) // 0 is Sunday
	isoYear, isoWeek := t.ISOWeek()
	switch c {
	case 'a':
		return t.Format("Mon"), true
	case 'A':
		return t.Format("Monday"), true
	case 'b', 'h':
		return t.Format("Jan"), true
	case 'B':
		return t.Format("January"), true
	case 'c':
		return fmt.Sprintf("%s %d", t.Format("Mon Jan _2 15:04:05"), t.Year()), true
	case 'd':
		return two(t.Day())
	case 'D', 'x':
		return t.Format("01/02/06"), true
	case 'e':
		return fmt.Sprintf("%2d", t.Day()), true
	case 'f':
		return fmt.Sprintf("%06d", t.Nanosecond()/1000), true
	case 'F':
		return fmt.Sprintf("%d-%s", t.Year(), t.Format("01-02")), true
	case 'G':
		return fmt.Sprint(isoYear), true
	case 'H':
		return two(t.Hour())
	case 'I':
		return two((t.Hour()+11)%12 + 1)
	case 'j':
		return fmt.Sprintf("%03d", t.YearDay()), true
	case 'm':
		return two(int(t.Month()))
	case 'M':
		return two(t.Minute())
	case 'n':
		return "\n", true
	case 'p':
		return t.Format("PM"), true
	case 'R':
		return t.Format("15:04"), true
	case 'S':
		return two(t.Second())
	case 't':
		return "\t", true
	case 'T', 'X':
		return t.Format("15:04:05"), true
	case 'u':
		return fmt.Sprint((weekday+6)%7 + 1), true
	case 'U':
		return two((t.YearDay() + 6 - weekday) / 7)
	case 'V':
		return two(isoWeek)
	case 'w':
		return fmt.Sprint(weekday), true
	case 'W':
		return two((t.YearDay() + 6 - (weekday+6)%7) / 7)
	case 'y':
		return two(t.Year() % 100)
	case 'Y':
		return fmt.Sprint(t.Year()), true
	case 'z':
		return t.offset, true
	case 'Z':
		return t.zone, true
	case '%':
		return "%", true
	}
	return "", false
}

// formatParam is the parameter of the functions that format a time.
func formatParam() Param {
	return Param{Name: "format", Kind: messageKind(), Doc: "text with directives: %Y%m%d-%H%M%S"}
}
