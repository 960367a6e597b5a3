package cloud

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"time"
)

// providers are the APIs that an account can speak, each in a file of its own.
var providers = map[string]func(*Account) api{
	"runpod": newRunpod,
	"vast":   newVast,
	"lambda": newLambda,
	"prime":  newPrime,
}

// An api is the HTTP API of one provider for one account. Its handlers run one at a time, with the account's
// lock held, so that they may use everything of the account that is not exported, and keep state of their
// own without a lock.
type api interface {
	routes() []route
	// refuse is how the provider refuses a call with a status, in its own shape. 401 is what it answers
	// to a bad key, with whatever status it has for that.
	refuse(op string, status int) reply
	// offers are for accounts whose Options have none.
	offers() []Offer
}

// A route is one call. The names of operations are those of gpu.Provider where one call is all of it: offers,
// register, create, prepare, get, list, terminate. Others are named for what they do: keys.
type route struct {
	op      string
	method  string
	pattern string // as http.ServeMux has it; a slash at the end is "/{$}"
	handle  func(*request) reply
	open    bool          // needs no key
	every   time.Duration // the published limit: the least time between two calls; 0 is none
	// retryAfter is whether the provider says how long to wait when it refuses for that limit.
	retryAfter bool
}

// A request is a call's request with its body read.
type request struct {
	*http.Request
	body []byte
}

// decode reads the body. The description has been checked before, where it is there: an error is an answer
// of status 400 to whoever wants one.
func (r *request) decode(into any) error { return json.Unmarshal(r.body, into) }

// A reply is a call's answer.
type reply struct {
	status int // 0 is 200
	body   any // nil is none; a string or bytes are sent as they are, others as JSON
	header map[string]string
	// quirk is an answer that the provider's description does not allow, and that it gives.
	quirk bool
}

func (r reply) bytes() ([]byte, error) {
	switch body := r.body.(type) {
	case nil:
		return nil, nil
	case string:
		return []byte(body), nil
	case []byte:
		return body, nil
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(r.body)
	return b.Bytes(), err
}

// Ops are the operations of the account's provider, in the order of its file.
func (a *Account) Ops() []string {
	var ops []string
	for _, r := range a.api.routes() {
		ops = append(ops, r.op)
	}
	return ops
}

func (a *Account) handler() http.Handler {
	mux := http.NewServeMux()
	for _, r := range a.api.routes() {
		mux.HandleFunc(r.method+" "+r.pattern, func(w http.ResponseWriter, req *http.Request) { a.serve(w, req, r) })
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, req *http.Request) {
		a.report("%s: there is no %s %s", a.Provider, req.Method, req.URL)
		write(w, a.api.refuse("", http.StatusNotFound))
	})
	return mux
}

// maxRequest bounds the bytes of a request.
const maxRequest = 4 << 20

// serve answers one call, or does what a fault wants instead.
func (a *Account) serve(w http.ResponseWriter, req *http.Request, r route) {
	body, err := io.ReadAll(io.LimitReader(req.Body, maxRequest))
	if err != nil {
		return // the client has gone
	}
	if err := a.desc.request(req, body); err != nil {
		a.report("%s: %s %s\n%s\n%v", a.Provider, req.Method, req.URL, body, err)
	}
	call := Call{Op: r.op, Method: req.Method, Path: req.URL.Path, Query: req.URL.RawQuery, Body: string(body), At: time.Now()}
	fault := a.fault(r.op)
	if fault.before() {
		a.log(call)
		a.fail(w, req, fault, r.op, reply{})
		return
	}
	answer := a.answer(&request{req, body}, r)
	if call.Status = answer.status; call.Status == 0 {
		call.Status = http.StatusOK
	}
	a.log(call)
	if fault != nil {
		a.fail(w, req, fault, r.op, answer)
		return
	}
	if !answer.quirk {
		if err := a.desc.reply(req, answer); err != nil {
			a.report("%s: the test's own answer to %s %s: %v", a.Provider, req.Method, req.URL, err)
		}
	}
	write(w, answer)
}

func (a *Account) log(c Call) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.calls = append(a.calls, c)
}

// answer runs the handler of a call that may be made.
func (a *Account) answer(req *request, r route) reply {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !r.open && req.Header.Get("Authorization") != "Bearer "+a.Key {
		return a.api.refuse(r.op, http.StatusUnauthorized)
	}
	if a.opts.Limits && r.every > 0 {
		if wait := r.every - a.now().Sub(a.last[r.op]); wait > 0 {
			refused := a.api.refuse(r.op, http.StatusTooManyRequests)
			if r.retryAfter {
				refused.header = with(refused.header, "Retry-After", seconds(wait))
			}
			return refused
		}
		a.last[r.op] = a.now()
	}
	return r.handle(req)
}

func write(w http.ResponseWriter, r reply) {
	body, err := r.bytes()
	if err != nil {
		panic(err)
	}
	for name, value := range r.header {
		w.Header().Set(name, value)
	}
	if w.Header().Get("Content-Type") == "" && len(body) > 0 {
		w.Header().Set("Content-Type", "application/json")
	}
	if r.status != 0 {
		w.WriteHeader(r.status)
	}
	_, _ = w.Write(body) // a client that has gone
}

func with(header map[string]string, name, value string) map[string]string {
	if header == nil {
		header = map[string]string{}
	}
	header[name] = value
	return header
}
