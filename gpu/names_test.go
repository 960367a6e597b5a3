package gpu_test

import (
	"testing"

	"github.com/bifrost-run/bifrost/gpu"
)

func TestMatchesType(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		typ, name string
		want      bool
	}{
		{"", "T4 16GB", true},
		{"A100", "A100 80GB SXM", true},
		{"a100", "A100 40GB PCIe", true},
		{"A100 80GB", "A100 80GB SXM", true},
		{"SXM A100", "A100 80GB SXM", true},
		{"A100 80GB", "A100 40GB SXM", false},
		{"A100 SXM4", "A100 80GB SXM", true},
		{"NVIDIA A100-SXM4-80GB", "A100 80GB SXM", true},
		{"H100_80GB", "H100 80GB PCIe", true},
		{"A10", "A100 80GB SXM", false},
		{"H200", "GH200 96GB", false},
		{"L4", "L40S 48GB", false},
		{"L4*", "L40S 48GB", true},
		{"4090", "RTX 4090 24GB", true},
		{"RTX4090", "RTX 4090 24GB", true},
		{"RTX 3090Ti", "RTX 3090 Ti 24GB", true},
		{"A6000", "RTX A6000 48GB", true},
		{"A100", "", false},
	} {
		if got := gpu.MatchesType(test.typ, test.name); got != test.want {
			t.Errorf("MatchesType(%q, %q) = %v, want %v", test.typ, test.name, got, test.want)
		}
	}
}
