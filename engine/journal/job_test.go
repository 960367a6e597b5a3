package journal

import (
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bifrost-run/bifrost/engine/fault"
)

func TestFindJob(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	j := openTest(t)
	_, err := j.Job(ctx, "@last")
	wantKind(t, err, fault.NotFound)
	for _, id := range []string{"train-7f3k", "train-7fzz", "eval-2222", "eval-2222b", "serve-9xyz"} {
		must(t, j.PutJob(ctx, Job{ID: id}))
	}
	for _, id := range []string{"outlier-analysis-allenai-2222", "outlier-analysis-allenai-3333"} {
		must(t, j.PutJob(ctx, Job{ID: id, Name: "outlier-analysis-allenai-olmoe"}))
	}
	tests := []struct {
		prefix, want string
		kind         fault.Kind
		words        string // in the message or the hint
	}{
		{prefix: "train-7f3k", want: "train-7f3k"},
		{prefix: "train-7f3", want: "train-7f3k"},
		{prefix: "s", want: "serve-9xyz"},
		{prefix: "eval-2222", want: "eval-2222"}, // exact wins over being a prefix
		{prefix: "@last", want: "outlier-analysis-allenai-3333"},
		{prefix: "outlier-analysis-allenai-olmoe", want: "outlier-analysis-allenai-3333"},
		{prefix: "train", kind: fault.Invalid, words: "train-7f3k, train-7fzz"},
		{prefix: "", kind: fault.Invalid, words: "empty"},
		{prefix: "trian-7f3k", kind: fault.NotFound, words: "did you mean train-7f3k"},
		{prefix: "sreve-9", kind: fault.NotFound, words: "did you mean serve-9xyz"},
		{prefix: "quite-else", kind: fault.NotFound, words: "bifrost ps -a"},
		{prefix: "%", kind: fault.NotFound, words: "bifrost ps -a"},
		{prefix: "'; DROP TABLE jobs; --", kind: fault.NotFound, words: "bifrost ps -a"},
	}
	for _, tt := range tests {
		got, err := j.Job(ctx, tt.prefix)
		if tt.kind == "" {
			if err != nil || got.ID != tt.want {
				t.Errorf("Job(%q): got %q, %v, want %q", tt.prefix, got.ID, err, tt.want)
			}
			continue
		}
		var e *fault.Error
		if !errors.As(err, &e) || e.Kind != tt.kind || !strings.Contains(e.Error()+e.Hint, tt.words) {
			t.Errorf("Job(%q): got %v (%s), want kind %s with %q", tt.prefix, err, fault.HintOf(err), tt.kind, tt.words)
		}
	}
}

func TestJobs(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	j := openTest(t)
	for i, s := range []JobState{JobRunning, JobSucceeded, JobPlanned, JobLost} {
		must(t, j.PutJob(ctx, Job{ID: fmt.Sprint(i), State: s, NodeID: fmt.Sprint("n", i%2), RunID: fmt.Sprint("r", i/2)}))
	}
	tests := []struct {
		filter JobFilter
		want   string
	}{
		{JobFilter{}, "2 0"},
		{JobFilter{All: true}, "3 2 1 0"},
		{JobFilter{All: true, Limit: 2}, "3 2"},
		{JobFilter{All: true, NodeID: "n1"}, "3 1"},
		{JobFilter{NodeID: "n1"}, ""},
		{JobFilter{RunID: "r1"}, "2"},
	}
	for _, tt := range tests {
		jobs, err := j.Jobs(ctx, tt.filter)
		must(t, err)
		var got []string
		for _, b := range jobs {
			got = append(got, b.ID)
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("Jobs(%+v): got %v, want %s", tt.filter, got, tt.want)
		}
	}
}

func TestQueriesUseIndexes(t *testing.T) {
	t.Parallel()
	j := openTest(t)
	for _, tt := range []struct{ query, want string }{
		{"SELECT * FROM jobs WHERE state NOT IN ('succeeded', 'failed', 'timeout', 'cancelled', 'lost') ORDER BY seq DESC", "jobs_live"},
		{"SELECT * FROM nodes WHERE state <> 'gone' ORDER BY seq DESC", "nodes_live"},
		{"SELECT * FROM jobs WHERE id >= 'a' AND id < 'b' ORDER BY id LIMIT 10", "autoindex_jobs"},
	} {
		plan, err := collect(t.Context(), j.db, func(scan func(...any) error) (string, error) {
			var a, b, c int
			var s string
			err := scan(&a, &b, &c, &s)
			return s, err
		}, "EXPLAIN QUERY PLAN "+tt.query)
		must(t, err)
		if got := strings.Join(plan, "; "); !strings.Contains(got, tt.want) || strings.Contains(got, "TEMP B-TREE") {
			t.Errorf("%s: got plan %q, want %s", tt.query, got, tt.want)
		}
	}
}

func TestIDStem(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"train": "train", "Train GPT_2": "train-gpt-2", "": "job", "---": "job", "été": "t", "日本": "job",
		"a  b": "a-b", "-x-": "x", "abcdefghijklmnopqrstuvwxyz": "abcdefghijklmnopqrstuvwx",
		"abcdefghijklmnopqrstuvw-xyz": "abcdefghijklmnopqrstuvw", "../../etc": "etc", "a\nb": "a-b",
	} {
		if got := idStem(name); got != want {
			t.Errorf("idStem(%q): got %q, want %q", name, got, want)
		}
	}
}

func TestNewJobID(t *testing.T) {
	t.Parallel()
	j := openTest(t)
	form := regexp.MustCompile(`^train-[2-9a-hjkmnp-z]{4}$`)
	var mu sync.Mutex
	seen := map[string]bool{}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 50 {
				id, err := j.NewJobID(t.Context(), "Train")
				mu.Lock()
				if err != nil || seen[id] || !form.MatchString(id) {
					t.Errorf("got %q, %v, want a new id", id, err)
				}
				seen[id] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
}

func TestClientIDOfAll(t *testing.T) {
	t.Parallel()
	j := openTest(t)
	var wg sync.WaitGroup
	ids := make([]string, 8)
	for i := range ids {
		wg.Go(func() {
			var err error
			if ids[i], err = j.ClientID(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, id := range ids {
		if id != ids[0] {
			t.Errorf("got ids %v, want one", ids)
		}
	}
}

func TestDownloads(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	j := openTest(t)
	base := t.TempDir()
	for _, p := range []string{"a/results", "a/results", "a/x/", "a", "ab/results", "a\xff/b", "a'%/c"} {
		must(t, j.AddDownload(ctx, filepath.Join(base, p)))
	}
	wantKind(t, j.AddDownload(ctx, "relative"), fault.Internal)
	tests := map[string][]string{
		"a": {"a", "a/results", "a/x"}, "a/": {"a", "a/results", "a/x"}, "a\xff": {"a\xff/b"}, "a'%": {"a'%/c"}, "b": nil, "a/res": nil,
	}
	for root, want := range tests {
		got, err := j.DownloadsUnder(ctx, filepath.Join(base, root))
		must(t, err)
		for i := range want {
			want[i] = filepath.Join(base, want[i])
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("under %q (-want +got):\n%s", root, diff)
		}
	}
	all, err := j.DownloadsUnder(ctx, filepath.VolumeName(base)+string(filepath.Separator))
	must(t, err)
	if len(all) != 6 {
		t.Errorf("got %q under the root, want all six", all)
	}
}
