package httpapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/time/rate"

	"github.com/bifrost-run/bifrost/gpu"
	"github.com/bifrost-run/bifrost/gpu/httpapi"
)

const key = `k3y/with+odd"<chars>&more`

// byStatus is a provider whose errors need no reading.
func byStatus(httpapi.Refused) (gpu.Kind, string, string) { return "", "", "" }

func client(base string) *httpapi.Client {
	return httpapi.New(httpapi.Config{Provider: "test", Base: base, Key: key, Refusal: byStatus, Backoff: time.Millisecond})
}

// serve is a server that counts the requests it was sent.
func serve(t *testing.T, handler http.HandlerFunc) (base string, requests *atomic.Int32) {
	t.Helper()
	requests = new(atomic.Int32)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		handler(w, r)
	}))
	t.Cleanup(srv.Close)
	return srv.URL, requests
}

func answer(status int, body string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// hangUp breaks the connection after it wrote raw bytes.
func hangUp(raw string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		_, _ = io.WriteString(conn, raw)
		_ = conn.Close()
	}
}

func TestRequest(t *testing.T) {
	t.Parallel()
	base, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got := strings.Join([]string{
			r.Method, r.URL.EscapedPath(), r.URL.RawQuery, r.Header.Get("Authorization"), r.Header.Get("User-Agent"),
			r.Header.Get("Accept"), r.Header.Get("Content-Type"), string(body),
		}, "|")
		_ = json.NewEncoder(w).Encode(map[string]any{"got": got, "more": nil, "unknown": []int{1}})
	})
	tests := []struct {
		name string
		call httpapi.Call
		want string
	}{
		{
			"get",
			httpapi.Call{Method: "GET", Path: "/pods/" + url.PathEscape("a b/c"), Query: url.Values{"x": {"1", "2"}}},
			"GET|/v1/pods/a%20b%2Fc|x=1&x=2|Bearer " + key + "|bifrost|application/json||",
		},
		{
			"post",
			httpapi.Call{Method: "POST", Path: "/pods", Body: map[string]int{"n": 1}},
			"POST|/v1/pods||Bearer " + key + `|bifrost|application/json|application/json|{"n":1}`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var into struct {
				Got  string
				More string
			}
			tt.call.Into = &into
			if err := client(base+"/v1/").Do(t.Context(), tt.call); err != nil || into.Got != tt.want {
				t.Errorf("got %q, %v, want %q", into.Got, err, tt.want)
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	page := "<html>\n\t<b>" + strings.Repeat("bad gateway ", 100)
	tests := []struct {
		name        string
		handler     http.HandlerFunc
		wantKind    gpu.Kind
		wantStatus  int
		wantMessage string
	}{
		{"bad request", answer(400, " no\x1b[31m such\r\n type \u202e"), gpu.Validation, 400, "no [31m such type"},
		{"unauthorized", answer(401, `{"detail":"who?"}`), gpu.Auth, 401, `{"detail":"who?"}`},
		{"funds", answer(402, ""), gpu.Funds, 402, "payment required"},
		{"forbidden", answer(403, "no"), gpu.Forbidden, 403, "no"},
		{"not found", answer(404, ""), gpu.NotFound, 404, "not found"},
		{"nothing of that id", answer(404, `{"detail":"no such pod"}`), gpu.NotFound, 404, `{"detail":"no such pod"}`},
		{"page of a proxy", answer(404, "<h1>Not Found"), gpu.Validation, 404, "<h1>Not Found"},
		{"conflict", answer(409, "busy"), gpu.Conflict, 409, "busy"},
		{"gone", answer(410, "gone"), gpu.Validation, 410, "gone"},
		{"unprocessable", answer(422, "no"), gpu.Validation, 422, "no"},
		{"too many", answer(429, "slow down"), gpu.RateLimited, 429, "slow down"},
		{"unknown status", answer(499, ""), gpu.Validation, 499, "status 499"},
		{"internal", answer(500, ""), gpu.Transient, 500, "internal server error"},
		{"gateway", answer(502, page), gpu.Transient, 502, "<html> <b>" + strings.Repeat("bad gateway ", 100)[:490] + "..."},
		{"unavailable", answer(503, "x"), gpu.Transient, 503, "x"},
		{"body cut short", hangUp("HTTP/1.1 400 Bad\r\nContent-Length: 100\r\n\r\nhalf a"), gpu.Validation, 400, "half a"},
		{"body that never ends", answer(400, strings.Repeat("y", 9<<20)), gpu.Validation, 400, strings.Repeat("y", 500) + "..."},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			base, _ := serve(t, tt.handler)
			err := client(base).Do(t.Context(), httpapi.Call{Op: "create", Method: "POST", Path: "/"})
			var got *gpu.Error
			if !errors.As(err, &got) {
				t.Fatalf("got %v, want a refusal", err)
			}
			want := gpu.Error{Provider: "test", Op: "create", Kind: tt.wantKind, Status: tt.wantStatus, Message: tt.wantMessage}
			if *got != want {
				t.Errorf("got %+v, want %+v", *got, want)
			}
		})
	}
}

