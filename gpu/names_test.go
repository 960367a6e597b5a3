package gpu_test

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/bifrost-run/bifrost/gpu"
)

func TestCanonical(t *testing.T) {
	t.Parallel()
	const mib = 1.0 / 1024 // providers that count in MiB
	type spelling struct {
		native string
		vram   float64
		form   string
	}
	for _, test := range []struct {
		want string
		vram float64
		all  []spelling
	}{
		{"H100 80GB SXM", 80, []spelling{
			{"NVIDIA H100 80GB HBM3", 80, ""},
			{"H100 SXM", 80, ""},          // RunPod: id, display
			{"H100 SXM", 81559 * mib, ""}, // Vast
			{"H100 (80 GB SXM5)", 0, ""},
			{"gpu_8x_h100_sxm5gdr", 0, ""}, // Lambda: description, type
			{"gpu_1x_h100_sxm5", 0, ""},
			{"H100_80GB", 0, "SXM5"},
			{"H100_80GB", 80, "SXM5"}, // Prime
			{"H100 80GB SXM", 0, ""},
			{"h100-sxm5-80gb", 0, ""},
			{"NVIDIA H100 80GB HBM3", 81559 * mib, ""}, // itself; people; nvidia-smi
		}},
		{"H100 80GB PCIe", 80, []spelling{
			{"NVIDIA H100 PCIe", 80, ""},
			{"H100 PCIe", 80, ""},
			{"H100 PCIE", 81559 * mib, ""},
			{"gpu_1x_h100_pcie", 0, ""},
			{"H100 (80 GB PCIe)", 0, ""},
			{"H100_80GB", 0, "PCIe"},
		}},
		{"H100 94GB NVL", 94, []spelling{{"NVIDIA H100 NVL", 94, ""}, {"H100 NVL", 95830 * mib, ""}, {"H100 NVL", 0, ""}}},
		{"H100 80GB", 80, []spelling{{"H100_80GB", 0, ""}, {"H100", 0, "null"}}}, // no socket is told
		{"H200 141GB SXM", 141, []spelling{
			{"NVIDIA H200", 141, ""},
			{"H200 SXM", 141, ""},
			{"H200", 143771 * mib, ""},
			{"H200_141GB", 0, "SXM5"},
			{"H200_141GB", 0, ""},
			{"NVIDIA H200", 143, ""},
		}},
		{"H200 96GB SXM", 96, []spelling{{"H200_96GB", 0, "SXM5"}}},
		{"H200 141GB NVL", 141, []spelling{{"NVIDIA H200 NVL", 143, ""}, {"H200 NVL", 143771 * mib, ""}}},
		{"B200 180GB SXM", 180, []spelling{
			{"NVIDIA B200", 180, ""},
			{"B200", 183359 * mib, ""},
			{"gpu_8x_b200_sxm6", 0, ""},
			{"B200 (180 GB SXM6)", 0, ""},
			{"B200_180GB", 0, "SXM6"},
			{"NVIDIA B200", 192, ""},
		}},
		{"B300 288GB SXM", 288, []spelling{
			{"NVIDIA B300 SXM6 AC", 288, ""}, {"B300", 288, ""}, {"B300_262GB", 0, ""}, {"B300_262GB", 262, "SXM6"}, {"B300", 270, ""},
		}},
		{"GH200 96GB", 96, []spelling{
			{"GH200", 97871 * mib, ""},
			{"gpu_1x_gh200", 0, ""},
			{"GH200 (96 GB)", 0, ""},
			{"GH200_96GB", 0, ""},
			{"GH200_480GB", 0, ""},
			{"GH200_624GB", 0, "SXM5"},
			{"NVIDIA GH200 480GB", 97871 * mib, ""},
		}},
		{"GB200 186GB", 186, []spelling{{"GB200", 0, ""}}},
		{"A100 80GB SXM", 80, []spelling{
			{"NVIDIA A100-SXM4-80GB", 80, ""},
			{"A100 SXM", 80, ""},
			{"A100 SXM4", 80, ""},
			{"gpu_8x_a100_80gb_sxm4", 0, ""},
			{"A100 (80 GB SXM4)", 0, ""},
			{"A100_80GB", 0, "SXM4"},
		}},
		{"A100 80GB PCIe", 80, []spelling{
			{"NVIDIA A100 80GB PCIe", 80, ""}, {"A100 PCIe", 80, ""}, {"A100 PCIE", 81920 * mib, ""}, {"A100_80GB", 0, "PCIe"},
		}},
		{"A100 40GB SXM", 40, []spelling{
			{"A100 SXM4", 40960 * mib, ""}, {"gpu_1x_a100_sxm4", 40, ""}, {"gpu_8x_a100", 0, ""}, {"A100 (40 GB SXM4)", 0, ""}, {"A100_40GB", 0, "SXM4"},
		}},
		{"A100 40GB PCIe", 40, []spelling{
			{"A100 PCIE", 40960 * mib, ""}, {"gpu_1x_a100", 0, ""}, {"A100 (40 GB PCIe)", 0, ""}, {"A100_40GB", 0, "PCIe"},
		}},
		{"A100 SXM", 0, []spelling{{"A100 SXM4", 0, ""}}}, // 40 or 80: not guessed
		{"L40S 48GB", 48, []spelling{{"NVIDIA L40S", 48, ""}, {"L40S", 46068 * mib, ""}, {"L40S_48GB", 0, "PCIe"}}},
		{"L40 48GB", 48, []spelling{{"NVIDIA L40", 48, ""}, {"L40_48GB", 0, "PCIe"}}},
		{"L4 24GB", 24, []spelling{{"NVIDIA L4", 24, ""}, {"L4_24GB", 0, ""}, {"L4", 23034 * mib, ""}}},
		{"RTX 4090 24GB", 24, []spelling{
			{"NVIDIA GeForce RTX 4090", 24, ""}, {"NVIDIA GeForce RTX 4090", 0, ""}, {"RTX 4090", 24564 * mib, ""}, {"RTX4090_24GB", 0, "PCIe"}, {"rtx4090", 24, ""},
		}},
		{"RTX 4090 48GB", 48, []spelling{{"RTX 4090", 49140 * mib, ""}}}, // rebuilt ones are for rent
		{"RTX 5090 32GB", 32, []spelling{{"NVIDIA GeForce RTX 5090", 32, ""}, {"RTX 5090", 32607 * mib, ""}, {"RTX5090_32GB", 0, ""}}},
		{"RTX 3090 Ti 24GB", 24, []spelling{{"NVIDIA GeForce RTX 3090 Ti", 24, ""}, {"RTX 3090 Ti", 24564 * mib, ""}, {"RTX3090Ti_24GB", 0, ""}}},
		{"RTX 4070 SUPER Ti 16GB", 16, []spelling{{"RTX 4070S Ti", 16376 * mib, ""}}},
		{"RTX A6000 48GB", 48, []spelling{
			{"NVIDIA RTX A6000", 48, ""},
			{"RTX A6000", 49140 * mib, ""},
			{"gpu_1x_a6000", 0, ""},
			{"A6000 (48 GB)", 0, ""},
			{"A6000_48GB", 0, "PCIe"},
			{"RTXA6000", 0, ""},
		}},
		{"RTX 6000 Ada 48GB", 48, []spelling{
			{"NVIDIA RTX 6000 Ada Generation", 48, ""}, {"NVIDIA RTX 6000 Ada Generation", 0, ""}, {"RTX 6000Ada", 49140 * mib, ""}, {"RTX6000Ada_48GB", 0, ""}, {"RTX 6000 Ada", 48, ""},
		}},
		{"RTX PRO 6000 96GB", 96, []spelling{
			{"NVIDIA RTX PRO 6000 Blackwell Server Edition", 96, ""},
			{"NVIDIA RTX PRO 6000 Blackwell Workstation Edition", 96, ""},
			{"NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition", 96, ""},
			{"RTX PRO 6000 WK", 96, ""},
			{"RTX PRO 6000 MaxQ", 96, ""},
			{"RTX PRO 6000", 96, ""},
			{"RTX PRO 6000 S", 97887 * mib, ""},
			{"RTX PRO 6000 WS", 97887 * mib, ""},
			{"RTX_PRO_6000B_96GB", 0, "PCIe"},
		}},
		{"Quadro RTX 6000 24GB", 24, []spelling{
			{"Q RTX 6000", 24576 * mib, ""}, {"gpu_1x_rtx6000", 0, ""}, {"RTX 6000 (24 GB)", 0, ""}, {"RTX6000_24GB", 0, "PCIe"}, {"Quadro RTX 6000", 24, ""},
		}},
		{"A10 24GB", 24, []spelling{{"A10", 23028 * mib, ""}, {"gpu_1x_a10", 0, ""}, {"A10 (24 GB PCIe)", 0, ""}, {"A10_24GB", 0, "PCIe"}}},
		{"A10G 24GB", 24, []spelling{{"NVIDIA A10G", 23028 * mib, ""}}},
		{"A100X 80GB", 80, []spelling{{"A100X", 81920 * mib, ""}}},
		{"V100 16GB", 16, []spelling{
			{"Tesla V100-SXM2-16GB", 16, ""},
			{"Tesla V100-PCIE-16GB", 16, ""},
			{"Tesla V100-FHHL-16GB", 16, ""},
			{"Tesla V100", 16160 * mib, ""},
			{"gpu_8x_v100", 0, ""},
			{"gpu_8x_v100_n", 0, ""},
			{"Tesla V100 (16 GB)", 0, ""},
			{"V100_16GB", 0, "SXM2"},
		}},
		{"V100 32GB", 32, []spelling{{"Tesla V100-SXM2-32GB", 32, ""}, {"V100_32GB", 0, ""}}},
		{"T4 16GB", 16, []spelling{{"Tesla T4", 15360 * mib, ""}, {"T4_16GB", 0, "PCIe"}}},
		{"MI300X 192GB", 192, []spelling{{"AMD Instinct MI300X OAM", 192, ""}, {"MI300X", 0, ""}, {"InstinctMI300X", 0, ""}}},
		// A part is never the whole card, whatever memory is told for it.
		{"H100 MIG 10GB SXM", 10, []spelling{{"NVIDIA H100 80GB HBM3 MIG 1g.10gb", 81559 * mib, ""}, {"H100 MIG 1g.10gb", 0, "SXM5"}}},
		{"RTX PRO 6000 MIG 24GB", 24, []spelling{{"NVIDIA RTX PRO 6000 Blackwell Server Edition MIG 1g.24gb", 24, ""}}},
		{"A100 MIG", 0, []spelling{{"A100 MIG", 0, ""}}},
		// Names that nobody has heard of.
		{"Foo 9000 24GB PCIe", 24, []spelling{{"NVIDIA Foo-9000", 23.5, "PCIe"}}},
		{"X1 11GB", 11, []spelling{{"X1", 11264 * mib, ""}, {"\x00X1\xff\n", 11, "?"}}},
		{"RTX 9090 64GB", 64, []spelling{{"GeForce RTX 9090", 64, "PCIe"}}},
		{"NVIDIA", 0, []spelling{{"NVIDIA", 0, ""}}},
		{"", 0, []spelling{{"", 80, "SXM5"}, {" \t ", 0, ""}}},
	} {
		for _, s := range test.all {
			name, vram := gpu.Canonical(s.native, s.vram, s.form)
			if name != test.want || vram != test.vram {
				t.Errorf("Canonical(%q, %g, %q) = %q, %g, want %q, %g", s.native, s.vram, s.form, name, vram, test.want, test.vram)
			}
			if test.want != "" && !gpu.MatchesType(s.native, name) && !strings.HasPrefix(s.native, "gpu_") {
				t.Errorf("MatchesType(%q, %q) = false: a provider's own name finds nothing", s.native, name)
			}
		}
	}
}

