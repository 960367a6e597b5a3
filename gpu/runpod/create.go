package runpod

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/bifrost-run/bifrost/gpu"
	"github.com/bifrost-run/bifrost/gpu/httpapi"
)

const (
	opCreate = "create"

	// defaultImage is RunPod's own, which starts sshd with the key of PUBLIC_KEY; other images may have no
	// sshd at all, or let in another user than root. The tag is pinned: hosts keep what they once pulled.
	defaultImage     = "runpod/pytorch:1.0.2-cu1281-torch280-ubuntu2404"
	defaultImageCUDA = "12.8" // that the host's driver must have for it

	defaultDiskGB = 50 // the image needs some 20
	leastVolumeGB = 10
	volumePath    = "/workspace"

	createTimeout = 90 * time.Second
)

// A podRequest is the body of a create. The server refuses fields that it does not know.
type podRequest struct {
	Name          string            `json:"name"`
	Cloud         string            `json:"cloud"`
	GPU           gpuRequest        `json:"gpu"`
	Image         string            `json:"image"`
	DataCenterIDs []string          `json:"dataCenterIds,omitempty"`
	Disk          int               `json:"disk"` // GB
	Mounts        *mounts           `json:"mounts,omitempty"`
	Ports         []string          `json:"ports"` // there is no default, not even SSH's
	Env           map[string]string `json:"env"`
	StartSSH      bool              `json:"startSsh,omitempty"`
}

type gpuRequest struct {
	ID      string `json:"id"`
	Count   int    `json:"count"`
	MinCUDA string `json:"minCudaVersion,omitempty"`
}

type mounts struct {
	Persistent struct {
		Size int    `json:"size"` // GB
		Path string `json:"path"`
	} `json:"persistent"`
}

// Create implements gpu.Provider. The pod's image is the query's or RunPod's own PyTorch; whoever gives
// another must give one that starts an SSH server with the key of the variable PUBLIC_KEY. The ports of the
// query are mapped to public ones, as TCP; none can be added later.
func (p *Provider) Create(ctx context.Context, req gpu.CreateRequest) (gpu.Instance, error) {
	body, err := newPodRequest(req)
	if err != nil {
		return gpu.Instance{}, err
	}
	made, err := p.create(ctx, body)
	var refused *gpu.Error
	if errors.As(err, &refused) && refused.Status == http.StatusUnprocessableEntity && strings.Contains(refused.Message, "startSsh") {
		// The field is said to be on its way out, and the key is in the environment in any case. The
		// refusal is certain: there is no pod yet.
		body.StartSSH = false
		made, err = p.create(ctx, body)
	}
	if err != nil {
		return gpu.Instance{}, err
	}
	inst := made.instance()
	if inst.PricePerHour == 0 { // not told yet
		inst.PricePerHour = req.Offer.PriceTotal
	}
	return inst, nil
}

func (p *Provider) create(ctx context.Context, body podRequest) (pod, error) {
	var made pod
	err := p.api.Do(ctx, httpapi.Call{
		Op: opCreate, Method: http.MethodPost, Path: "/v2/pods", Body: body, Into: &made, Limit: p.limit, Within: createTimeout,
	})
	if err == nil && made.ID == "" {
		err = errors.New("runpod create: the answer names no id")
	}
	return made, err
}

func newPodRequest(req gpu.CreateRequest) (podRequest, error) {
	invalid := func(format string, args ...any) (podRequest, error) {
		return podRequest{}, refuse(opCreate, gpu.Validation, fmt.Sprintf(format, args...))
	}
	q := req.Query
	var of native
	if err := json.Unmarshal(req.Offer.Native, &of); err != nil || of.GPU == "" {
		return invalid("offer %q is none of RunPod's", req.Offer.ID)
	}
	if req.Name == "" {
		return invalid("a machine needs a name")
	}
	if _, _, _, _, err := ssh.ParseAuthorizedKey([]byte(req.AuthorizedKey)); err != nil {
		return invalid("the public key is none: %v", err)
	}
	body := podRequest{
		Name: req.Name, Cloud: of.Cloud, GPU: gpuRequest{ID: of.GPU, Count: max(req.Offer.GPUCount, 1), MinCUDA: minCUDA(q)},
		Image: q.Image, DataCenterIDs: of.DataCenters, Disk: q.ContainerDiskGB, Ports: []string{"22/tcp"}, StartSSH: true,
	}
	if body.Image == "" {
		body.Image = defaultImage
	}
	if body.Disk == 0 {
		body.Disk = defaultDiskGB
	}
	if q.VolumeDiskGB > 0 {
		if q.VolumeDiskGB < leastVolumeGB {
			return invalid("volume_disk_gb is %d; RunPod's volumes have %d GB or more", q.VolumeDiskGB, leastVolumeGB)
		}
		body.Mounts = &mounts{}
		body.Mounts.Persistent.Size, body.Mounts.Persistent.Path = q.VolumeDiskGB, volumePath
	}
	for _, port := range q.Ports {
		if entry := fmt.Sprintf("%d/tcp", port); !slices.Contains(body.Ports, entry) {
			body.Ports = append(body.Ports, entry)
		}
	}
	key := strings.TrimSpace(req.AuthorizedKey)
	body.Env = map[string]string{"PUBLIC_KEY": key, "SSH_PUBLIC_KEY": key}
	return body, nil
}

// minCUDA is the oldest CUDA version that a query and its image can do with, with a minor version; "" is
// any.
func minCUDA(q gpu.Query) string {
	least := q.MinCUDA
	if least != "" && !strings.Contains(least, ".") {
		least += ".0"
	}
	if q.Image == "" && gpu.NewerCUDA(defaultImageCUDA, least) {
		return defaultImageCUDA
	}
	return least
}
