package examples_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bifrost-run/bifrost/engine/enginetest"
)

// programs are stand-ins for what a machine with GPUs has. The environments that this uv makes have a
// python that runs its programs with sh, and imports everything; so does "uv run python".
var programs = map[string]string{
	"nvidia-smi": `#!/bin/sh
case "$*" in
*name,memory.total*) printf 'NVIDIA A100-SXM4-80GB, 81920\nNVIDIA A100-SXM4-80GB, 81920\n' ;;
*) printf '0, NVIDIA A100-SXM4-80GB, 10, 81920, 0\n1, NVIDIA A100-SXM4-80GB, 10, 81920, 0\n' ;;
esac
`,
	"uv": `#!/bin/sh
[ "$1" = run ] || echo "uv $*"
case $1 in
sync) venv=.venv ;;
venv) for venv; do :; done ;;
run) shift 2; exec sh "$@" ;;
*) exit 0 ;;
esac
mkdir -p "$venv/bin"
cat >"$venv/bin/python" <<'END'
#!/bin/sh
[ "$1" != -c ] || { echo "/site-packages/$3/__init__.py"; exit 0; }
exec sh "$@"
END
chmod 755 "$venv/bin/python"
`,
}

// install writes the stand-ins into a folder for a PATH.
func install(t *testing.T, bin string) {
	t.Helper()
	if err := os.MkdirAll(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range programs {
		if err := os.WriteFile(filepath.Join(bin, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

// project writes a file of the user's project, with its folder.
func (u *user) project(path, text string) {
	u.t.Helper()
	path = filepath.Join(u.dir, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		u.t.Fatal(err)
	}
	u.write(path, text)
}

// only is the one path that a pattern matches.
func (u *user) only(pattern string) string {
	u.t.Helper()
	found, err := filepath.Glob(filepath.Join(u.dir, pattern))
	if err != nil || len(found) != 1 {
		u.t.Fatalf("%s is %v, %v", pattern, found, err)
	}
	path, err := filepath.Rel(u.dir, found[0])
	if err != nil {
		u.t.Fatal(err)
	}
	return path
}

func TestOutlierFeatures(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	bin := t.TempDir()
	install(t, bin)
	u.env = []string{"PATH=" + bin + ":" + os.Getenv("PATH"), "HF_TOKEN=hf_canary"}
	u.change("outlier_features.star", "type = deployment.gpu_filter,", "type = deployment.gpu_filter,\n        providers = \"local\",")
	u.project("tiny.star", `load("./outlier_features/config.star", "Config", "Deployment", "Model", "Output")
config = Config(
    Model("acme/tiny-1b"),
    deployment = Deployment(gpu_count = 2, min_cpu_ram = 0, analysis_timeout = 60),
    output = Output(save_dir = "./out"),
)
`)
	u.project("dev/outlier-features/run_full_analysis.py", `grep -q '"name": "acme/tiny-1b"' "$1" || exit 5
[ "$HF_TOKEN$PYTORCH_CUDA_ALLOC_CONF" = hf_canaryexpandable_segments:True ] || exit 6
echo analysed
[ ! -e fails ] || exit 7
mkdir -p out && echo '{"outliers": 3}' >out/final_analysis_results.json
`)
	stdout, stderr := u.must("exec", "outlier_features.star", "tiny.star")
	if stdout != "analysed\n" || strings.Contains(stderr, "hf_canary") || !strings.Contains(stderr, "uv sync --extra dev-outlier-features") {
		t.Errorf("stdout %q, stderr %s", stdout, stderr)
	}
	here := u.only("remote_results/acme-tiny-1b_*")
	u.got(filepath.Join(here, "final_analysis_results.json"), `{"outliers": 3}`)
	u.got(filepath.Join(here, "outlier_analysis.log"), "analysed")
	u.nothingCosts()

	if err := os.RemoveAll(filepath.Join(u.dir, "remote_results")); err != nil {
		t.Fatal(err)
	}
	u.project("dev/outlier-features/fails", "")
	if _, _, code := u.run("exec", "outlier_features.star", "tiny.star"); code != 7 {
		t.Errorf("a job that fails: exit code %d", code)
	}
	u.got(u.only("remote_results/*/outlier_analysis.log"), "analysed")
	u.nothingCosts()
}

func TestIntegrationEvaluation(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	s := enginetest.OpenSSH(t, enginetest.Options{User: enginetest.Plain, Config: []string{"PermitUserEnvironment yes"}})
	bin := filepath.Join(s.Dir, "bin")
	install(t, bin)
	if err := os.MkdirAll(filepath.Join(s.Home, ".ssh"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.Home, ".ssh", "environment"), []byte("PATH="+bin+":/usr/bin:/bin\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	u.env = []string{"OPENAI_API_KEY=sk-canary"}
	run := []string{
		"exec", "--allow-env=OPENAI_API_KEY", "integration_evaluation.star", "integration_evaluation/configs/kernels.star", "--ssh", u.reaches(s),
	}
	_, stderr, code := u.run(run...)
	if code != 1 || !strings.Contains(stderr, "has no folder dev/integration-evaluation") {
		t.Errorf("without the project: exit code %d, %s", code, stderr)
	}

	u.project("dev/integration-evaluation/local.py", `grep -q '"num_samples": 20' "$1" || exit 5
[ "$CUDA_VISIBLE_DEVICES $OPENAI_API_KEY" = "0,1 sk-canary" ] || exit 6
[ "$(command -v python)" = "$VIRTUAL_ENV/bin/python" ] || exit 8
echo evaluated
echo '{"correct": 19}' >"$(ls -d eval_results/kernels_*)/summary.json"
`)
	stdout, stderr := u.must(run...)
	if !strings.HasPrefix(stdout, "evaluated\nsucceeded after 0h 0m ") || strings.Contains(stderr, "sk-canary") {
		t.Errorf("stdout %q, stderr %s", stdout, stderr)
	}
	for _, want := range []string{"GPUs: [0, 1]; free: [0, 1]; busy: []", "BackendBench: /site-packages/BackendBench/__init__.py"} {
		if !strings.Contains(stderr, want) {
			t.Errorf("stderr says nothing of %q", want)
		}
	}
	here := u.only("remote_results/kernels_*")
	u.got(filepath.Join(here, "summary.json"), `{"correct": 19}`)
	u.got(filepath.Join(here, "evaluation.log"), "evaluated")
}
