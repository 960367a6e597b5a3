package runpod_test

import (
	"net/http"
	"slices"
	"testing"

	"github.com/bifrost-run/bifrost/gpu/gputest"
	"github.com/bifrost-run/bifrost/gpu/gputest/cloud"
)

// TestEndsItself runs the end script on a pod. The server takes a pod's key for that pod and for nothing else,
// which is how the key is described; only a live account can tell whether API v2 takes it at all.
func TestEndsItself(t *testing.T) {
	t.Parallel()
	_, p := account(t, cloud.Options{})
	gputest.TestSelfEnd(t, p)
}

// TestPodKeys is what the test above rests on: the key of one pod is refused for another.
func TestPodKeys(t *testing.T) {
	t.Parallel()
	acct, p := account(t, cloud.Options{Leave: true})
	req, _ := gputest.NewRequest(t, p)
	for range 2 {
		if _, err := p.Create(t.Context(), req); err != nil {
			t.Fatal(err)
		}
	}
	rented := acct.Rented()
	var got []int
	for _, try := range []struct{ method, path, key string }{
		{"DELETE", rented[1].ID, rented[0].Env["RUNPOD_API_KEY"]},
		{"DELETE", rented[1].ID, ""},
		{"GET", rented[0].ID, rented[0].Env["RUNPOD_API_KEY"]},
		{"DELETE", rented[0].ID, rented[0].Env["RUNPOD_API_KEY"]},
	} {
		r, err := http.NewRequestWithContext(t.Context(), try.method, acct.URL+"/v2/pods/"+try.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+try.key)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		got = append(got, resp.StatusCode)
	}
	if want := []int{403, 401, 401, 204}; !slices.Equal(got, want) || len(acct.Machines()) != 1 || acct.Machines()[0].ID != rented[1].ID {
		t.Errorf("got %v, and left %+v; want %v, and the second one", got, acct.Machines(), want)
	}
}