func TestMatchesType(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		typ, name string
		want      bool
	}{
		{"", "T4 16GB", true},
		{"", "H100 MIG 10GB SXM", true},
		{"A100", "A100 80GB SXM", true},
		{"a100", "A100 40GB PCIe", true},
		{"A100 80GB", "A100 80GB SXM", true},
		{"A100 80 GB", "A100 80GB SXM", true},
		{"SXM A100", "A100 80GB SXM", true},
		{"A100 80GB", "A100 40GB SXM", false},
		{"A100 SXM4", "A100 80GB SXM", true},
		{"A100 PCIe", "A100 80GB SXM", false},
		{"NVIDIA A100-SXM4-80GB", "A100 80GB SXM", true},
		{"A100", "A100X 80GB", false},
		{"H100_80GB", "H100 80GB PCIe", true},
		{"H100 SXM5", "H100 80GB SXM", true},
		{"H100 SXM5", "H100 80GB PCIe", false},
		{"H100", "H100 94GB NVL", true},
		{"H100", "H100 MIG 10GB SXM", false},
		{"H100 MIG", "H100 MIG 10GB SXM", true},
		{"H100 1g.10gb", "H100 MIG 10GB SXM", true},
		{"H100 MIG", "H100 80GB SXM", false},
		{"A10", "A100 80GB SXM", false},
		{"A10", "A10G 24GB", false},
		{"A10", "A10 24GB", true},
		{"H200", "GH200 96GB", false},
		{"H200", "H200 141GB NVL", true},
		{"B200", "GB200 186GB", false},
		{"B200", "B200 180GB SXM", true},
		{"B300_262GB", "B300 288GB SXM", true},
		{"L4", "L40S 48GB", false},
		{"L4", "L40 48GB", false},
		{"L40", "L40S 48GB", false},
		{"L4*", "L40S 48GB", true},
		{"RTX 40*", "RTX 4090 24GB", true},
		{"4090", "RTX 4090 24GB", true},
		{"RTX4090", "RTX 4090 24GB", true},
		{"RTX 4090 PCIe", "RTX 4090 24GB", true},
		{"RTX 3090Ti", "RTX 3090 Ti 24GB", true},
		{"RTX3090Ti", "RTX 3090 Ti 24GB", true},
		{"RTX 3090 Ti", "RTX 3090 24GB", false},
		{"A6000", "RTX A6000 48GB", true},
		{"A6000", "RTX 6000 Ada 48GB", false},
		{"4000", "RTX A4000 16GB", false},
		{"RTX6000Ada", "RTX 6000 Ada 48GB", true},
		{"RTX 6000", "RTX 6000 Ada 48GB", true}, // whoever writes no more than this means any of the three
		{"RTX 6000", "RTX PRO 6000 96GB", true},
		{"RTX 6000", "Quadro RTX 6000 24GB", true},
		{"RTX 6000 Ada", "Quadro RTX 6000 24GB", false},
		{"Quadro RTX 6000", "RTX 6000 Ada 48GB", false},
		{"RTX_PRO_6000B_96GB", "RTX PRO 6000 96GB", true},
		{"A100", "", false},
	} {
		if got := gpu.MatchesType(test.typ, test.name); got != test.want {
			t.Errorf("MatchesType(%q, %q) = %v, want %v", test.typ, test.name, got, test.want)
		}
	}
}

func FuzzCanonical(f *testing.F) {
	f.Add("NVIDIA H100 80GB HBM3", 79.6, "SXM5")
	f.Add("RTX_PRO_6000B_96GB", 0.0, "")
	f.Add("H100 MIG 1g.10gb+me", -1.0, "\x00")
	f.Add("gpu_8x_a100", 1e308, "NVL")
	f.Add("80 GB 4070S", 3.0, "hbm")
	f.Fuzz(func(t *testing.T, native string, vramGB float64, form string) {
		name, vram := gpu.Canonical(native, vramGB, form)
		if !(vram >= 0 && vram < 1e5) || !utf8.ValidString(name) || strings.Join(strings.Fields(name), " ") != name || len(name) > 120 ||
			strings.ContainsFunc(name, unicode.IsControl) {
			t.Fatalf("Canonical(%q, %g, %q) = %q, %g", native, vramGB, form, name, vram)
		}
		if name != "" && !gpu.MatchesType(name, name) {
			t.Errorf("MatchesType(%q, itself) = false", name)
		}
		gpu.MatchesType(native, name)
	})
}
