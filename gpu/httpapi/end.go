package httpapi

import "strings"

// EndScript is what gpu.SelfEnder asks for, where ending a machine is one DELETE with the key that the machine
// has in its environment.
//
//	httpapi.EndScript(httpapi.End{URL: p.url + "/api/v0/instances/7/", ID: "7", KeyVar: "CONTAINER_API_KEY", IDVar: "CONTAINER_ID"})
//
// It needs curl, GNU wget or python3, and shows the key to none of them as an argument. It exits 0 only where
// the provider accepted. On a machine that says that it is another one it does nothing.
func EndScript(e End) string {
	quote := func(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
	return strings.NewReplacer("@URL@", quote(e.URL), "@ID@", quote(e.ID), "@KEYVAR@", e.KeyVar, "@IDVAR@", e.IDVar).Replace(endScript)
}

// An End is what an EndScript is made of.
type End struct {
	URL    string // that the DELETE is for
	ID     string // of the machine
	KeyVar string // the variable that the machine has its key in
	IDVar  string // and the one for its id
}

const endScript = `#!/bin/sh
# Ends this machine at its provider, with the machine's own key.
# "check" as the argument asks for nothing, and tells whether the rest would work.
url=@URL@ id=@ID@
value() { # of a variable, here or in the machine's first process
	eval "found=\${$1-}"
	[ -n "$found" ] || found=$(tr '\0' '\n' 2>/dev/null </proc/1/environ | sed -n "s/^$1=//p" | head -n 1)
	printf %s "$found"
}
have() { command -v "$1" >/dev/null 2>&1; }
key=$(value @KEYVAR@ 2>/dev/null)
[ -n "$key" ] || { echo "this machine has no key of its own: there is no @KEYVAR@" >&2; exit 1; }
own=$(value @IDVAR@ 2>/dev/null)
case ${own#C.} in
'' | "$id") ;;
*) echo "this machine is $own, not $id" >&2; exit 1 ;;
esac
if have curl; then
	tool=curl
elif have wget && wget --version 2>/dev/null | grep -q GNU; then
	tool=wget
elif have python3; then
	tool=python3
else
	echo "there is no curl, no GNU wget and no python3" >&2
	exit 1
fi
[ "${1-}" != check ] || exit 0
case $tool in
curl) printf 'header = "Authorization: Bearer %s"\n' "$key" | curl -fsS -o /dev/null -m 60 -X DELETE -K - "$url" ;;
wget) # reads its settings from files only
	umask 077
	settings=$(mktemp) || exit 1
	trap 'rm -f "$settings"' EXIT
	trap 'exit 1' HUP INT TERM
	printf 'header = Authorization: Bearer %s\n' "$key" >"$settings"
	wget -q -O /dev/null -T 60 -t 1 --method=DELETE --config="$settings" "$url"
	;;
python3) BIFROST_END_KEY=$key BIFROST_END_URL=$url python3 -c '
import os, urllib.request as r
key, url = os.environ["BIFROST_END_KEY"], os.environ["BIFROST_END_URL"]
r.urlopen(r.Request(url, method="DELETE", headers={"Authorization": "Bearer " + key, "User-Agent": "bifrost"}), timeout=60)' ;;
esac
`
