package main

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"

	"github.com/bifrost-run/bifrost/gpu"
	"github.com/bifrost-run/bifrost/gpu/gputest/cloud"
	"github.com/bifrost-run/bifrost/gpu/runpod"
)

// What a shell reads is enough to rent a machine, and one that nobody ended is said at the end.
func TestServe(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	out, shell := io.Pipe()
	var log bytes.Buffer
	done := make(chan error)
	go func() {
		err := serve(ctx, cloud.Options{}, strings.NewReader(""), shell, &log)
		shell.Close()
		done <- err
	}()
	vars := map[string]string{}
	for range 4 {
		line := make([]byte, 200)
		n, err := out.Read(line)
		if err != nil {
			t.Fatal(err)
		}
		for word := range strings.FieldsSeq(strings.TrimPrefix(string(line[:n]), "export ")) {
			name, value, _ := strings.Cut(word, "=")
			vars[name] = value
		}
	}
	p := runpod.New(runpod.Config{Key: vars["RUNPOD_API_KEY"], URL: vars["BIFROST_RUNPOD_URL"], Unpaced: true})
	offers, err := p.Offers(t.Context(), gpu.Query{Type: "4090", Count: 1})
	if err != nil || len(offers) == 0 {
		t.Fatalf("offers = %v, %v", offers, err)
	}
	if _, err := p.Create(t.Context(), gpu.CreateRequest{Name: "bifrost-left", Offer: offers[0], AuthorizedKey: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGJpZnJvc3QgYmlmcm9zdCBiaWZyb3N0IGJpZnJvc3Qh"}); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got := log.String(); len(vars) != 8 || !strings.Contains(got, "bifrost-left") || !strings.Contains(got, "rented: 1, left: 1\n") {
		t.Errorf("%d variables, the end: %s", len(vars), got)
	}
}
