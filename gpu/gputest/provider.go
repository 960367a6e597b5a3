// Package gputest holds the contract that every provider of machines keeps, as tests. It is
// imported by the tests of the providers only.
//
//	func TestContract(t *testing.T) {
//		gputest.TestProvider(t, func(t *testing.T) gpu.Provider { return local.New(…) })
//	}
package gputest

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"math"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/bifrost-run/bifrost/gpu"
)

// patience is how long an instance may take to reach a state in these tests.
const patience = time.Minute

// TestProvider checks a provider against the contract of gpu.Provider. newProvider returns a
// provider whose account the test may create instances in, and none of whose instances matter; it
// is called once for each test.
func TestProvider(t *testing.T, newProvider func(t *testing.T) gpu.Provider) {
	tests := []struct {
		name string
		run  func(*testing.T, gpu.Provider)
	}{
		{"Offers", testOffers},
		{"Life", testLife},
		{"NameFinds", testNameFinds},
		{"Unknown", testUnknown},
		{"Invalid", testInvalid},
		{"ContextEnded", testContextEnded},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.run(t, newProvider(t))
		})
	}
}

// NewRequest returns a request for the provider's cheapest offer, under a name of its own, and the key that
// may log in.
func NewRequest(t *testing.T, p gpu.Provider) (gpu.CreateRequest, ssh.Signer) {
	t.Helper()
	q := gpu.Query{Providers: []string{p.Name()}}
	offers, err := p.Offers(t.Context(), q)
	if err != nil || len(offers) == 0 {
		t.Fatalf("Offers: got %v, %v, want at least one", offers, err)
	}
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	req := gpu.CreateRequest{
		Name:          newName(),
		Offer:         slices.MinFunc(offers, func(a, b gpu.Offer) int { return cmp.Compare(a.PriceTotal, b.PriceTotal) }),
		Query:         q,
		AuthorizedKey: strings.TrimSpace(string(ssh.MarshalAuthorizedKey(signer.PublicKey()))),
	}
	if r, ok := p.(gpu.KeyRegistrar); ok {
		for range 2 { // it may be repeated
			ref, err := r.RegisterKey(t.Context(), req.AuthorizedKey)
			if err != nil || ref == "" || req.KeyRef != "" && ref != req.KeyRef {
				t.Fatalf("RegisterKey: got %q, %v, want a name for it, the same each time", ref, err)
			}
			req.KeyRef = ref
		}
	}
	return req, signer
}

// newName is a name that all providers allow, as the engine gives them.
func newName() string { return "bifrost-test-" + strings.ToLower(rand.Text()) }

// Create creates an instance and terminates it at the end of the test.
func Create(t *testing.T, p gpu.Provider, req gpu.CreateRequest) gpu.Instance {
	t.Helper()
	inst, err := p.Create(t.Context(), req)
	if err != nil {
		t.Fatalf("Create: %v", err)
	}
	t.Cleanup(func() {
		if err := p.Terminate(context.Background(), inst.ID); err != nil {
			t.Errorf("Terminate %s: %v", inst.ID, err)
		}
	})
	if pr, ok := p.(gpu.Preparer); ok {
		for range 2 { // it may be repeated
			if err := pr.Prepare(t.Context(), inst.ID, req); err != nil {
				t.Fatalf("Prepare: %v", err)
			}
		}
	}
	return inst
}

func testOffers(t *testing.T, p gpu.Provider) {
	offers, err := p.Offers(t.Context(), gpu.Query{Providers: []string{p.Name()}})
	if err != nil || len(offers) == 0 {
		t.Fatalf("got %v, %v, want at least one", offers, err)
	}
	seen := map[string]bool{}
	for _, o := range offers {
		if o.Provider != p.Name() || o.ID == "" || seen[o.ID] || o.PricePerGPU < 0 || o.PriceTotal < 0 {
			t.Errorf("got offer %+v, want the provider's name, an id of its own, and a price", o)
		}
		if o.StandsIn {
			continue
		}
		if o.GPUType == "" || o.GPUCount < 1 || o.PricePerGPU <= 0 || math.Abs(o.PriceTotal-o.PricePerGPU*float64(o.GPUCount)) > 1e-4 {
			t.Errorf("got offer %+v, want a type, a count, and a price for all its GPUs and for each", o)
		}
		if o.CloudType != "secure" && o.CloudType != "community" {
			t.Errorf("got offer %+v, want secure or community", o)
		}
		seen[o.ID] = true
	}
}

