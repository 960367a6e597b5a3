package engine

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/engine/ssh"
)

// A Serve describes a server that runs on a node as a job.
type Serve struct {
	Submit
	Port           int           // on the node
	HealthEndpoint string        // path that answers 2xx when it is ready; "" means "/health"
	Ready          time.Duration // how long it may take to get ready; 0 means 10 minutes
}

// A Server is a job that answers HTTP, reachable here at URL.
type Server struct {
	*Handle
	port    int
	health  string
	forward *ssh.Forward
}

// Serve starts a server and returns when its health endpoint answers. A server that ends before
// that, or that does not get ready in time, is stopped and reported with the end of its log.
func (n *Node) Serve(ctx context.Context, s Serve) (*Server, error) {
	if s.HealthEndpoint == "" {
		s.HealthEndpoint = "/health"
	}
	if !strings.HasPrefix(s.HealthEndpoint, "/") {
		return nil, invalid("serve", s.HealthEndpoint, errors.New("health_endpoint must start with a slash"), "")
	}
	if s.Ready == 0 {
		s.Ready = 10 * time.Minute
	}
	forward, err := n.Forward(ctx, s.Port, 0)
	if err != nil {
		return nil, err
	}
	h, err := n.Submit(ctx, s.Submit)
	if err != nil {
		forward.Close()
		return nil, err
	}
	server := &Server{Handle: h, port: s.Port, health: s.HealthEndpoint, forward: forward}
	if err := server.wait(ctx, s.Ready); err != nil {
		cleanup, cancel := context.WithTimeout(context.WithoutCancel(ctx), n.engine.cfg.Timing.Release)
		defer cancel()
		return nil, errors.Join(err, server.Stop(cleanup))
	}
	return server, nil
}

func (s *Server) wait(ctx context.Context, ready time.Duration) (err error) {
	end := s.node.engine.cfg.Report.Step("serve", s.URL()+s.health)
	defer func() { end("", err) }()
	deadline := time.Now().Add(ready)
	for wait := 100 * time.Millisecond; !s.Healthy(ctx); wait = min(2*wait, 2*time.Second) {
		status, err := s.read(ctx)
		if err != nil {
			return err
		}
		if status.Final() {
			return s.failed(ctx, fault.JobFailed, fmt.Errorf("it ended with code %d before it was healthy", status.ExitCode), status.ExitCode)
		}
		if time.Now().After(deadline) {
			return s.failed(ctx, fault.Timeout, fmt.Errorf("not healthy after %s", ready), 124)
		}
		if err := sleep(ctx, wait); err != nil {
			return err
		}
	}
	return nil
}

func (s *Server) failed(ctx context.Context, kind fault.Kind, cause error, code int) error {
	var tail strings.Builder
	for line, err := range s.Logs(ctx, LogOptions{Tail: 20}) {
		if err != nil {
			break
		}
		tail.WriteString("\n" + line)
	}
	return &fault.Error{
		Kind: kind, Op: "serve", Target: fmt.Sprintf("%s port %d", s.JobID(), s.port), Err: fmt.Errorf("%w%s", cause, tail.String()),
		Hint: "bifrost logs " + s.JobID() + " shows the whole log", ExitCode: code,
	}
}

// Port is the server's port on the node.
func (s *Server) Port() int { return s.port }

// URL reaches the server from here for as long as its scope lasts.
func (s *Server) URL() string { return fmt.Sprintf("http://127.0.0.1:%d", s.forward.LocalPort) }

// Healthy reports whether the health endpoint answers with a 2xx now.
func (s *Server) Healthy(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	// Asked first, because a forward tells the user of every connection that the node refuses.
	if up, err := s.node.runner.Listens(ctx, s.port); err != nil || !up {
		return false
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL()+s.health, nil)
	if err != nil {
		return false
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // no idle goroutine per server
	resp, err := client.Do(req)
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode >= 200 && resp.StatusCode < 300
}

// Stop ends the server and its forwarded port.
func (s *Server) Stop(ctx context.Context) error {
	s.forward.Close()
	return s.Cancel(ctx)
}
