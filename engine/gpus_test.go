package engine

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bifrost-run/bifrost/gpu"
)

func TestWrongGPUs(t *testing.T) {
	t.Parallel()
	h100 := GPU{Name: "NVIDIA H100 80GB HBM3", MemoryTotalMB: 81559}
	tests := []struct {
		name  string
		gpus  []GPU
		offer gpu.Offer
		want  string // in the error; "" for none
	}{
		{"as paid for", []GPU{h100, h100}, gpu.Offer{GPUType: "H100 80GB SXM", VRAMGB: 80, GPUCount: 2}, ""},
		{"too few", []GPU{h100}, gpu.Offer{GPUType: "H100 80GB SXM", VRAMGB: 80, GPUCount: 2}, "nvidia-smi shows 1 GPUs, 2 were paid for"},
		{"another", []GPU{h100}, gpu.Offer{GPUType: "B200", VRAMGB: 180, GPUCount: 1}, "nvidia-smi shows NVIDIA H100 80GB HBM3, paid for was B200"},
		{"less memory", []GPU{{Name: "NVIDIA A100-PCIE-40GB", MemoryTotalMB: 40960}}, gpu.Offer{GPUType: "A100 80GB PCIe", VRAMGB: 80, GPUCount: 1}, "40 GB"},
		{"an L40S is no L40", []GPU{{Name: "NVIDIA L40S", MemoryTotalMB: 46068}}, gpu.Offer{GPUType: "L40", VRAMGB: 48, GPUCount: 1}, "paid for was L40"},
		{"another spelling", []GPU{{Name: "NVIDIA GeForce RTX 4090", MemoryTotalMB: 24564}}, gpu.Offer{GPUType: "RTX 4090", VRAMGB: 24, GPUCount: 1}, ""},
		{"ada", []GPU{{Name: "NVIDIA RTX 6000 Ada Generation", MemoryTotalMB: 49140}}, gpu.Offer{GPUType: "RTX 6000 Ada", VRAMGB: 48, GPUCount: 1}, ""},
		{"grace", []GPU{{Name: "NVIDIA GH200 480GB", MemoryTotalMB: 97871}}, gpu.Offer{GPUType: "GH200", VRAMGB: 96, GPUCount: 1}, ""},
		{"h200", []GPU{{Name: "NVIDIA H200", MemoryTotalMB: 143771}}, gpu.Offer{GPUType: "H200 141GB SXM", VRAMGB: 141, GPUCount: 1}, ""},
		{"small ones show less", []GPU{{Name: "NVIDIA L4", MemoryTotalMB: 23034}}, gpu.Offer{GPUType: "L4", VRAMGB: 24, GPUCount: 1}, ""},
		{"a name that tells nothing", []GPU{{Name: "GRID", MemoryTotalMB: 0}}, gpu.Offer{GPUType: "vGPU", GPUCount: 1}, ""},
		{"this machine", []GPU{h100}, gpu.Offer{GPUType: "B200", GPUCount: 1, StandsIn: true}, ""},
	}
	for _, tt := range tests {
		err := wrongGPUs(tt.gpus, tt.offer.GPUCount, tt.offer)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", tt.name, err, tt.want)
		}
	}
}

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
