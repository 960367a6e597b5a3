package prime

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/bifrost-run/bifrost/gpu/httpapi"
)

// An accountKey is a public key that the account knows.
type accountKey struct {
	ID        string `json:"id"`
	PublicKey string `json:"publicKey"`
}

// RegisterKey implements gpu.KeyRegistrar. The key is found by what it is, whatever its name and comment
// there. The account's primary key stays what it is: other tools of the user rely on it.
func (p *Provider) RegisterKey(ctx context.Context, authorizedKey string) (string, error) {
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(authorizedKey))
	if err != nil {
		return "", p.invalid("register", "the public key cannot be read: %v", err)
	}
	if id, err := p.findKey(ctx, key); id != "" || err != nil {
		return id, err
	}
	sum := sha256.Sum256(key.Marshal())
	var added accountKey
	err = p.api.Do(ctx, httpapi.Call{
		Op: "register", Method: "POST", Path: "/api/v1/ssh_keys/", Into: &added, Limit: p.limit,
		Body: map[string]string{"name": "bifrost-" + hex.EncodeToString(sum[:4]), "publicKey": strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))},
	})
	if err == nil && added.ID != "" {
		return added.ID, nil
	}
	// The answer may be lost where the request was not.
	if id, findErr := p.findKey(ctx, key); id != "" || err == nil && findErr != nil {
		return id, findErr
	}
	if err == nil {
		err = errors.New(Name + " register: the answer names no id, and the key is not among the account's")
	}
	return "", err
}

// findKey returns the account's name for a key, "" where it does not know it.
func (p *Provider) findKey(ctx context.Context, key ssh.PublicKey) (string, error) {
	want := key.Marshal()
	keys, err := pages[accountKey](ctx, p, "keys", "/api/v1/ssh_keys/")
	for _, known := range keys {
		have, _, _, _, err := ssh.ParseAuthorizedKey([]byte(known.PublicKey))
		if err == nil && bytes.Equal(have.Marshal(), want) {
			return known.ID, nil
		}
	}
	return "", err
}

// pages reads a whole list. Prime counts by offset, and a list may be cut shorter than was asked for. An answer
// that has no list, or less than it says that there is, is an error: it must not read as an account that has
// nothing.
func pages[T any](ctx context.Context, p *Provider, op, path string) ([]T, error) {
	var all []T
	for range maxPages {
		var answer struct {
			Data  *[]T `json:"data"`
			Total int  `json:"total_count"`
		}
		err := p.api.Do(ctx, httpapi.Call{
			Op: op, Method: "GET", Path: path, Into: &answer, Limit: p.limit, Repeat: true,
			Query: url.Values{"offset": {strconv.Itoa(len(all))}, "limit": {strconv.Itoa(pageSize)}},
		})
		if err != nil {
			return nil, err
		}
		if answer.Data == nil {
			return nil, fmt.Errorf("%s %s: the answer has no list", Name, op)
		}
		page := *answer.Data
		all = append(all, page...)
		switch {
		case len(all) >= answer.Total && (answer.Total > 0 || len(page) < pageSize):
			return all, nil
		case len(page) == 0:
			return nil, fmt.Errorf("%s %s: the list ends after %d of %d", Name, op, len(all), answer.Total)
		}
	}
	return nil, errors.New(Name + " " + op + ": the list has no end")
}