func TestRefusalOfTheProvider(t *testing.T) {
	t.Parallel()
	base, _ := serve(t, answer(404, `{"code":"busy","text":"try `+"\n"+`later"}`, "X-Hint", "h"))
	api := httpapi.New(httpapi.Config{Provider: "test", Base: base, Refusal: func(r httpapi.Refused) (gpu.Kind, string, string) {
		if r.Op != "get" || r.Status != 404 || r.Header.Get("X-Hint") != "h" || !strings.Contains(string(r.Body), "busy") {
			t.Errorf("got %+v", r)
		}
		return gpu.Conflict, "busy", "try\nlater"
	}})
	err := api.Do(t.Context(), httpapi.Call{Op: "get", Method: "GET", Path: "/", Repeat: true})
	var got *gpu.Error
	if !errors.As(err, &got) || *got != (gpu.Error{Provider: "test", Op: "get", Kind: gpu.Conflict, Status: 404, Code: "busy", Message: "try later"}) {
		t.Errorf("got %+v, want what the provider's reading says", err)
	}
}

// TestHowOftenSent checks the rule that no machine is rented twice: what may have happened is not sent
// again, unless the call allows it.
func TestHowOftenSent(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name       string
		handler    http.HandlerFunc // of the first request; the others are answered
		wantOnce   int              // requests without Repeat
		wantRepeat int              // with it
	}{
		{"answered", answer(200, `{"id":"a"}`), 1, 1},
		{"broken before the answer", hangUp(""), 1, 2},
		{"no HTTP", hangUp("SSH-2.0-x\r\n"), 1, 2},
		{"cut within the header", hangUp("HTTP/1.1 200 OK\r\nContent-"), 1, 2},
		{"cut within the body", hangUp("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{\"id\""), 1, 2},
		{"cut within a chunk", hangUp("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n20\r\n{\"id\""), 1, 2},
		{"garbage", answer(200, "<html>"), 1, 2},
		{"other JSON", answer(200, `{"id":[1]}`), 1, 2},
		{"empty", answer(200, ""), 1, 2},
		{"no content", answer(204, ""), 1, 2},
		{"too long", answer(200, `{"id":"`+strings.Repeat("y", 9<<20)+`"}`), 1, 2},
		{"500", answer(500, ""), 1, 2},
		{"503 with a wish", answer(503, "", "Retry-After", "0"), 1, 2},
		{"429", answer(429, ""), 2, 2},
		{"429 with a wish", answer(429, "", "Retry-After", "0.01"), 2, 2},
		{"429 cut within the body", hangUp("HTTP/1.1 429 No\r\nContent-Length: 10\r\n\r\n{"), 2, 2},
		{"429 for an hour", answer(429, "", "Retry-After", "3600"), 1, 1},
		{"400", answer(400, ""), 1, 1},
		{"401", answer(401, ""), 1, 1},
		{"404", answer(404, ""), 1, 1},
		{"409", answer(409, ""), 1, 1},
		{"301", answer(301, "", "Location", "/other"), 1, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for _, repeat := range []bool{false, true} {
				var faulty atomic.Bool
				base, requests := serve(t, func(w http.ResponseWriter, r *http.Request) {
					_, _ = io.ReadAll(r.Body)
					if faulty.CompareAndSwap(true, false) {
						tt.handler(w, r)
						return
					}
					answer(200, `{"id":"b"}`)(w, r)
				})
				api := client(base)
				// The connection has been used before: net/http sends some calls again on its own then.
				if err := api.Do(t.Context(), httpapi.Call{Method: "GET", Path: "/"}); err != nil {
					t.Fatal(err)
				}
				requests.Store(0)
				faulty.Store(true)
				var into struct{ ID string }
				method := map[bool]string{false: "POST", true: "DELETE"}[repeat]
				err := api.Do(t.Context(), httpapi.Call{Op: "create", Method: method, Path: "/", Body: struct{}{}, Into: &into, Repeat: repeat})
				want := map[bool]int{false: tt.wantOnce, true: tt.wantRepeat}[repeat]
				if got := int(requests.Load()); got != want {
					t.Errorf("repeat %v: got %d requests, want %d (%v)", repeat, got, want, err)
				}
				if ok := want == 2 || tt.name == "answered"; (err == nil) != ok || (into.ID != "") != ok {
					t.Errorf("repeat %v: got id %q, %v, want success %v", repeat, into.ID, err, ok)
				}
			}
		})
	}
}

