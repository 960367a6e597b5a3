package builtins

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"

	star "go.starlark.net/starlark"
)

func hashlibModule() *Module {
	return &Module{
		Name: "hashlib", Doc: "Fingerprints of data. SHA-256 is the only one: MD5 and SHA-1 prove nothing any more.",
		Entries: []*Entry{{
			Name: "sha256", Result: "hash", Capabilities: pure,
			Doc:     "Starts a SHA-256 hash, of data if there is some.",
			Example: "print(hashlib.sha256(bytes(\"gpt2\")).hexdigest()[:16])  # 238f51b7c7c924fa\nprint(hashlib.sha256(Path(\"data/a.txt\").read_bytes()).hexdigest()[:16])  # b640e840b19d3786",
			Params:  []Param{{Name: "data", Kind: bytesKind(encodeFirst), Default: star.Bytes(""), Doc: "what to hash; bytes(s) makes bytes of a string"}},
			run: func(c *Call) (star.Value, error) {
				h := &hashState{h: sha256.New()}
				h.h.Write(arg[[]byte](c, "data"))
				return c.lib.make("hash", star.StringDict{"name": star.String("sha256"), "digest_size": star.MakeInt(sha256.Size), "block_size": star.MakeInt(sha256.BlockSize)}, h), nil
			},
		}},
	}
}

// encodeFirst is the way out for whoever hashes a string.
const encodeFirst = "encode it first: bytes(s) is its UTF-8"

// bytesKind is bytes, and no string; ofString is the way out for whoever has one.
func bytesKind(ofString string) Kind {
	return Kind{"bytes", func(_ *Call, v star.Value) (any, error) {
		if b, ok := v.(star.Bytes); ok {
			return []byte(b), nil
		}
		if _, ok := v.(star.String); ok {
			return nil, &valueError{"got a string, want bytes", ofString}
		}
		return nil, want(v, "bytes")
	}}
}

// A hashState is a hash under way. It is the one value of the library that changes, until it is frozen.
type hashState struct {
	h      hash.Hash
	frozen bool
}

// Freeze is called when the value is frozen.
func (h *hashState) Freeze() { h.frozen = true }

func hashType() *Type {
	of := func(c *Call) *hashState { return c.recv.data.(*hashState) }
	return &Type{
		Name: "hash", Doc: "What `hashlib.sha256` returns.",
		Fields: []Field{
			{Name: "name", Kind: "str", Doc: `"sha256"`},
			{Name: "digest_size", Kind: "int", Doc: "bytes of the digest"},
			{Name: "block_size", Kind: "int", Doc: "bytes that it takes at once"},
		},
		show: func(*object) string { return "<sha256 hash>" },
		Methods: []*Entry{
			{
				Name: "update", Result: "None", Capabilities: pure,
				Doc:     "Hashes more data.",
				Example: "h = hashlib.sha256()\nh.update(b\"a\")\nh.update(b\"b\")\nprint(h.hexdigest() == hashlib.sha256(b\"ab\").hexdigest())  # True",
				Params:  []Param{{Name: "data", Kind: bytesKind(encodeFirst), Doc: "what to hash; bytes(s) makes bytes of a string"}},
				run: func(c *Call) (star.Value, error) {
					if of(c).frozen {
						return nil, errors.New("cannot update frozen hash")
					}
					_, err := of(c).h.Write(arg[[]byte](c, "data"))
					return star.None, err
				},
			},
			{
				Name: "hexdigest", Result: "str", Capabilities: pure,
				Doc:     "Returns the hash of what came so far, as hexadecimal digits.",
				Example: `print(len(hashlib.sha256(b"a").hexdigest()))  # 64`,
				run: func(c *Call) (star.Value, error) {
					return star.String(hex.EncodeToString(of(c).h.Sum(nil))), nil
				},
			},
			{
				Name: "digest", Result: "bytes", Capabilities: pure,
				Doc:     "Returns the hash of what came so far.",
				Example: `print(len(hashlib.sha256(b"a").digest()))  # 32`,
				run:     func(c *Call) (star.Value, error) { return star.Bytes(of(c).h.Sum(nil)), nil },
			},
			{
				Name: "copy", Result: "hash", Capabilities: pure,
				Doc:     "Returns a hash of what came so far that goes on apart.",
				Example: "h = hashlib.sha256(b\"a\")\nother = h.copy()\nother.update(b\"b\")\nprint(h.digest() == other.digest())  # False",
				run: func(c *Call) (star.Value, error) {
					h, err := of(c).h.(hash.Cloner).Clone()
					return c.lib.make("hash", c.recv.values, &hashState{h: h}), err
				},
			},
		},
	}
}
