package spell

import "testing"

func TestNearest(t *testing.T) {
	t.Parallel()
	params := []string{"provision", "ssh", "node_id", "command", "working_dir", "timeout", "regions", "count"}
	for _, test := range []struct{ name, want string }{
		{"coutn", "count"},
		{"regoin", "regions"},
		{"workingdir", "working_dir"},
		{"Timeout", "timeout"},
		{"cmd", ""},
		{"hssh", "ssh"},
		{"zzz", ""},
		{"", ""},
	} {
		if got := Nearest(test.name, params); got != test.want {
			t.Errorf("Nearest(%q) = %q, want %q", test.name, got, test.want)
		}
	}
}
