package cloud

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/bifrost-run/bifrost/gpu/local"
)

func TestMain(m *testing.M) {
	if local.RunIfDaemon() {
		return
	}
	os.Exit(m.Run())
}

// tiny is the smallest API that a provider could have.
type tiny struct{ *Account }

func newTiny(a *Account) api { return tiny{a} }

func (p tiny) offers() []Offer {
	return []Offer{{ID: "big", GPU: "H100", Model: "NVIDIA H100 80GB HBM3", VRAMGB: 80, Count: 2, Price: 5, Stock: 2}}
}

func (p tiny) refuse(op string, status int) reply {
	return reply{status: status, body: map[string]string{"error": http.StatusText(status)}}
}

func (p tiny) routes() []route {
	return []route{
		{op: "offers", method: "GET", pattern: "/offers/{$}", handle: func(*request) reply { return reply{body: p.Account.offers} }, open: true},
		{op: "create", method: "POST", pattern: "/machines", handle: p.create, every: time.Minute, retryAfter: true},
		{op: "list", method: "GET", pattern: "/machines", handle: func(*request) reply { return reply{body: p.listed()} }},
		{op: "get", method: "GET", pattern: "/machines/{id}", handle: p.get},
		{op: "terminate", method: "DELETE", pattern: "/machines/{id}", handle: p.end},
	}
}

func (p tiny) create(r *request) reply {
	var body struct{ Name, Offer, Key string }
	if r.decode(&body) != nil {
		return p.refuse("create", 400)
	}
	offer, ok := p.find(func(o Offer) bool { return o.ID == body.Offer })
	if !ok {
		return p.refuse("create", 404)
	}
	m, err := p.rent(rental{Name: body.Name, Offer: offer, Key: body.Key, Env: map[string]string{"TINY_ID": "it's mine"}})
	if errors.Is(err, errNoStock) {
		return p.refuse("create", 409)
	}
	return reply{status: 201, body: m}
}

func (p tiny) get(r *request) reply {
	m, ok := p.machine(r.PathValue("id"))
	if !ok || m.State == Gone {
		return p.refuse("get", 404)
	}
	return reply{body: m}
}

func (p tiny) end(r *request) reply {
	if !p.terminate(r.PathValue("id")) {
		return p.refuse("terminate", 404)
	}
	return reply{status: 204}
}

// call makes one call; status 0 is no answer.
func call(t *testing.T, a *Account, method, path, body string) (status int, answer string, header http.Header) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, a.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+a.Key)
	req.Header.Set("Content-Type", "application/json")
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err.Error(), nil
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error(), nil
	}
	return resp.StatusCode, string(text), resp.Header
}

func create(t *testing.T, a *Account, name, key string) (int, Machine) {
	t.Helper()
	body, err := json.Marshal(map[string]string{"name": name, "offer": "big", "key": key})
	if err != nil {
		t.Fatal(err)
	}
	status, text, _ := call(t, a, "POST", "/machines", string(body))
	var m Machine
	if status == 201 {
		if err := json.Unmarshal([]byte(text), &m); err != nil {
			t.Fatal(err)
		}
	}
	return status, m
}