func testLife(t *testing.T, p gpu.Provider) {
	req, _ := NewRequest(t, p)
	created := Create(t, p, req)
	if created.Provider != p.Name() || created.ID == "" || created.Name != req.Name {
		t.Fatalf("Create: got %+v, want provider %s, an id, name %s", created, p.Name(), req.Name)
	}
	running := await(t, p, created.ID, func(s gpu.State) bool { return s == gpu.Running })
	if running.Host == "" || running.Port == 0 || running.User == "" || running.Name != req.Name {
		t.Errorf("Get: got %+v, want where to connect", running)
	}
	if d := time.Since(running.Created); !running.Created.IsZero() && (d < -time.Minute || d > patience+time.Minute) {
		t.Errorf("Get: got created %v, want the time of the call, or none", running.Created)
	}
	if math.Abs(running.PricePerHour-req.Offer.PriceTotal) > 1e-4 || running.GPUCount != req.Offer.GPUCount {
		t.Errorf("Get: got %+v, want the GPUs and the price of the offer, %+v", running, req.Offer)
	}
	if got := named(t, p, req.Name); len(got) != 1 || got[0].ID != created.ID {
		t.Errorf("List: got %+v under the name, want the instance", got)
	}
	for range 2 {
		if err := p.Terminate(t.Context(), created.ID); err != nil {
			t.Fatalf("Terminate: %v", err)
		}
	}
	await(t, p, created.ID, func(s gpu.State) bool { return s == gpu.Terminated })
	for _, inst := range named(t, p, req.Name) {
		if inst.State != gpu.Terminated {
			t.Errorf("List: got %+v after its end", inst)
		}
	}
	if err := p.Terminate(t.Context(), created.ID); err != nil {
		t.Errorf("Terminate what is gone: %v", err)
	}
}

// testNameFinds checks what an ambiguous create rests on: by its name an instance is found, and only that
// one. Where a provider allows a name twice, both are shown.
func testNameFinds(t *testing.T, p gpu.Provider) {
	req, _ := NewRequest(t, p)
	other := req
	other.Name = newName()
	created := Create(t, p, req)
	Create(t, p, other)
	if got := named(t, p, req.Name); len(got) != 1 || got[0].ID != created.ID {
		t.Errorf("got %+v of one name, want the one that was created", got)
	}
	want := 1
	second, err := p.Create(t.Context(), req)
	if err == nil {
		want = 2
		defer p.Terminate(context.Background(), second.ID) //nolint:errcheck // it is a test's
	} else {
		wantKind(t, "Create", err, gpu.Conflict)
	}
	if got := named(t, p, req.Name); len(got) != want {
		t.Errorf("got %d instances of one name, want %d", len(got), want)
	}
}

func testUnknown(t *testing.T, p gpu.Provider) {
	for _, id := range []string{"nosuch22", "", "../x", "no such\nthing"} {
		_, err := p.Get(t.Context(), id)
		wantKind(t, "Get", err, gpu.NotFound)
		if err := p.Terminate(t.Context(), id); err != nil {
			t.Errorf("Terminate(%q): got %v, want nothing", id, err)
		}
	}
}

func testInvalid(t *testing.T, p gpu.Provider) {
	req, _ := NewRequest(t, p)
	nameless, keyless := req, req
	nameless.Name = ""
	keyless.AuthorizedKey = "no key"
	all := []gpu.CreateRequest{nameless, keyless}
	if _, ok := p.(gpu.VolumeKeeper); !ok {
		large := req
		large.Query.VolumeDiskGB = 100
		all = append(all, large)
	}
	for _, bad := range all {
		_, err := p.Create(t.Context(), bad)
		wantKind(t, "Create", err, gpu.Validation)
	}
	if got := named(t, p, req.Name); len(got) != 0 {
		t.Errorf("got %+v created by a refused request", got)
	}
}

func testContextEnded(t *testing.T, p gpu.Provider) {
	req, _ := NewRequest(t, p)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	start := time.Now()
	_, offersErr := p.Offers(ctx, req.Query)
	_, createErr := p.Create(ctx, req)
	_, getErr := p.Get(ctx, "nosuch22")
	_, listErr := p.List(ctx)
	for op, err := range map[string]error{
		"Offers": offersErr, "Create": createErr, "Get": getErr, "List": listErr, "Terminate": p.Terminate(ctx, "nosuch22"),
	} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: got %v, want the context's error", op, err)
		}
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
	for _, inst := range named(t, p, req.Name) {
		t.Errorf("got %+v created without a context", inst)
	}
}