func TestRepeatsEnd(t *testing.T) {
	t.Parallel()
	for _, status := range []int{429, 500} {
		base, requests := serve(t, answer(status, ""))
		err := client(base).Do(t.Context(), httpapi.Call{Method: "GET", Path: "/", Repeat: true})
		if got := requests.Load(); got != 6 || err == nil {
			t.Errorf("%d: got %d requests, %v, want 6 and the refusal", status, got, err)
		}
	}
}

func TestRefusedConnection(t *testing.T) {
	t.Parallel()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	base := "http://user:" + "hunter2@" + lis.Addr().String()
	_ = lis.Close()
	err = client(base).Do(t.Context(), httpapi.Call{Op: "list", Method: "GET", Path: "/x", Query: url.Values{"q": {"long"}}})
	var refused *gpu.Error
	if err == nil || errors.As(err, &refused) {
		t.Fatalf("got %v, want an error that is no refusal", err)
	}
	var dial *net.OpError
	if !errors.As(err, &dial) || dial.Op != "dial" {
		t.Errorf("got %v as the connection's error, want that it was never made", dial)
	}
	if got, want := err.Error(), "test list: "+lis.Addr().String()+": dial tcp "+lis.Addr().String(); !strings.HasPrefix(got, want) || strings.Contains(got, "hunter2") || strings.Contains(got, "q=long") {
		t.Errorf("got %q, want %q and the cause", got, want)
	}
}

func TestRedirects(t *testing.T) {
	t.Parallel()
	other, otherRequests := serve(t, answer(200, `{}`))
	for _, status := range []int{301, 302, 303, 307, 308} {
		for _, location := range []string{"/elsewhere", other + "/x?token=" + url.QueryEscape(key), ""} {
			for _, method := range []string{"GET", "POST"} {
				base, requests := serve(t, answer(status, "", "Location", location))
				err := client(base).Do(t.Context(), httpapi.Call{Op: "create", Method: method, Path: "/", Body: 1, Repeat: true})
				var refused *gpu.Error
				if !errors.As(err, &refused) || refused.Kind != gpu.Validation || refused.Status != status || requests.Load() != 1 {
					t.Errorf("%s %d to %q: got %v after %d requests, want a refusal after one", method, status, location, err, requests.Load())
				}
				noKey(t, err)
			}
		}
	}
	if n := otherRequests.Load(); n != 0 {
		t.Errorf("the other host got %d requests, want none", n)
	}
}

