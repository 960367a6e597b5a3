package lambda

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/bifrost-run/bifrost/gpu"
	"github.com/bifrost-run/bifrost/gpu/httpapi"
	"github.com/bifrost-run/bifrost/internal/lazyregexp"
)

// createdTag is the tag that tells when a machine was made: Lambda does not.
const createdTag = "bifrost-created"

type launchBody struct {
	Region   string   `json:"region_name"`
	Type     string   `json:"instance_type_name"`
	KeyNames []string `json:"ssh_key_names"` // exactly one
	Name     string   `json:"name"`
	Image    any      `json:"image,omitempty"` // without it Lambda's own choice, Ubuntu with CUDA
	Tags     []tag    `json:"tags"`
}

type tag struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

var (
	machineName = lazyregexp.New(`^[A-Za-z0-9][A-Za-z0-9-]{0,63}$`)
	imageID     = lazyregexp.New(`^[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$`)
)

// Create implements gpu.Provider. It needs a KeyRef: Lambda lets in one key that the account knows, and
// adds none to a machine that exists. Lambda allows a name twice.
func (p *Provider) Create(ctx context.Context, req gpu.CreateRequest) (gpu.Instance, error) {
	body, err := launch(req)
	if err != nil {
		return gpu.Instance{}, err
	}
	now := time.Now()
	body.Tags = []tag{{createdTag, now.UTC().Format(time.RFC3339)}}
	var answer struct {
		Data struct {
			IDs []string `json:"instance_ids"`
		} `json:"data"`
	}
	err = p.api.Do(ctx, httpapi.Call{
		Op: "create", Method: "POST", Path: "/api/v1/instance-operations/launch", Body: body, Into: &answer, Limit: p.launch, Within: 90 * time.Second,
	})
	if err != nil {
		return gpu.Instance{}, err
	}
	if ids := answer.Data.IDs; len(ids) != 1 || ids[0] == "" {
		return gpu.Instance{}, fmt.Errorf("%s create: the answer names %d machines, not one", Name, len(ids))
	}
	return gpu.Instance{
		Provider: Name, ID: answer.Data.IDs[0], Name: req.Name, State: gpu.Starting, GPUType: req.Offer.GPUType, GPUCount: req.Offer.GPUCount,
		PricePerHour: req.Offer.PriceTotal, Created: now,
	}, nil
}

// launch checks a request as far as that can be done here.
func launch(req gpu.CreateRequest) (launchBody, error) {
	if !machineName().MatchString(req.Name) {
		return launchBody{}, invalid("create", "the name %q is not made of at most 64 letters, digits and dashes", req.Name)
	}
	if _, _, _, _, err := ssh.ParseAuthorizedKey([]byte(req.AuthorizedKey)); err != nil {
		return launchBody{}, invalid("create", "the public key cannot be read: %v", err)
	}
	if req.KeyRef == "" {
		return launchBody{}, invalid("create", "the account does not know the public key yet")
	}
	if err := unsupported("create", req.Query); err != nil {
		return launchBody{}, err
	}
	var at place
	if err := json.Unmarshal(req.Offer.Native, &at); err != nil || at.Type == "" || at.Region == "" {
		return launchBody{}, invalid("create", "%q is no offer of Lambda's", req.Offer.ID)
	}
	if req.Query.Spot {
		return launchBody{}, invalid("create", "there are no spot machines")
	}
	body := launchBody{Region: at.Region, Type: at.Type, KeyNames: []string{req.KeyRef}, Name: req.Name}
	switch image := req.Query.Image; {
	case imageID().MatchString(image):
		body.Image = map[string]string{"id": image}
	case image != "":
		body.Image = map[string]string{"family": image}
	}
	return body, nil
}
