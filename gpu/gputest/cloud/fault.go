package cloud

import (
	"math"
	"net"
	"net/http"
	"strconv"
	"time"
)

// A Fault is what happens to the next calls of an operation instead of an answer.
type Fault struct {
	Op    string // "" is every one
	Kind  Kind
	Times int // 0 is until the account ends
	Skip  int // so many calls go well before
}

// A Kind is that of a fault.
type Kind string

// The kinds of faults. Those that are named for a status refuse in the provider's own shape, and nothing
// happened.
const (
	Refused       Kind = "connection refused"       // nothing happened; for 30 ms nobody can connect
	CutBefore     Kind = "connection cut, not done" // nothing happened
	CutAfter      Kind = "connection cut, done"     // it happened
	TimeoutBefore Kind = "timeout, not done"        // no answer, then the connection is cut; nothing happened
	TimeoutAfter  Kind = "timeout, done"            // it happened
	ErrorBefore   Kind = "500, not done"            // nothing happened
	ErrorAfter    Kind = "500, done"                // it happened
	BodyCut       Kind = "body cut short, done"     // it happened
	Garbage       Kind = "garbage, done"            // it happened; the answer is a page of a proxy, status 200
	TooMany       Kind = "429 without Retry-After"  //
	TooManyAfter  Kind = "429 with Retry-After"     // of one second
	BadKey        Kind = "401"                      //
	NoFunds       Kind = "402"                      //
	Forbidden     Kind = "403"                      //
	NotFound      Kind = "404"                      //
	Conflict      Kind = "409"                      //
)

// Kinds are all kinds of faults.
func Kinds() []Kind {
	return []Kind{
		Refused, CutBefore, CutAfter, TimeoutBefore, TimeoutAfter, ErrorBefore, ErrorAfter, BodyCut, Garbage,
		TooMany, TooManyAfter, BadKey, NoFunds, Forbidden, NotFound, Conflict,
	}
}

// Fault makes calls fail. Of several faults for one call the first counts.
func (a *Account) Fault(f Fault) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if f.Times == 0 {
		f.Times = math.MaxInt
	}
	a.faults = append(a.faults, &f)
}

// Heal takes back all faults.
func (a *Account) Heal() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.faults = nil
}

// fault is what is to happen to a call; nil is nothing.
func (a *Account) fault(op string) *Fault {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, f := range a.faults {
		switch {
		case f.Op != "" && f.Op != op || f.Times == 0:
		case f.Skip > 0:
			f.Skip--
		default:
			f.Times--
			return &Fault{Op: f.Op, Kind: f.Kind}
		}
	}
	return nil
}

// before reports whether a fault keeps the call from happening.
func (f *Fault) before() bool {
	if f == nil {
		return false
	}
	switch f.Kind {
	case CutAfter, TimeoutAfter, ErrorAfter, BodyCut, Garbage:
		return false
	}
	return true
}

// fail answers a call as a fault wants. The answer is the true one, where the call has happened.
func (a *Account) fail(w http.ResponseWriter, req *http.Request, f *Fault, op string, answer reply) {
	refuse := func(status int) {
		a.mu.Lock()
		r := a.api.refuse(op, status)
		a.mu.Unlock()
		if f.Kind == TooManyAfter {
			r.header = with(r.header, "Retry-After", "1")
		} else {
			delete(r.header, "Retry-After")
		}
		write(w, r)
	}
	switch f.Kind {
	case Refused:
		cut(w)
		a.server.down(30 * time.Millisecond)
	case CutBefore, CutAfter:
		cut(w)
	case TimeoutBefore, TimeoutAfter:
		hang := a.opts.Hang
		if hang == 0 {
			hang = 50 * time.Millisecond
		}
		timer := time.NewTimer(hang)
		defer timer.Stop()
		select {
		case <-req.Context().Done():
		case <-timer.C:
		}
		cut(w)
	case ErrorBefore, ErrorAfter:
		refuse(http.StatusInternalServerError)
	case BodyCut:
		body, _ := answer.bytes() // write would have panicked
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", strconv.Itoa(len(body)+1))
		if answer.status != 0 && answer.status != http.StatusNoContent {
			w.WriteHeader(answer.status)
		}
		_, _ = w.Write(body[:len(body)/2])
		_ = http.NewResponseController(w).Flush()
		cut(w)
	case Garbage:
		write(w, reply{body: "<html><body>Bad gateway: please try again</body></html>", header: map[string]string{"Content-Type": "text/html"}})
	case TooMany, TooManyAfter:
		refuse(http.StatusTooManyRequests)
	case BadKey:
		refuse(http.StatusUnauthorized)
	case NoFunds:
		refuse(http.StatusPaymentRequired)
	case Forbidden:
		refuse(http.StatusForbidden)
	case NotFound:
		refuse(http.StatusNotFound)
	case Conflict:
		refuse(http.StatusConflict)
	default:
		panic("there is no fault " + string(f.Kind))
	}
}

// cut ends the connection of a call with a reset.
func cut(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	conn.Close()
}

// seconds is a time in the form of Retry-After, never less than it is.
func seconds(d time.Duration) string {
	return strconv.Itoa(int((d + time.Second - 1) / time.Second))
}
