package vast

import "github.com/bifrost-run/bifrost/gpu/httpapi"

// EndScript implements gpu.SelfEnder. Every machine has a key of its own in its environment. Its users report
// that the machine can destroy itself with it; that Vast allows it to, only a live account can show.
func (p *Provider) EndScript(id string) string {
	number, ok := contractID(id)
	if !ok {
		return "#!/bin/sh\necho 'there is no such instance' >&2\nexit 1\n"
	}
	return httpapi.EndScript(httpapi.End{
		URL: p.url + "/api/v0/instances/" + number + "/", ID: number, KeyVar: "CONTAINER_API_KEY", IDVar: "CONTAINER_ID",
	})
}
