package lambda

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/bifrost-run/bifrost/gpu"
	"github.com/bifrost-run/bifrost/gpu/httpapi"
)

// An accountKey is a public key that the account knows.
type accountKey struct {
	Name      string `json:"name"`
	PublicKey string `json:"public_key"`
}

// RegisterKey implements gpu.KeyRegistrar. The key is found by what it is, whatever its name and comment
// there; an unknown one gets a name made of its fingerprint.
func (p *Provider) RegisterKey(ctx context.Context, authorizedKey string) (string, error) {
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(authorizedKey))
	if err != nil {
		return "", invalid("register", "the public key cannot be read: %v", err)
	}
	name, err := p.findKey(ctx, key)
	if name != "" || err != nil {
		return name, err
	}
	sum := sha256.Sum256(key.Marshal())
	// The short name may be another key's: somebody else's, or one of the first digits by chance.
	for _, digits := range []int{8, 32} {
		name := "bifrost-" + hex.EncodeToString(sum[:])[:digits]
		addErr := p.addKey(ctx, name, key)
		if addErr == nil {
			return name, nil
		}
		// Another bifrost may have been faster, or the answer was lost and the request was not.
		if known, findErr := p.findKey(ctx, key); known != "" {
			return known, nil
		} else if findErr != nil {
			return "", addErr
		}
		var refused *gpu.Error
		if err = addErr; !errors.As(err, &refused) || refused.Kind != gpu.Conflict {
			break
		}
	}
	return "", err
}

func (p *Provider) addKey(ctx context.Context, name string, key ssh.PublicKey) error {
	return p.api.Do(ctx, httpapi.Call{
		Op: "register", Method: "POST", Path: "/api/v1/ssh-keys", Limit: p.limit,
		// Without a public key Lambda would make a pair of its own.
		Body: map[string]string{"name": name, "public_key": strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))},
	})
}

// findKey returns the account's name for a key, "" where it does not know it.
func (p *Provider) findKey(ctx context.Context, key ssh.PublicKey) (string, error) {
	var answer struct {
		Data *[]accountKey `json:"data"`
	}
	err := p.api.Do(ctx, httpapi.Call{Op: "keys", Method: "GET", Path: "/api/v1/ssh-keys", Into: &answer, Limit: p.limit, Repeat: true})
	if err != nil {
		return "", err
	}
	if answer.Data == nil {
		return "", errors.New(Name + " keys: the answer has no data")
	}
	for _, known := range *answer.Data {
		have, _, _, _, err := ssh.ParseAuthorizedKey([]byte(known.PublicKey))
		if err == nil && known.Name != "" && bytes.Equal(have.Marshal(), key.Marshal()) {
			return known.Name, nil
		}
	}
	return "", nil
}