// noKey fails where an error, or what it wraps, tells the key.
func noKey(t *testing.T, err error) {
	t.Helper()
	asJSON, _ := json.Marshal(key)
	for ; err != nil; err = errors.Unwrap(err) {
		text := err.Error()
		var refused *gpu.Error
		if errors.As(err, &refused) {
			text += refused.Code + refused.Message
		}
		for _, spelling := range []string{key, string(asJSON[1 : len(asJSON)-1]), url.QueryEscape(key), url.PathEscape(key), "k3y"} {
			if strings.Contains(text, spelling) {
				t.Errorf("the key is in %q", text)
			}
		}
	}
}

func TestKeyIsInNoError(t *testing.T) {
	t.Parallel()
	asJSON, _ := json.Marshal(map[string]string{"detail": strings.Repeat("x", 60) + key})
	handlers := map[string]http.HandlerFunc{
		"text":                answer(401, "no such key: "+key),
		"JSON":                answer(401, string(asJSON)),
		"URL":                 answer(400, "bad path /x?api_key="+url.QueryEscape(key)),
		"path":                answer(400, "bad path /"+url.PathEscape(key)),
		"at the bound":        answer(400, strings.Repeat("x", 490)+key),
		"answer that is none": answer(200, strings.Repeat("x", 60)+key),
		"other JSON":          answer(200, `{"id":[`+string(asJSON)+`]}`),
		"status line":         hangUp("HTTP/1.1 " + key + "\r\n\r\n"),
		"header":              hangUp("HTTP/1.1 200 OK\r\nX y: " + key + "\r\n\r\n"),
		"429":                 answer(429, key),
	}
	for name, handler := range handlers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			base, _ := serve(t, handler)
			api := httpapi.New(httpapi.Config{Provider: "test", Base: base, Key: key, Backoff: time.Millisecond, Refusal: func(r httpapi.Refused) (gpu.Kind, string, string) {
				return "", "code-" + key, string(r.Body)
			}})
			var into struct{ ID string }
			err := api.Do(t.Context(), httpapi.Call{Op: "create", Method: "POST", Path: "/?api_key=" + url.QueryEscape(key), Into: &into})
			if err == nil {
				t.Fatal("got no error")
			}
			noKey(t, err)
		})
	}
	t.Run("no server", func(t *testing.T) {
		t.Parallel()
		for _, base := range []string{"http://127.0.0.1:1", "http://%zz", "foo://x", "", "http://nosuch.invalid"} {
			err := client(base).Do(t.Context(), httpapi.Call{Method: "GET", Path: "/" + url.PathEscape(key), Query: url.Values{"api_key": {key}}})
			if err == nil {
				t.Error("got no error")
			}
			noKey(t, err)
		}
	})
}

func TestAnswersAreNotQuoted(t *testing.T) {
	t.Parallel()
	base, _ := serve(t, answer(200, `{"jupyter_token":"t0ken","id":[1]}`))
	var into struct{ ID string }
	err := client(base).Do(t.Context(), httpapi.Call{Op: "get", Method: "GET", Path: "/", Into: &into})
	if err == nil || strings.Contains(err.Error(), "t0ken") || !strings.Contains(err.Error(), "ID") && !strings.Contains(err.Error(), "id") {
		t.Errorf("got %v, want the field that does not fit and nothing of the others", err)
	}
}

func TestAttemptsDoNotMix(t *testing.T) {
	t.Parallel()
	var first atomic.Bool
	base, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if first.CompareAndSwap(false, true) {
			answer(200, `{"list":[{"a":"old"},{"b":1}]}`)(w, r)
			return
		}
		answer(200, `{"list":[{"b":"new"}]}`)(w, r)
	})
	type entry struct{ A, B string }
	var into struct{ List []entry }
	err := client(base).Do(t.Context(), httpapi.Call{Method: "GET", Path: "/", Into: &into, Repeat: true})
	if err != nil || len(into.List) != 1 || into.List[0] != (entry{B: "new"}) {
		t.Errorf("got %+v, %v, want only the second answer", into, err)
	}
}

