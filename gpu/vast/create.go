package vast

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/bifrost-run/bifrost/gpu"
	"github.com/bifrost-run/bifrost/gpu/httpapi"
)

const (
	// defaultImage is Vast's own, which picks the version that fits the host's driver.
	defaultImage = "vastai/base-image:@vastai-automatic-tag"

	maxLabel   = 256  // bytes of a label
	maxOnstart = 4048 // bytes of the start script
	maxPorts   = 64   // that a machine can expose, SSH's among them

	createTimeout = 2 * time.Minute
)

// An order is the body of a create call.
type order struct {
	Image  string `json:"image"`
	Label  string `json:"label"`
	Disk   int    `json:"disk"` // GB
	Mode   string `json:"runtype"`
	Script string `json:"onstart"`
	// Price makes the machine one that goes to whoever bids more: it must be absent for any other.
	Price float64 `json:"price,omitempty"` // USD per hour for the machine
	// CancelUnavail has a machine that cannot start now refused, and not kept as a stopped one that costs.
	CancelUnavail bool              `json:"cancel_unavail"`
	Target        string            `json:"target_state"`
	Env           map[string]string `json:"env,omitempty"`
}

// Create implements gpu.Provider. A contract that exists although the call failed is an instance in state
// Failed: it costs money until it is terminated. Vast keeps no names apart: two machines of one name are
// the caller's to prevent. A machine that was rented as on-demand and is a bid shows in Get.
func (p *Provider) Create(ctx context.Context, req gpu.CreateRequest) (gpu.Instance, error) {
	n, body, err := newOrder(req)
	if err != nil {
		return gpu.Instance{}, refuse("create", gpu.Validation, err.Error())
	}
	inst := gpu.Instance{
		Provider: Name, Name: req.Name, State: gpu.Starting, User: user, GPUType: req.Offer.GPUType, GPUCount: req.Offer.GPUCount,
		PricePerHour: req.Offer.PriceTotal, Spot: req.Offer.Spot, Created: time.Now(),
	}
	// The answer holds a key of the machine too, which is nobody's business but the machine's.
	var answer struct {
		Contract num `json:"new_contract"`
	}
	err = p.api.Do(ctx, httpapi.Call{
		Op: "create", Method: "PUT", Path: "/api/v0/asks/" + strconv.FormatInt(n.Ask, 10) + "/", Body: body, Into: &answer,
		Limit: p.limits.create, Within: createTimeout,
		Refusal: func(r httpapi.Refused) (gpu.Kind, string, string) {
			_ = json.Unmarshal(r.Body, &answer)
			return refusal(r)
		},
	})
	inst.ID = answer.Contract.id()
	switch {
	case err != nil && inst.ID != "":
		inst.State, inst.Message = gpu.Failed, err.Error()
	case err != nil:
		return gpu.Instance{}, err
	case inst.ID == "":
		return gpu.Instance{}, fmt.Errorf("%s create: the answer names no contract", Name)
	}
	return inst, nil
}

// newOrder is what to send for a request.
func newOrder(req gpu.CreateRequest) (native, order, error) {
	var n native
	body := order{
		Image: req.Query.Image, Label: req.Name, Disk: diskGB(req.Query), Mode: "ssh_direct", CancelUnavail: true, Target: "running",
	}
	if body.Image == "" {
		body.Image = defaultImage
	}
	key, err := publicKey(req.AuthorizedKey)
	switch {
	case err != nil:
		return n, body, err
	case req.Name == "" || len(req.Name) > maxLabel:
		return n, body, fmt.Errorf("the name %.20q has %d bytes, a label has 1 to %d", req.Name, len(req.Name), maxLabel)
	case json.Unmarshal(req.Offer.Native, &n) != nil || n.Ask <= 0:
		return n, body, fmt.Errorf("the offer %q is none of a search", req.Offer.ID)
	case req.Query.VolumeDiskGB > 0:
		return n, body, errors.New("volume_disk_gb: volumes of Vast belong to one host, and bifrost makes none there; leave it out, or take another provider")
	case req.Offer.Spot != (n.Bid > 0):
		return n, body, fmt.Errorf("the offer %q has a bid of %g", req.Offer.ID, n.Bid)
	case len(req.Query.Ports) >= maxPorts:
		return n, body, fmt.Errorf("%d ports, a machine has %d beside that of SSH", len(req.Query.Ports), maxPorts-1)
	}
	if req.Offer.Spot {
		body.Price = math.Ceil(n.Bid*1e4) / 1e4 // a bid below the least one is refused
	}
	if body.Script = onstart(key); len(body.Script) > maxOnstart {
		return n, body, fmt.Errorf("the key that may log in is too long: a start script has %d bytes at most", maxOnstart)
	}
	for _, port := range req.Query.Ports {
		if port < 1 || port > 65535 {
			return n, body, fmt.Errorf("there is no port %d", port)
		}
		if body.Env == nil {
			body.Env = map[string]string{}
		}
		body.Env[fmt.Sprintf("-p %d:%d", port, port)] = "1"
	}
	return n, body, nil
}

// publicKey is a key in authorized_keys form without what is no part of it.
func publicKey(authorized string) (string, error) {
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(authorized))
	if err != nil {
		return "", fmt.Errorf("the key that may log in: %w", err)
	}
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key))), nil
}

// onstart is the script that Vast runs at each start of the machine. It lets the key in, whether or not
// the call of Prepare has its effect; it keeps logins out of the tmux that Vast puts them into; and it gives
// them the environment of the image, without the key of the machine itself.
func onstart(key string) string {
	return `touch ~/.no_auto_tmux
mkdir -p ~/.ssh && chmod 700 ~/.ssh
grep -qxF '` + key + `' ~/.ssh/authorized_keys 2>/dev/null || printf '\n%s\n' '` + key + `' >>~/.ssh/authorized_keys
chmod 600 ~/.ssh/authorized_keys
grep -q '^# bifrost' /etc/environment 2>/dev/null || {
	echo '# bifrost: the environment of the image'
	env | grep -E '^[A-Za-z_][A-Za-z0-9_]*=' | grep -vE '^(CONTAINER_API_KEY|HOME|PWD|OLDPWD|SHLVL|_)='
} >>/etc/environment
`
}

// Prepare implements gpu.Preparer: it lets the key of the request log in.
func (p *Provider) Prepare(ctx context.Context, id string, req gpu.CreateRequest) error {
	key, err := publicKey(req.AuthorizedKey)
	if err != nil {
		return refuse("prepare", gpu.Validation, err.Error())
	}
	number, ok := contractID(id)
	if !ok {
		return notFound(ctx, "prepare", id)
	}
	err = p.api.Do(ctx, httpapi.Call{
		Op: "prepare", Method: "POST", Path: "/api/v0/instances/" + number + "/ssh/", Body: map[string]string{"ssh_key": key},
		Limit: p.limits.manage, Repeat: true,
	})
	var refused *gpu.Error
	if !errors.As(err, &refused) || refused.Status != http.StatusBadRequest || refused.Kind != gpu.Validation {
		return err
	}
	if words := strings.ToLower(refused.Message); slices.ContainsFunc([]string{"already", "duplicate", "exists"}, func(w string) bool { return strings.Contains(words, w) }) {
		return nil // the key is there
	}
	refused.Kind = gpu.Conflict // the contract is too young
	return refused
}