func TestLife(t *testing.T) {
	t.Parallel()
	a := newAccount(t, "tiny", newTiny, Options{Machine: Behaviour{
		Pending: time.Minute, Starting: time.Minute, Ending: time.Minute, Hidden: 90 * time.Second, Dear: 1,
	}})
	_, m := create(t, a, "one", "")
	states := []State{m.State}
	for range 3 {
		a.Advance(time.Minute)
		states = append(states, a.Rented()[0].State)
		if len(states) == 2 {
			if _, text, _ := call(t, a, "GET", "/machines", ""); strings.TrimSpace(text) != "null" {
				t.Errorf("listed %s, want nothing yet", text)
			}
		}
	}
	if m.Price != 6 || m.Count != 2 {
		t.Errorf("got %+v, want 2 GPUs for 6 USD", m)
	}
	if _, text, _ := call(t, a, "GET", "/machines", ""); !strings.Contains(text, m.ID) {
		t.Errorf("listed %s, want %s", text, m.ID)
	}
	if status, _, _ := call(t, a, "DELETE", "/machines/"+m.ID, ""); status != 204 {
		t.Errorf("delete: %d", status)
	}
	states = append(states, a.Machines()[0].State)
	a.Advance(time.Minute)
	if status, _, _ := call(t, a, "GET", "/machines/"+m.ID, ""); status != 404 {
		t.Errorf("get what is gone: %d", status)
	}
	if left := a.Machines(); len(left) > 0 || len(a.Rented()) != 1 {
		t.Errorf("left: %+v of %+v", left, a.Rented())
	}
	want := []State{Pending, Starting, Running, Running, Terminating}
	for i, s := range states {
		if s != want[i] {
			t.Errorf("states %v, want %v", states, want)
			break
		}
	}
}

func TestStock(t *testing.T) {
	t.Parallel()
	a := newAccount(t, "tiny", newTiny, Options{Leave: true})
	for i, want := range []int{201, 201, 409} {
		if status, _ := create(t, a, strconv.Itoa(i), ""); status != want {
			t.Errorf("create %d: %d, want %d", i, status, want)
		}
	}
	call(t, a, "DELETE", "/machines/"+a.Rented()[0].ID, "")
	a.Change("big", func(o *Offer) { o.Phantom = true })
	if status, _ := create(t, a, "phantom", ""); status != 409 {
		t.Errorf("create what is listed only: %d", status)
	}
	a.Change("big", func(o *Offer) { o.Phantom = false })
	if status, _ := create(t, a, "again", ""); status != 201 {
		t.Errorf("create after one went: %d", status)
	}
	if got := len(a.Calls("create")); got != 5 {
		t.Errorf("%d calls of create, want 5", got)
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	a := newAccount(t, "tiny", newTiny, Options{Limits: true, Leave: true})
	create(t, a, "one", "")
	if status, _, header := call(t, a, "POST", "/machines", "{}"); status != 429 || header.Get("Retry-After") != "60" {
		t.Errorf("too early: %d, %v", status, header)
	}
	a.Advance(time.Minute)
	if status, _ := create(t, a, "two", ""); status != 201 {
		t.Errorf("in time: %d", status)
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		kind   Kind
		status int
		done   int // machines rented
		after  string
	}{
		{Refused, 0, 0, ""},
		{CutBefore, 0, 0, ""},
		{CutAfter, 0, 1, ""},
		{TimeoutBefore, 0, 0, ""},
		{TimeoutAfter, 0, 1, ""},
		{ErrorBefore, 500, 0, ""},
		{ErrorAfter, 500, 1, ""},
		{BodyCut, 0, 1, ""},
		{Garbage, 200, 1, ""},
		{TooMany, 429, 0, ""},
		{TooManyAfter, 429, 0, "1"},
		{BadKey, 401, 0, ""},
		{NoFunds, 402, 0, ""},
		{Forbidden, 403, 0, ""},
		{NotFound, 404, 0, ""},
		{Conflict, 409, 0, ""},
	} {
		t.Run(string(test.kind), func(t *testing.T) {
			t.Parallel()
			a := newAccount(t, "tiny", newTiny, Options{Leave: true})
			a.Fault(Fault{Op: "create", Kind: test.kind, Times: 1})
			if status, _, _ := call(t, a, "GET", "/offers/", ""); status != 200 {
				t.Errorf("another call: %d", status)
			}
			body := `{"name": "one", "offer": "big"}`
			status, text, header := call(t, a, "POST", "/machines", body)
			if status != test.status || header.Get("Retry-After") != test.after || len(a.Machines()) != test.done {
				t.Errorf("got %d %s, Retry-After %q, %d machines; want %+v", status, text, header.Get("Retry-After"), len(a.Machines()), test)
			}
			if test.kind == Refused {
				if _, text, _ := call(t, a, "GET", "/offers/", ""); !strings.Contains(text, "refused") {
					t.Errorf("a call right after it: %s", text)
				}
			}
			for deadline := time.Now().Add(10 * time.Second); ; {
				if status, text, _ = call(t, a, "POST", "/machines", body); status == 201 {
					break
				}
				if test.kind != Refused || time.Now().After(deadline) {
					t.Fatalf("the next call: %d %s", status, text)
				}
			}
		})
	}
	if got := len(Kinds()); got != 16 {
		t.Errorf("%d kinds", got)
	}
}

func TestKey(t *testing.T) {
	t.Parallel()
	a := newAccount(t, "tiny", newTiny, Options{})
	resp, err := http.Get(a.URL + "/machines")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 401 {
		t.Errorf("no key: %d", resp.StatusCode)
	}
}

// newKey makes a key and its line for authorized_keys.
func newKey(t *testing.T) (ssh.Signer, string) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return signer, string(ssh.MarshalAuthorizedKey(signer.PublicKey()))
}