func TestKeyThatIsNone(t *testing.T) {
	t.Parallel()
	base, requests := serve(t, answer(200, "{}"))
	for _, bad := range []string{"two\nlines", "caf\u00e9", "a\x00b"} {
		api := httpapi.New(httpapi.Config{Provider: "test", Base: base, Key: bad, Refusal: byStatus})
		err := api.Do(t.Context(), httpapi.Call{Op: "create", Method: "POST", Path: "/"})
		var refused *gpu.Error
		if !errors.As(err, &refused) || refused.Kind != gpu.Auth || requests.Load() != 0 || strings.Contains(err.Error(), bad) {
			t.Errorf("key %q: got %v, want kind auth and no request", bad, err)
		}
	}
}

func TestContextEnds(t *testing.T) {
	t.Parallel()
	why := errors.New("ctrl-c")
	arrived := make(chan struct{}, 1)
	released := make(chan struct{})
	hang := func(w http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		select {
		case <-r.Context().Done():
		case <-released:
		}
	}
	tests := []struct {
		name    string
		handler http.HandlerFunc
	}{
		{"before the header", hang},
		{"within the body", func(w http.ResponseWriter, r *http.Request) {
			answer(200, `{"id":`, "Content-Length", "100")(w, r)
			w.(http.Flusher).Flush()
			hang(w, r)
		}},
	}
	t.Cleanup(func() { close(released) })
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			base, requests := serve(t, tt.handler)
			ctx, cancel := context.WithCancelCause(t.Context())
			go func() {
				<-arrived
				cancel(why)
			}()
			var into struct{}
			err := client(base).Do(ctx, httpapi.Call{Op: "create", Method: "GET", Path: "/", Into: &into, Repeat: true})
			if !errors.Is(err, why) || requests.Load() != 1 || !strings.HasPrefix(err.Error(), "test create: ") {
				t.Errorf("got %v after %d requests, want the context's cause after one", err, requests.Load())
			}
		})
	}
	t.Run("before", func(t *testing.T) {
		t.Parallel()
		base, requests := serve(t, answer(200, "{}"))
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(why)
		for _, limit := range []*rate.Limiter{nil, rate.NewLimiter(1, 1)} {
			err := client(base).Do(ctx, httpapi.Call{Op: "create", Method: "POST", Path: "/", Limit: limit})
			var refused *gpu.Error
			if !errors.Is(err, why) || requests.Load() != 0 || !errors.As(err, &refused) || refused.Kind != gpu.RateLimited {
				t.Errorf("got %v after %d requests, want the context's cause after none, and that nothing happened", err, requests.Load())
			}
		}
	})
}

// A clock answers requests without a network, so that time can be a bubble's.
type clock struct {
	start  time.Time
	times  []time.Duration // since the start, of each request
	answer func(n int, r *http.Request) (*http.Response, error)
}

func (c *clock) RoundTrip(r *http.Request) (*http.Response, error) {
	c.times = append(c.times, time.Since(c.start))
	return c.answer(len(c.times), r)
}

func (c *clock) client(backoff time.Duration) *httpapi.Client {
	c.start = time.Now()
	return httpapi.New(httpapi.Config{Provider: "test", Base: "http://test", Key: key, Refusal: byStatus, Backoff: backoff, Transport: c})
}

func response(status int, header ...string) *http.Response {
	rec := httptest.NewRecorder()
	answer(status, "{}", header...)(rec, nil)
	return rec.Result()
}

