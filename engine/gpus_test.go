package engine

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseGPUs(t *testing.T) {
	t.Parallel()
	tests := []struct {
		in   string
		want []GPU
		bad  bool
	}{
		{"0, NVIDIA H100 80GB HBM3, 4, 81559, 0\n1, NVIDIA H100 80GB HBM3, 70000, 81559, 97\n", []GPU{
			{0, "NVIDIA H100 80GB HBM3", 4, 81559, 0}, {1, "NVIDIA H100 80GB HBM3", 70000, 81559, 97},
		}, false},
		{"0, GRID, [N/A], 16384, [Not Supported]\n", []GPU{{0, "GRID", 0, 16384, 0}}, false},
		{"", []GPU{}, false},
		{"No devices were found\n", nil, true},
		{"x, y, 1, 2, 3\n", nil, true},
	}
	for _, tt := range tests {
		got, err := parseGPUs(tt.in)
		if (err != nil) != tt.bad {
			t.Errorf("%q: error %v", tt.in, err)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%q: (-want +got)\n%s", tt.in, diff)
		}
	}
}

func TestBusyGPUs(t *testing.T) {
	t.Parallel()
	gpus := []GPU{{Index: 0, MemoryUsedMB: 1000, Utilization: 5}, {Index: 1, MemoryUsedMB: 1001}, {Index: 2, Utilization: 6}}
	tests := []struct {
		ids  []int
		busy int
		bad  bool
	}{
		{nil, 2, false},
		{[]int{0}, 0, false},
		{[]int{0, 1}, 1, false},
		{[]int{3}, 0, true},
	}
	for _, tt := range tests {
		busy, err := busyOf(gpus, tt.ids)
		if len(busy) != tt.busy || (err != nil) != tt.bad {
			t.Errorf("%v: got %v, %v", tt.ids, busy, err)
		}
	}
}