// login logs in to a machine and runs commands.
func login(t *testing.T, m Machine, signer ssh.Signer, commands ...string) (outputs []string, err error) {
	t.Helper()
	client, err := ssh.Dial("tcp", net.JoinHostPort(m.Host, strconv.Itoa(m.Port)), &ssh.ClientConfig{
		User: "root", Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)}, HostKeyCallback: ssh.InsecureIgnoreHostKey(), Timeout: 30 * time.Second,
	})
	if err != nil {
		return nil, err
	}
	defer client.Close()
	for _, command := range commands {
		session, err := client.NewSession()
		if err != nil {
			return nil, err
		}
		out, err := session.CombinedOutput(command)
		if err != nil {
			return nil, errors.Join(err, errors.New(string(out)))
		}
		outputs = append(outputs, string(out))
	}
	return outputs, nil
}

func TestNode(t *testing.T) {
	t.Parallel()
	for name, shallow := range map[string]bool{"instance": false, "shallow": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testNode(t, shallow)
		})
	}
}

func testNode(t *testing.T, shallow bool) {
	a := newAccount(t, "tiny", newTiny, Options{Shallow: shallow, Each: func(n int, b *Behaviour) {
		switch n {
		case 0:
			b.FewerGPUs = 1
		case 1:
			b.Locked = true
		}
	}})
	signer, line := newKey(t)
	_, m := create(t, a, "one", line)
	got, err := login(t, m, signer,
		"nvidia-smi -L", "nvidia-smi --query-gpu=index,name,memory.used,memory.total,utilization.gpu --format=csv,noheader,nounits", `echo "$TINY_ID"`)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{
		"GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-00000000-0000-0000-0000-000000000000)\n",
		"0, NVIDIA H100 80GB HBM3, 0, 81920, 0\n",
		"it's mine\n",
	} {
		if got[i] != want {
			t.Errorf("got %q, want %q", got[i], want)
		}
	}
	call(t, a, "DELETE", "/machines/"+m.ID, "")
	if _, err := login(t, m, signer, "true"); err == nil {
		t.Error("somebody could log in to a machine that is gone")
	}
	_, locked := create(t, a, "two", line)
	if _, err := login(t, locked, signer, "true"); err == nil || !strings.Contains(err.Error(), "unable to authenticate") {
		t.Errorf("log in to a locked machine: %v", err)
	}
	call(t, a, "DELETE", "/machines/"+locked.ID, "")
}

// miniature is a description with all that the check knows.
const miniature = `{"openapi": "3.1.0", "paths": {
  "/pods/{id}": {"parameters": [{"$ref": "#/components/parameters/id"}],
    "get": {"responses": {"200": {"$ref": "#/components/responses/pod"}}}, "delete": {"responses": {"204": {}}}},
  "/pods/all": {"get": {"parameters": [
    {"name": "page", "in": "query", "schema": {"type": "integer", "minimum": 1}},
    {"name": "kind", "in": "query", "required": true, "explode": false, "schema": {"type": "array", "items": {"enum": ["a", "b"]}}}],
    "responses": {"200": {}}}},
  "/pods": {"post": {"requestBody": {"required": true, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/new"}}}}, "responses": {"201": {}}}}},
  "components": {
    "parameters": {"id": {"name": "id", "in": "path", "required": true, "schema": {"type": "integer"}}},
    "responses": {"pod": {"content": {"application/json": {"schema": {"type": "object", "required": ["id"]}}}}},
    "schemas": {"new": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}, "unevaluatedProperties": false}}}}`

