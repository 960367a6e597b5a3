// Package clients has the providers' own clients as tests of the engine use them: against an account of
// gpu/gputest/cloud, without the pauses that the providers' limits ask for.
//
//	acct := cloud.New(t, "runpod", cloud.Options{})
//	p := clients.New("runpod", acct.URL, acct.Key)
package clients

import (
	"fmt"

	"github.com/bifrost-run/bifrost/gpu"
	"github.com/bifrost-run/bifrost/gpu/lambda"
	"github.com/bifrost-run/bifrost/gpu/prime"
	"github.com/bifrost-run/bifrost/gpu/runpod"
	"github.com/bifrost-run/bifrost/gpu/vast"
)

// Names are the providers that New knows.
func Names() []string { return []string{runpod.Name, vast.Name, lambda.Name, prime.Name} }

// New returns a client of the provider of this name. It panics on one that Names does not have.
func New(provider, url, key string) gpu.Provider {
	switch provider {
	case runpod.Name:
		return runpod.New(runpod.Config{Key: key, URL: url, Unpaced: true})
	case vast.Name:
		return vast.New(vast.Config{Key: key, URL: url, Unpaced: true})
	case lambda.Name:
		return lambda.New(lambda.Config{Key: key, URL: url, Unpaced: true})
	case prime.Name:
		return prime.New(prime.Config{Key: key, URL: url, Unpaced: true})
	}
	panic(fmt.Sprintf("no client of a provider %q", provider))
}
