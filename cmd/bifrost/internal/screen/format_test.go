package screen

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestDuration(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		d    time.Duration
		want string
	}{
		{0, "0.0s"},
		{-time.Second, "0.0s"},
		{840 * time.Millisecond, "0.8s"},
		{9949 * time.Millisecond, "9.9s"},
		{9960 * time.Millisecond, "10s"},
		{42 * time.Second, "42s"},
		{59700 * time.Millisecond, "59s"},
		{time.Minute, "1m00s"},
		{12*time.Minute + 3*time.Second, "12m03s"},
		{time.Hour + 2*time.Minute + 59*time.Second, "1h02m"},
		{51 * time.Hour, "2d03h"},
	} {
		if got := Duration(tt.d); got != tt.want {
			t.Errorf("Duration(%s): got %q want %q", tt.d, got, tt.want)
		}
	}
}

func TestMoney(t *testing.T) {
	t.Parallel()
	for usd, want := range map[float64]string{0: "$0.00", 0.001: "<$0.01", 0.12: "$0.12", 1234.567: "$1234.57"} {
		if got := Money(usd); got != want {
			t.Errorf("Money(%g): got %q want %q", usd, got, want)
		}
	}
}

func TestBytes(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64]string{
		0: "0 B", 999: "999 B", 1000: "1.0 kB", 12_345: "12 kB", 999_600: "1.0 MB", 3_100_000: "3.1 MB", 5e12: "5.0 TB",
	} {
		if got := Bytes(n); got != want {
			t.Errorf("Bytes(%d): got %q want %q", n, got, want)
		}
	}
}

func TestFit(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		text string
		cols int
		want string
	}{
		{"abc", 3, "abc"}, {"abcd", 3, "abc"}, {"日本", 3, "日"}, {"", 3, ""}, {"é", 1, "é"},
	} {
		if got := fit(tt.text, tt.cols); got != tt.want {
			t.Errorf("fit(%q, %d): got %q want %q", tt.text, tt.cols, got, tt.want)
		}
	}
}

func TestTable(t *testing.T) {
	t.Parallel()
	tab := NewTable("id", "state", ">age")
	tab.Row("train-7f3k", "running", "1h02m")
	tab.Row("x", "", "3s")
	tab.Row("évil\nname", "RELEASING")
	var b strings.Builder
	if err := tab.Write(&b); err != nil {
		t.Fatal(err)
	}
	want := `ID          STATE        AGE
train-7f3k  running    1h02m
x           -             3s
évil name   RELEASING      -
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
}
