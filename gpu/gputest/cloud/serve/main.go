// Command serve starts the clouds for tests, for trying bifrost by hand: an account at each provider, whose
// machines are SSH nodes on this computer.
//
//	go run ./gpu/gputest/cloud/serve > clouds.env    # until Ctrl-C
//	. ./clouds.env; bifrost offers                   # in another terminal
package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/bifrost-run/bifrost/gpu/gputest/cloud"
	"github.com/bifrost-run/bifrost/gpu/local"
)

func main() {
	if local.RunIfDaemon() { // the machines are processes of this program
		return
	}
	var opts cloud.Options
	flag.DurationVar(&opts.Machine.Pending, "boot", 2*time.Second, "how long a machine takes until it runs")
	flag.DurationVar(&opts.Machine.Ending, "end", time.Second, "how long a machine takes to end")
	flag.BoolVar(&opts.Limits, "limits", false, "keep to the providers' limits on requests")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := serve(ctx, opts, os.Stdin, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "serve:", err)
		os.Exit(1)
	}
}

// serve runs the accounts until ctx ends: what a shell has to know of them goes to out, what happens to log.
func serve(ctx context.Context, opts cloud.Options, in io.Reader, out, log io.Writer) (err error) {
	var accounts []*cloud.Account
	defer func() {
		report(log, accounts)
		for _, a := range accounts {
			if closed := a.Close(); err == nil {
				err = closed
			}
		}
	}()
	for _, provider := range []string{"runpod", "vast", "lambda", "prime"} {
		a, err := cloud.Start(provider, opts)
		if err != nil {
			return fmt.Errorf("%s: %w", provider, err)
		}
		accounts = append(accounts, a)
		name := strings.ToUpper(provider)
		fmt.Fprintf(out, "export %s_API_KEY=%s BIFROST_%s_URL=%s\n", name, a.Key, name, a.URL)
	}
	fmt.Fprintln(log, "Enter: what is rented. Ctrl-C: the end, of all machines too.")
	asked := make(chan struct{})
	go func() { // it may hang in a read when the program ends
		for lines := bufio.NewScanner(in); lines.Scan(); {
			asked <- struct{}{}
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-asked:
			report(log, accounts)
		}
	}
}

// report writes what was rented, and what of it costs money now.
func report(w io.Writer, accounts []*cloud.Account) {
	rented, left := 0, 0
	for _, a := range accounts {
		rented += len(a.Rented())
		for _, m := range a.Machines() {
			left++
			fmt.Fprintf(w, "%s:%s  %s  %s  %.2f USD/h  since %s\n", a.Provider, m.ID, m.Name, m.State, m.Price, m.Created.Format(time.TimeOnly))
		}
	}
	fmt.Fprintf(w, "rented: %d, left: %d\n", rented, left)
}
