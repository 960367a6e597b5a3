// Package gpu describes machines with GPUs that can be rented: what is wanted (Query), what is for
// sale (Offer), what was rented (Instance), and those who rent them out (Provider). It knows
// neither SSH nor Starlark. The providers are packages beneath it.
package gpu

import (
	"context"
	"encoding/json"
	"time"
)

// A Query says which machine is wanted. Its zero value asks for any machine with one GPU.
type Query struct {
	Type            string   // matched by tokens on canonical GPU names; "" means any
	Count           int      // GPUs on one machine; 0 means 1
	MaxPrice        float64  // USD per GPU and hour; 0 means no limit
	MinVRAM         float64  // GB per GPU; 0 means any
	CloudType       string   // "secure", "community", or "" for both
	MinCUDA         string   // "12.0"; "" means any
	ContainerDiskGB int      // 0 leaves it to the provider
	VolumeDiskGB    int      // 0 means no volume
	Providers       []string // in order of preference; nil means every one with credentials
	Regions         []string // nil means any
	Spot            bool
	Image           string // "" leaves it to the provider
	Ports           []int  // that the machine must expose, beside SSH

	// Near asks a provider to list also what the filters from Type to Regions and Spot refuse, for
	// explanations.
	Near bool `json:"-"`

	// Where and Sort are the script's own filter and order; nil means none and cheapest first.
	// Sort returns the key by which offers are ordered, lowest first.
	Where func(Offer) (bool, error)    `json:"-"`
	Sort  func(Offer) (float64, error) `json:"-"`
}

// An Offer is a machine that a provider says it would rent out now.
type Offer struct {
	Provider    string
	ID          string // the provider's own, to create from
	GPUType     string // canonical, as "A100 80GB SXM"
	VRAMGB      float64
	GPUCount    int
	PricePerGPU float64 // USD per GPU and hour
	PriceTotal  float64 // USD per hour for the machine
	CloudType   string  // "secure" or "community"
	Spot        bool
	Region      string
	CUDA        string // "" when unknown
	VCPU        int    // 0 when unknown
	MemoryGB    float64
	Stock       string // the provider's own word; "" when unknown
	MaxCount    int    // GPUs on the largest machine of this type and price that can be rented; 0 when unknown
	Arch        string // of the CPU, "amd64" or "arm64"; "" when unknown
	Upstream    string // who owns the machine, where the provider resells those of others; else empty
	StandsIn    bool   // for any GPU: only the price and Where of a query may refuse it

	// Native is what the provider's Create needs of its own listing; nobody else reads it.
	Native json.RawMessage `json:",omitempty"`
}

// A State is that of an instance, as its provider tells it. Whatever is not known to be one of
// these is Unknown, never Running.
type State string

// The states of an instance.
const (
	Unknown    State = "unknown"
	Starting   State = "starting"
	Running    State = "running"
	Stopped    State = "stopped"
	Failed     State = "failed"
	Terminated State = "terminated"
)

// An Instance is a rented machine as its provider describes it.
type Instance struct {
	Provider     string
	ID           string // the provider's own
	Name         string // the one that Create was given
	State        State
	Message      string // why it is in its state, in the provider's words; often empty
	Host         string // where SSH listens; empty until known
	Port         int
	User         string
	HostKey      string // authorized_keys form, where the provider tells it; else empty
	GPUType      string
	GPUCount     int
	PricePerHour float64 // USD for the machine, all GPUs; 0 when not told
	Spot         bool    // the provider may take it back; false where it does not tell
	Created      time.Time
}

// A CreateRequest asks for one machine.
type CreateRequest struct {
	Name          string // unique; what an ambiguous create is found again by
	Offer         Offer
	Query         Query
	AuthorizedKey string // the public key that may log in, authorized_keys form
	KeyRef        string // what KeyRegistrar.RegisterKey returned for it; "" where the provider is none
}

// A Provider rents out machines. All methods are safe for concurrent use and end with ctx. Errors
// are *Error where the provider answered; any other error of Create is ambiguous: the machine may
// exist, and only List can tell.
type Provider interface {
	// Name is the provider's name in queries, ids and the journal: "local", "runpod".
	Name() string
	// Offers lists what matches q, in no order; q.Near widens it. Rank decides what fits. It may be
	// repeated.
	Offers(ctx context.Context, q Query) ([]Offer, error)
	// Create rents a machine. It is sent once and must not be repeated unless the error's kind is
	// RateLimited.
	Create(ctx context.Context, req CreateRequest) (Instance, error)
	// Get reads one instance back; kind NotFound means that it does not exist (any more). It may be
	// repeated.
	Get(ctx context.Context, id string) (Instance, error)
	// List lists every instance of the account. It may be repeated.
	List(ctx context.Context) ([]Instance, error)
	// Terminate ends an instance and its cost. Success means that the request was accepted: only
	// Get tells that it is gone. Terminating what is gone is not an error. It may be repeated.
	Terminate(ctx context.Context, id string) error
}

// A KeyRegistrar is a Provider that lets in only keys that its account knows. RegisterKey makes the
// account know one, under whatever name it has there already, and returns the provider's name for it. It
// is called before each Create, rents nothing, and may be repeated.
type KeyRegistrar interface {
	RegisterKey(ctx context.Context, authorizedKey string) (ref string, err error)
}

// A Preparer is a Provider whose machines need another call after Create before anybody can log in.
// It may be repeated, and is until it succeeds: a machine that is not far enough refuses with kind
// NotFound, Conflict or Transient.
type Preparer interface {
	Prepare(ctx context.Context, id string, req CreateRequest) error
}

// A VolumeKeeper is a Provider with disks that outlast a restart of the machine. Volumes is the path at which
// one that a query asks for is mounted.
type VolumeKeeper interface{ Volumes() string }

// A SelfEnder is a Provider whose machines have a key of their own with which they can end themselves.
type SelfEnder interface {
	// EndScript is a POSIX sh script that asks the provider, from the machine and with the machine's own
	// key, to end the machine of this id. Called with the argument "check" it asks for nothing and exits
	// 0 only where it has all that it needs. It contains no secret.
	EndScript(id string) string
}

// Accounts is a Provider of which an account, and not everybody, sees its own machines.
type Accounts interface {
	// Account tells the key that it asks with from others, and nothing more of it: two of the same word have
	// the same key. An account may have several keys, so two words may be one account.
	Account() string
}

// A Kind says what a provider's refusal obliges the caller to do.
type Kind string

// The kinds of refusals.
const (
	Auth        Kind = "auth"         // stop all work for this provider
	Forbidden   Kind = "forbidden"    // stop, or skip the candidate
	Funds       Kind = "funds"        // stop; tell the user
	Quota       Kind = "quota"        // skip the provider for this run
	NoCapacity  Kind = "no_capacity"  // try the next candidate at once
	Validation  Kind = "validation"   // bad input or a defect; do not repeat
	NotFound    Kind = "not_found"    // on Get: gone
	Conflict    Kind = "conflict"     // wrong state; read it again, then decide
	RateLimited Kind = "rate_limited" // wait, then repeat the same call
	Transient   Kind = "transient"    // repeat, unless it was Create
)

// An Error is a provider's answer that refuses a request. Message is in the provider's own words.
type Error struct {
	Provider string
	Op       string
	Kind     Kind
	Status   int    // of the HTTP answer; 0 where there was none
	Code     string // the provider's own, where it has one
	Message  string
	After    time.Duration // RateLimited: how long to wait, 0 when not told
}

func (e *Error) Error() string { return e.Provider + " " + e.Op + ": " + e.Message }