func TestPauses(t *testing.T) {
	t.Parallel()
	always := func(status int, header ...string) func(int, *http.Request) (*http.Response, error) {
		return func(int, *http.Request) (*http.Response, error) { return response(status, header...), nil }
	}
	s := time.Second
	tests := []struct {
		name      string
		backoff   time.Duration
		answer    func(int, *http.Request) (*http.Response, error)
		want      []time.Duration // of the requests
		wantAfter time.Duration
	}{
		{"grow", 0, always(429), []time.Duration{0, s, 3 * s, 7 * s, 15 * s, 31 * s}, 0},
		{"grow so far", 10 * s, always(429), []time.Duration{0, 10 * s, 30 * s, 70 * s}, 0},
		{"server errors", 0, always(502), []time.Duration{0, s, 3 * s, 7 * s, 15 * s, 31 * s}, 0},
		{"as asked", 0, always(429, "Retry-After", "20"), []time.Duration{0, 20 * s, 40 * s, 60 * s, 80 * s, 100 * s}, 20 * s},
		{"at the bound", 0, always(429, "Retry-After", "120"), []time.Duration{0, 120 * s}, 120 * s},
		{"too long", 0, always(429, "Retry-After", "121"), []time.Duration{0}, 121 * s},
		{"an hour", 0, always(429, "Retry-After", "3600"), []time.Duration{0}, time.Hour},
		{"longer than there is", 0, always(429, "Retry-After", "99999999999999999999"), []time.Duration{0}, time.Hour},
		{"longer than a duration", 0, always(429, "Retry-After", "9223372036854775807"), []time.Duration{0}, time.Hour},
		{"negative", 0, always(429, "Retry-After", "-5"), []time.Duration{0, s, 3 * s, 7 * s, 15 * s, 31 * s}, 0},
		{"no number", 0, always(429, "Retry-After", "soon"), []time.Duration{0, s, 3 * s, 7 * s, 15 * s, 31 * s}, 0},
		{"a date", 0, func(int, *http.Request) (*http.Response, error) {
			return response(429, "Retry-After", time.Now().Add(90*s).UTC().Format(http.TimeFormat)), nil
		}, []time.Duration{0, 90 * s}, 90 * s},
		{"a date that was", 0, always(429, "Retry-After", "Mon, 02 Jan 1995 15:04:05 GMT"), []time.Duration{0, s, 3 * s, 7 * s, 15 * s, 31 * s}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := clock{answer: tt.answer}
				err := c.client(tt.backoff).Do(t.Context(), httpapi.Call{Method: "GET", Path: "/", Repeat: true})
				var refused *gpu.Error
				if !errors.As(err, &refused) || refused.After != tt.wantAfter {
					t.Errorf("got %+v, want a refusal, after %v", refused, tt.wantAfter)
				}
				if !equal(c.times, tt.want) {
					t.Errorf("got requests at %v, want %v", c.times, tt.want)
				}
			})
		})
	}
}

func equal(got, want []time.Duration) bool {
	if len(got) != len(want) {
		return false
	}
	for i := range got {
		if got[i] != want[i] {
			return false
		}
	}
	return true
}

func TestContextEndsAPause(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := clock{answer: func(int, *http.Request) (*http.Response, error) { return response(429, "Retry-After", "60"), nil }}
		ctx, cancel := context.WithTimeoutCause(t.Context(), 10*time.Second, errors.New("enough"))
		defer cancel()
		err := c.client(0).Do(ctx, httpapi.Call{Op: "create", Method: "POST", Path: "/"})
		var refused *gpu.Error
		if !errors.Is(err, context.Cause(ctx)) || !errors.As(err, &refused) || refused.Kind != gpu.RateLimited {
			t.Errorf("got %v, want the context's cause and the refusal: it was not created", err)
		}
		if took := time.Since(c.start); took != 10*time.Second {
			t.Errorf("it took %v, want 10s", took)
		}
	})
}

func TestAttemptTimesOut(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		within time.Duration
		repeat bool
		want   []time.Duration
	}{
		{"default", 0, false, []time.Duration{0}},
		{"own", 90 * time.Second, false, []time.Duration{0}},
		{"repeated", 10 * time.Second, true, []time.Duration{0, 11 * time.Second}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := clock{answer: func(n int, r *http.Request) (*http.Response, error) {
					if n == 2 {
						return response(200), nil
					}
					<-r.Context().Done()
					return nil, r.Context().Err()
				}}
				err := c.client(0).Do(t.Context(), httpapi.Call{Op: "create", Method: "POST", Path: "/", Within: tt.within, Repeat: tt.repeat})
				if !equal(c.times, tt.want) || (err == nil) != tt.repeat {
					t.Errorf("got requests at %v, %v, want %v", c.times, err, tt.want)
				}
				if tt.repeat {
					return
				}
				within := max(tt.within, 30*time.Second)
				if got, want := err.Error(), "test create: test: no whole answer within "+within.String(); got != want {
					t.Errorf("got %q, want %q", got, want)
				}
				if errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("got %v as the end of the caller's context, which goes on", err)
				}
				if took := time.Since(c.start); took != within {
					t.Errorf("it took %v, want %v", took, within)
				}
			})
		})
	}
}