func TestDescription(t *testing.T) {
	t.Parallel()
	d, err := parseDescription("tiny", []byte(miniature))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		method, target, body, wrong string // "" is right
	}{
		{"GET", "/pods/12", "", ""},
		{"GET", "/pods/twelve", "", "want integer"},
		{"GET", "/pods/12/", "", "no path"},
		{"PATCH", "/pods/12", "{}", "no PATCH"},
		{"GET", "/pods/all?kind=a,b&page=2", "", ""},
		{"GET", "/pods/all?kind=a&page=0", "", "minimum"},
		{"GET", "/pods/all?kind=a,c", "", "'a', 'b'"},
		{"GET", "/pods/all", "", "kind is missing"},
		{"GET", "/pods/all?kind=a&nosuch=1", "", "no parameter nosuch"},
		{"POST", "/pods", `{"name": "x"}`, ""},
		{"POST", "/pods", `{"name": "x", "gpu": 1}`, "gpu"},
		{"POST", "/pods", `{"name": 1}`, "want string"},
		{"POST", "/pods", `{`, "no JSON"},
		{"POST", "/pods", "", "body is missing"},
		{"GET", "/pods/12", "{}", "there is a body"},
	} {
		req, err := http.NewRequest(test.method, test.target, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		err = d.request(req, []byte(test.body))
		if test.wrong == "" && err != nil || test.wrong != "" && (err == nil || !strings.Contains(err.Error(), test.wrong)) {
			t.Errorf("%s %s %s: got %v, want %q", test.method, test.target, test.body, err, test.wrong)
		}
	}
	for _, test := range []struct {
		method, target string
		answer         reply
		wrong          string
	}{
		{"GET", "/pods/12", reply{body: map[string]int{"id": 1}}, ""},
		{"GET", "/pods/12", reply{body: map[string]int{"no": 1}}, "id"},
		{"GET", "/pods/12", reply{}, "body is missing"},
		{"GET", "/pods/12", reply{status: 418}, ""},
		{"DELETE", "/pods/12", reply{status: 200}, "no status 200"},
		{"DELETE", "/pods/12", reply{status: 204}, ""},
	} {
		req, err := http.NewRequest(test.method, test.target, nil)
		if err != nil {
			t.Fatal(err)
		}
		err = d.reply(req, test.answer)
		if test.wrong == "" && err != nil || test.wrong != "" && (err == nil || !strings.Contains(err.Error(), test.wrong)) {
			t.Errorf("answer to %s %s: got %v, want %q", test.method, test.target, err, test.wrong)
		}
	}
}

// TestDescriptions reads the published descriptions and compiles what a create sends.
func TestDescriptions(t *testing.T) {
	t.Parallel()
	for provider, create := range map[string][2]string{
		"runpod": {"POST", "/v2/pods"},
		"vast":   {"PUT", "/api/v0/asks/12345/"},
		"lambda": {"POST", "/api/v1/instance-operations/launch"},
		"prime":  {"POST", "/api/v1/pods/"},
	} {
		t.Run(provider, func(t *testing.T) {
			t.Parallel()
			d, err := describe(provider)
			if err != nil {
				t.Fatal(err)
			}
			if d == nil {
				leaveOut(t, "the published description of "+provider+" is not there")
				return
			}
			req, err := http.NewRequest(create[0], create[1], bytes.NewReader(nil))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", "application/json")
			if err := d.request(req, []byte(`"no object"`)); err == nil || !strings.Contains(err.Error(), "want object") {
				t.Errorf("a text as the body: %v", err)
			}
		})
	}
}
