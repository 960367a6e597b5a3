package push

import (
	"context"
	"encoding/json"
	"net/url"
	"strings"
	"time"
)

// A provenance is what <workspace>/.bifrost/provenance.json says about where the tree came from.
type provenance struct {
	Commit string    `json:"commit,omitempty"`
	Branch string    `json:"branch,omitempty"`
	Dirty  bool      `json:"dirty"` // there are changes that the commit does not hold
	Remote string    `json:"remote,omitempty"`
	Client string    `json:"client"`
	Source string    `json:"source"`
	Time   time.Time `json:"time"` // of the push, this machine's clock
}

// describe asks git about the source. What git does not know stays empty.
func describe(ctx context.Context, source, client string) provenance {
	who, _, _ := strings.Cut(client, " ")
	p := provenance{Client: who, Source: source, Time: time.Now().UTC().Truncate(time.Second)}
	if repository(source) == "" {
		return p
	}
	out, err := git(ctx, source, nil, nil, "status", "--porcelain=v2", "--branch", "--", ".")
	if err != nil {
		return p
	}
	for l := range strings.Lines(string(out)) {
		l = strings.TrimSuffix(l, "\n")
		if s, ok := strings.CutPrefix(l, "# branch.oid "); ok {
			if s != "(initial)" {
				p.Commit = s
			}
		} else if s, ok := strings.CutPrefix(l, "# branch.head "); ok {
			if s != "(detached)" {
				p.Branch = s
			}
		} else if !strings.HasPrefix(l, "#") {
			p.Dirty = true
		}
	}
	if out, err := git(ctx, source, nil, nil, "config", "--get", "remote.origin.url"); err == nil {
		p.Remote = withoutCredentials(strings.TrimSpace(string(out)))
	}
	return p
}

// withoutCredentials takes a user's name and password, and a query that may hold a token, off a URL.
// "git@host:path" stays: its user is no secret.
func withoutCredentials(remote string) string {
	u, err := url.Parse(remote)
	if err != nil {
		if _, rest, ok := strings.Cut(remote, "://"); ok {
			if i := strings.LastIndexByte(rest, '@'); i >= 0 {
				return rest[i+1:]
			}
		}
		return remote
	}
	if u.Scheme == "" || u.Host == "" {
		return remote
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return u.String()
}

func (p provenance) encode() string {
	data, err := json.Marshal(p)
	if err != nil {
		return ""
	}
	return encodeWord(string(data))
}