func TestLimit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := clock{answer: func(n int, _ *http.Request) (*http.Response, error) {
			if n == 2 {
				return response(429, "Retry-After", "1"), nil
			}
			return response(200), nil
		}}
		api := c.client(0)
		limit := rate.NewLimiter(rate.Every(12*time.Second), 1)
		for range 3 {
			if err := api.Do(t.Context(), httpapi.Call{Method: "POST", Path: "/", Limit: limit}); err != nil {
				t.Fatal(err)
			}
		}
		// The second was refused and waited for its turn again.
		if want := []time.Duration{0, 12 * time.Second, 24 * time.Second, 36 * time.Second}; !equal(c.times, want) {
			t.Errorf("got requests at %v, want %v", c.times, want)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		before := time.Now()
		err := api.Do(ctx, httpapi.Call{Op: "create", Method: "POST", Path: "/", Limit: limit})
		if !errors.Is(err, context.DeadlineExceeded) || len(c.times) != 4 || time.Since(before) != 0 || !strings.HasPrefix(err.Error(), "test create: not sent") {
			t.Errorf("got %v after %v, want at once that there is no time for it", err, time.Since(before))
		}
	})
}

// TestLimitAfterFailure: where there is no time for another attempt, the error is that of the last one.
func TestLimitAfterFailure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := clock{answer: func(int, *http.Request) (*http.Response, error) { return response(503), nil }}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		limit := rate.NewLimiter(rate.Every(12*time.Second), 1)
		err := c.client(0).Do(ctx, httpapi.Call{Op: "list", Method: "GET", Path: "/", Limit: limit, Repeat: true})
		var refused *gpu.Error
		if !errors.As(err, &refused) || refused.Kind != gpu.Transient || !errors.Is(err, context.DeadlineExceeded) || len(c.times) != 1 {
			t.Errorf("got %v after %v, want the refusal with status 503, and why it was not repeated", err, c.times)
		}
	})
}

// TestDenied checks an answer with a status of 200 that says no, and a reading of refusals for one call.
func TestDenied(t *testing.T) {
	t.Parallel()
	base, _ := serve(t, answer(200, `{"success":false,"text":"no"}`))
	api := httpapi.New(httpapi.Config{
		Provider: "test", Base: base, Denied: func(body []byte) bool { return strings.Contains(string(body), "false") },
		Refusal: func(httpapi.Refused) (gpu.Kind, string, string) { return gpu.Funds, "", "of the client" },
	})
	call := httpapi.Call{Op: "create", Method: "POST", Path: "/"}
	for want, read := range map[string]func(httpapi.Refused) (gpu.Kind, string, string){
		"test create: of the client": nil,
		"test create: of the call":   func(r httpapi.Refused) (gpu.Kind, string, string) { return gpu.Funds, "", "of the call" },
	} {
		call.Refusal = read
		err := api.Do(t.Context(), call)
		var got *gpu.Error
		if !errors.As(err, &got) || got.Kind != gpu.Funds || got.Status != 200 || got.Error() != want {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestAccount(t *testing.T) {
	t.Parallel()
	of := func(provider, key string) string {
		return httpapi.New(httpapi.Config{Provider: provider, Key: key}).Account()
	}
	if got, again := of("a", key), of("a", key); got != again || len(got) != 8 || strings.Contains(key, got) {
		t.Errorf("got %q and %q, want the same 8 digits", got, again)
	}
	if one, otherKey, otherProvider := of("a", key), of("a", key+"x"), of("b", key); one == otherKey || one == otherProvider {
		t.Errorf("got %q for a key, %q for another, %q at another provider: want three", one, otherKey, otherProvider)
	}
	if got := of("a", ""); got != "" {
		t.Errorf("got %q without a key, want none", got)
	}
}
