package prime

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/bifrost-run/bifrost/gpu"
	"github.com/bifrost-run/bifrost/gpu/httpapi"
	"github.com/bifrost-run/bifrost/internal/lazyregexp"
)

// A createBody rents one machine. What it says of the machine is that of one item, word for word: Prime
// holds them against each other, and refuses fields that it does not know.
type createBody struct {
	Pod      createPod `json:"pod"`
	Provider upstream  `json:"provider"`
}

type upstream struct {
	Type string `json:"type"`
}

type createPod struct {
	Name         string  `json:"name"`
	CloudID      string  `json:"cloudId"`
	GPUType      string  `json:"gpuType"`
	Socket       string  `json:"socket"`
	GPUCount     int     `json:"gpuCount"`
	DiskSize     int     `json:"diskSize,omitempty"` // GB; without it the default
	MaxPrice     float64 `json:"maxPrice,omitempty"` // USD per hour for the machine
	Image        string  `json:"image"`
	DataCenterID string  `json:"dataCenterId,omitempty"`
	Country      string  `json:"country,omitempty"`
	Security     string  `json:"security,omitempty"`
	SSHKeyID     string  `json:"sshKeyId"`
}

var (
	podName  = lazyregexp.New(`^[A-Za-z0-9-]*[A-Za-z][A-Za-z0-9-]*$`)
	maxPrice = lazyregexp.New(`(?i)max[_ ]?price`)
)

// Create implements gpu.Provider. It needs a KeyRef: without one Prime lets in the account's primary key.
// It sends a second request where the first was refused for naming no maximum price: some of those whose
// machines Prime sells want one, and others do not, and that cannot be told from the listing.
func (p *Provider) Create(ctx context.Context, req gpu.CreateRequest) (gpu.Instance, error) {
	body, it, err := p.createBody(req)
	if err != nil {
		return gpu.Instance{}, err
	}
	ceiling := math.Round(req.Offer.PriceTotal*1.05*1e4) / 1e4
	if limit := req.Query.MaxPrice * float64(it.GPUCount); limit > 0 {
		ceiling = min(ceiling, limit)
	}
	if it.Prices.Variable {
		body.Pod.MaxPrice = ceiling
	}
	inst, err := p.create(ctx, body)
	if refused := aboutMaxPrice(err); refused != nil && body.Pod.MaxPrice == 0 {
		body.Pod.MaxPrice = ceiling
		inst, err = p.create(ctx, body)
	}
	if refused := aboutMaxPrice(err); refused != nil { // the price has risen since
		refused.Kind = gpu.NoCapacity
	}
	return inst, err
}

// aboutMaxPrice is the refusal of a request for its maximum price, nil where err is none. Nothing has
// happened then.
func aboutMaxPrice(err error) *gpu.Error {
	var refused *gpu.Error
	if errors.As(err, &refused) && refused.Kind == gpu.Validation && maxPrice().MatchString(refused.Message) {
		return refused
	}
	return nil
}

func (p *Provider) create(ctx context.Context, body createBody) (gpu.Instance, error) {
	var made pod
	err := p.api.Do(ctx, httpapi.Call{Op: "create", Method: "POST", Path: "/api/v1/pods/", Body: body, Into: &made, Limit: p.limit, Within: 90 * time.Second})
	if err != nil {
		return gpu.Instance{}, err
	}
	return made.instance(), nil
}

// createBody checks a request as far as that can be done here.
func (p *Provider) createBody(req gpu.CreateRequest) (createBody, item, error) {
	var it item
	if !podName().MatchString(req.Name) {
		return createBody{}, it, p.invalid("create", "the name %q is not made of letters, digits and dashes, with at least one letter", req.Name)
	}
	if _, _, _, _, err := ssh.ParseAuthorizedKey([]byte(req.AuthorizedKey)); err != nil {
		return createBody{}, it, p.invalid("create", "the public key cannot be read: %v", err)
	}
	if req.KeyRef == "" {
		return createBody{}, it, p.invalid("create", "the account does not know the public key yet")
	}
	if err := p.unsupported("create", req.Query); err != nil {
		return createBody{}, it, err
	}
	if err := json.Unmarshal(req.Offer.Native, &it); err != nil || !it.sold() {
		return createBody{}, it, p.invalid("create", "%q is no offer of Prime's", req.Offer.ID)
	}
	image := it.image(req.Query.Image)
	if image == "" {
		return createBody{}, it, p.invalid("create", "the image %q is none of this offer's: %s", req.Query.Image, strings.Join(it.Images, ", "))
	}
	disk, ok := it.Disk.atLeast(req.Query.ContainerDiskGB)
	if !ok {
		return createBody{}, it, p.invalid("create", "this offer has no disk of %d GB, at most %g GB", req.Query.ContainerDiskGB, max(it.Disk.Max, it.Disk.Default))
	}
	return createBody{
		Pod: createPod{
			Name: req.Name, CloudID: it.CloudID, GPUType: it.GPUType, Socket: it.Socket, GPUCount: it.GPUCount, DiskSize: disk, Image: image,
			DataCenterID: it.DataCenter, Country: it.Country, Security: it.Security, SSHKeyID: req.KeyRef,
		},
		Provider: upstream{Type: it.Provider},
	}, it, nil
}