// TestLogin checks that the key that an instance was created with, and no other, can log in, and that nobody
// can once it is terminated.
func TestLogin(t *testing.T, p gpu.Provider) {
	req, signer := NewRequest(t, p)
	_, stranger := NewRequest(t, p)
	created := Create(t, p, req)
	inst := await(t, p, created.ID, func(s gpu.State) bool { return s == gpu.Running })
	dial := func(key ssh.Signer) error {
		client, err := logIn(inst, key)
		if err != nil {
			return err
		}
		return client.Close()
	}
	if err := dial(signer); err != nil {
		t.Errorf("log in: %v", err)
	}
	if err := dial(stranger); err == nil {
		t.Error("a key could log in that nobody let in")
	}
	if err := p.Terminate(t.Context(), inst.ID); err != nil {
		t.Fatalf("Terminate: %v", err)
	}
	await(t, p, created.ID, func(s gpu.State) bool { return s == gpu.Terminated })
	if err := dial(signer); err == nil {
		t.Error("somebody could log in after the end")
	}
}

func logIn(inst gpu.Instance, key ssh.Signer) (*ssh.Client, error) {
	return ssh.Dial("tcp", net.JoinHostPort(inst.Host, strconv.Itoa(inst.Port)), &ssh.ClientConfig{
		User: inst.User, Auth: []ssh.AuthMethod{ssh.PublicKeys(key)}, HostKeyCallback: ssh.InsecureIgnoreHostKey(), Timeout: patience,
	})
}

// TestSelfEnd checks that an instance can end itself, and no other, with nothing but what it has. The provider
// is a gpu.SelfEnder whose instances have their keys.
func TestSelfEnd(t *testing.T, p gpu.Provider) {
	ender, ok := p.(gpu.SelfEnder)
	if !ok {
		t.Fatalf("%s is no gpu.SelfEnder", p.Name())
	}
	req, signer := NewRequest(t, p)
	other := req
	other.Name = newName()
	created, neighbour := Create(t, p, req), Create(t, p, other)
	inst := await(t, p, created.ID, func(s gpu.State) bool { return s == gpu.Running })
	client, err := logIn(inst, signer)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	run := func(script, argument string) (string, error) {
		session, err := client.NewSession()
		if err != nil {
			t.Fatal(err)
		}
		defer session.Close()
		session.Stdin = strings.NewReader(script)
		out, err := session.CombinedOutput("sh -s " + argument)
		return string(out), err
	}
	if out, err := run(ender.EndScript(inst.ID), "check"); err != nil {
		t.Fatalf("check: got %v, %s, want that it would work", err, out)
	}
	if out, err := run(ender.EndScript(neighbour.ID), ""); err == nil {
		t.Errorf("another instance's script: got success, %s", out)
	}
	for _, id := range []string{inst.ID, neighbour.ID} {
		await(t, p, id, func(s gpu.State) bool { return s == gpu.Running })
	}
	out, err := run(ender.EndScript(inst.ID), "") // it may end before the machine that it runs on, or after it
	t.Logf("the script: %v %s", err, out)
	await(t, p, inst.ID, func(s gpu.State) bool { return s == gpu.Terminated })
	if back, err := p.Get(t.Context(), neighbour.ID); err != nil || back.State != gpu.Running {
		t.Errorf("the other instance: got %+v, %v, want it running", back, err)
	}
}

// await polls an instance until its state is wanted; one that does not exist is terminated.
func await(t *testing.T, p gpu.Provider, id string, wanted func(gpu.State) bool) gpu.Instance {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		inst, err := p.Get(ctx, id)
		var refused *gpu.Error
		switch {
		case errors.As(err, &refused) && refused.Kind == gpu.NotFound:
			inst = gpu.Instance{ID: id, State: gpu.Terminated}
		case err != nil:
			t.Fatalf("Get: %v", err)
		}
		if wanted(inst.State) {
			return inst
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("instance %s stays %s", id, inst.State)
		}
	}
}

func named(t *testing.T, p gpu.Provider, name string) (found []gpu.Instance) {
	t.Helper()
	all, err := p.List(t.Context())
	if err != nil {
		t.Fatalf("List: %v", err)
	}
	for _, inst := range all {
		if inst.Name == name {
			found = append(found, inst)
		}
	}
	return found
}

func wantKind(t *testing.T, op string, err error, want gpu.Kind) {
	t.Helper()
	var refused *gpu.Error
	if !errors.As(err, &refused) || refused.Kind != want {
		t.Errorf("%s: got %v, want a refusal of kind %s", op, err, want)
	}
}
