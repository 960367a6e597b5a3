package cloud

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"mime"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"
)

// specFiles are the published descriptions of the providers' APIs (OpenAPI 3.1), in a folder beside the
// repository. They are not ours to copy: in a clone without them nothing is checked against them.
var specFiles = map[string]string{
	"runpod": "runpod-v2.openapi.json",
	"vast":   "vast.openapi.yaml",
	"lambda": "lambda.openapi.json",
	"prime":  "prime.openapi.yml",
}

// An exception is where a description is known to be wrong. What matches it is not checked.
type exception struct {
	provider string
	what     string // beginning of "METHOD path: request: reason" or "METHOD path: answer: reason", as a violation has it
}

// exceptions are as of November 2026. A comment at each says what shows that the description is wrong.
var exceptions = []exception{
	// Newer descriptions have a cursor; a client that follows one where it is offered works with both.
	{"runpod", "GET /v2/pods: request: there is no parameter cursor"},
}

// A correction replaces a schema that is wrong in a description, so that all else of a call is checked.
type correction struct {
	provider string
	pointer  string // to the schema
	schema   any
}

// corrections are as of November 2026. A comment at each says what shows that the description is wrong.
var corrections = slices.Concat(vastCorrections)

// slashed are providers whose paths end with a slash where their description has none: the pages for the
// single calls and the provider's own client have it.
var slashed = map[string]bool{"vast": true}

// A description is the published description of a provider's API. Its methods work on nil, and check nothing
// then.
type description struct {
	provider string
	doc      map[string]any
	compiler *jsonschema.Compiler
	slashed  bool

	mu       sync.Mutex
	compiled map[string]*jsonschema.Schema // by JSON pointer
}

// descriptions read each of them once in a process: the longest take a tenth of a second.
var descriptions = func() map[string]func() (*description, error) {
	all := map[string]func() (*description, error){}
	for provider, file := range specFiles {
		all[provider] = sync.OnceValues(func() (*description, error) { return readDescription(provider, file) })
	}
	return all
}()

// describe returns the description of a provider, nil where it is not there.
func describe(provider string) (*description, error) {
	read, ok := descriptions[provider]
	if !ok {
		return nil, nil
	}
	d, err := read()
	if err != nil {
		return nil, fmt.Errorf("description of %s: %w", provider, err)
	}
	return d, nil
}

func readDescription(provider, file string) (*description, error) {
	root, err := moduleRoot()
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(filepath.Join(root, "..", "shared", "specs", file))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	if !strings.HasSuffix(file, ".json") {
		var doc any
		if err := yaml.Unmarshal(data, &doc); err != nil {
			return nil, err
		}
		if data, err = json.Marshal(doc); err != nil {
			return nil, err
		}
	}
	return parseDescription(provider, data)
}

// parseDescription reads a description in JSON.
func parseDescription(provider string, data []byte) (*description, error) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	for _, fix := range corrections {
		if fix.provider == provider && !replace(doc, fix.pointer, fix.schema) {
			return nil, fmt.Errorf("there is nothing to correct at %s", fix.pointer)
		}
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020) // the dialect of OpenAPI 3.1
	if err := c.AddResource(specURL, doc); err != nil {
		return nil, err
	}
	object, ok := doc.(map[string]any)
	if !ok {
		return nil, errors.New("it is not an object")
	}
	return &description{
		provider: provider, doc: object, compiler: c, slashed: slashed[provider], compiled: map[string]*jsonschema.Schema{},
	}, nil
}

// replace replaces what a pointer points at, in a document of objects.
func replace(doc any, pointer string, value any) bool {
	parts := strings.Split(strings.TrimPrefix(pointer, "/"), "/")
	for i, part := range parts {
		object, _ := doc.(map[string]any)
		part = unescapePointer(part)
		if _, ok := object[part]; !ok {
			return false
		}
		if i == len(parts)-1 {
			object[part] = value
		}
		doc = object[part]
	}
	return true
}

const specURL = "file:///spec.json"

// moduleRoot is the folder of go.mod, above the current one: that of a test is its package's.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", nil // a program that runs somewhere else: there is no description either
		}
		dir = up
	}
}

// An operation is one call as the description has it.
type operation struct {
	pointer string // to it, in the document
	object  map[string]any
	params  []parameter
	path    map[string]string // the values of the path's parameters
}

// A parameter of a path or a query.
type parameter struct {
	name, in string
	required bool
	joined   bool   // several values are one, with commas
	pointer  string // to its schema
	schema   any
}

// request checks a request.
func (d *description) request(req *http.Request, body []byte) error {
	if d == nil {
		return nil
	}
	op, err := d.find(req.Method, req.URL.EscapedPath())
	if err == nil {
		err = errors.Join(d.parameters(op, req.URL.Query()), d.requestBody(op, req.Header.Get("Content-Type"), body))
	}
	return d.excuse(req, "request", err)
}

// reply checks an answer.
func (d *description) reply(req *http.Request, answer reply) error {
	if d == nil {
		return nil
	}
	op, err := d.find(req.Method, req.URL.EscapedPath())
	if err == nil {
		err = d.answer(op, answer)
	}
	return d.excuse(req, "answer", err)
}

// excuse leaves out what is a known error of the description.
func (d *description) excuse(req *http.Request, what string, err error) error {
	if err == nil {
		return nil
	}
	text := fmt.Sprintf("%s %s: %s: %s", req.Method, req.URL.Path, what, err)
	for _, e := range exceptions {
		if e.provider == d.provider && strings.HasPrefix(text, e.what) {
			return nil
		}
	}
	return fmt.Errorf("against the published description: %s: %w", what, err)
}

// find returns the operation that a method and a path name. Of two that fit, the one with fewer parameters
// in its path is meant.
func (d *description) find(method, escaped string) (*operation, error) {
	if d.slashed {
		trimmed, ok := strings.CutSuffix(escaped, "/")
		if !ok {
			return nil, fmt.Errorf("the path %s has no slash at its end", escaped)
		}
		escaped = trimmed
	}
	paths, _ := d.doc["paths"].(map[string]any)
	var best *operation
	for template, item := range paths {
		values, ok := matchPath(template, escaped)
		if !ok || best != nil && len(values) >= len(best.path) {
			continue
		}
		object, _ := item.(map[string]any)
		best = &operation{pointer: "/paths/" + escapePointer(template), object: object, path: values}
	}
	if best == nil {
		return nil, fmt.Errorf("there is no path %s", escaped)
	}
	item := best.object
	object, ok := item[strings.ToLower(method)].(map[string]any)
	if !ok {
		return nil, fmt.Errorf("the path %s has no %s", escaped, method)
	}
	best.params = append(d.declared(item, best.pointer), d.declared(object, best.pointer+"/"+strings.ToLower(method))...)
	best.object, best.pointer = object, best.pointer+"/"+strings.ToLower(method)
	return best, nil
}

func matchPath(template, escaped string) (map[string]string, bool) {
	want, got := strings.Split(template, "/"), strings.Split(escaped, "/")
	if len(want) != len(got) {
		return nil, false
	}
	values := map[string]string{}
	for i, w := range want {
		if !strings.HasPrefix(w, "{") {
			if w != got[i] {
				return nil, false
			}
			continue
		}
		value, err := url.PathUnescape(got[i])
		if err != nil || value == "" {
			return nil, false
		}
		values[strings.Trim(w, "{}")] = value
	}
	return values, true
}

// declared are the parameters that an object of the description declares.
func (d *description) declared(object map[string]any, pointer string) []parameter {
	list, _ := object["parameters"].([]any)
	var all []parameter
	for i, entry := range list {
		at := pointer + "/parameters/" + strconv.Itoa(i)
		entry, at := d.resolve(entry, at)
		p := parameter{pointer: at + "/schema", schema: entry["schema"]}
		p.name, _ = entry["name"].(string)
		p.in, _ = entry["in"].(string)
		p.required, _ = entry["required"].(bool)
		if explode, ok := entry["explode"].(bool); ok {
			p.joined = !explode
		}
		if content, ok := entry["content"].(map[string]any); ok {
			for typ := range content {
				p.pointer = at + "/content/" + escapePointer(typ) + "/schema"
			}
		}
		all = append(all, p)
	}
	return all
}

// resolve follows a reference within the document.
func (d *description) resolve(value any, pointer string) (map[string]any, string) {
	object, _ := value.(map[string]any)
	for {
		ref, ok := object["$ref"].(string)
		if !ok {
			return object, pointer
		}
		pointer = strings.TrimPrefix(ref, "#")
		var at any = d.doc
		for _, part := range strings.Split(strings.TrimPrefix(pointer, "/"), "/") {
			m, _ := at.(map[string]any)
			at = m[unescapePointer(part)]
		}
		if object, ok = at.(map[string]any); !ok {
			return nil, pointer
		}
	}
}

func (d *description) parameters(op *operation, query url.Values) error {
	var all []error
	known := map[string]bool{}
	for _, p := range op.params {
		var values []string
		switch p.in {
		case "query":
			known[p.name] = true
			values = query[p.name]
		case "path":
			values = []string{op.path[p.name]}
		default:
			continue
		}
		if len(values) == 0 {
			if p.required {
				all = append(all, fmt.Errorf("the parameter %s is missing", p.name))
			}
			continue
		}
		if err := d.parameter(p, values); err != nil {
			all = append(all, fmt.Errorf("the parameter %s=%s: %w", p.name, strings.Join(values, "&"), err))
		}
	}
	for name := range query {
		if !known[name] {
			all = append(all, fmt.Errorf("there is no parameter %s", name))
		}
	}
	return errors.Join(all...)
}

// parameter checks a parameter, whose text can be read as several things: as a number, a list, or itself.
func (d *description) parameter(p parameter, values []string) error {
	schema, err := d.schema(p.pointer)
	if err != nil {
		return err
	}
	parts := values
	if p.joined || len(values) == 1 && strings.Contains(values[0], ",") {
		parts = strings.Split(values[0], ",")
	}
	var one []any
	if len(values) == 1 {
		if v, err := jsonschema.UnmarshalJSON(strings.NewReader(values[0])); err == nil {
			one = append(one, v)
		}
		one = append(one, values[0])
	}
	texts, typed := []any{}, []any{}
	for _, part := range parts {
		texts = append(texts, part)
		if v, err := jsonschema.UnmarshalJSON(strings.NewReader(part)); err == nil {
			typed = append(typed, v)
		}
	}
	many := []any{texts}
	if len(typed) == len(parts) {
		many = append(many, typed)
	}
	readings := append(one, many...)
	if object, _ := d.resolve(p.schema, p.pointer); object["type"] == "array" {
		readings = append(many, one...) // the first one's error is told
	}
	var first error
	for _, reading := range readings {
		err := schema.Validate(reading)
		if err == nil {
			return nil
		} else if first == nil {
			first = err
		}
	}
	return first
}

func (d *description) requestBody(op *operation, contentType string, body []byte) error {
	entry, pointer := d.resolve(op.object["requestBody"], op.pointer+"/requestBody")
	required, _ := entry["required"].(bool)
	switch {
	case len(body) == 0 && required:
		return errors.New("the body is missing")
	case len(body) == 0:
		return nil
	case entry == nil:
		return errors.New("there is a body, and the call has none")
	}
	if typ, _, err := mime.ParseMediaType(contentType); err != nil || typ != "application/json" {
		return fmt.Errorf("the body's type is %q", contentType)
	}
	return d.json(entry, pointer, body)
}

// json checks a text against the schema that a body or an answer has.
func (d *description) json(entry map[string]any, pointer string, text []byte) error {
	content, _ := entry["content"].(map[string]any)
	for typ := range content {
		if name, _, _ := mime.ParseMediaType(typ); name != "application/json" && name != "application/problem+json" {
			continue
		}
		if media, _ := content[typ].(map[string]any); media["schema"] == nil {
			return nil
		}
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err != nil {
			return fmt.Errorf("it is no JSON: %w", err)
		}
		schema, err := d.schema(pointer + "/content/" + escapePointer(typ) + "/schema")
		if err != nil {
			return err
		}
		return schema.Validate(value)
	}
	return nil
}

// answer checks an answer. A status that the description does not know is no violation where the contract
// has it: the lists are known to have gaps.
func (d *description) answer(op *operation, answer reply) error {
	status := answer.status
	if status == 0 {
		status = http.StatusOK
	}
	responses, _ := op.object["responses"].(map[string]any)
	entry, pointer := d.resolve(responses[strconv.Itoa(status)], op.pointer+"/responses/"+strconv.Itoa(status))
	if entry == nil {
		if status < 300 {
			return fmt.Errorf("there is no status %d", status)
		}
		return nil
	}
	text, err := answer.bytes()
	if err != nil {
		return err
	}
	if len(text) == 0 {
		if entry["content"] != nil {
			return errors.New("the body is missing")
		}
		return nil
	}
	return d.json(entry, pointer, text)
}

// schema compiles what a pointer points at, once.
func (d *description) schema(pointer string) (*jsonschema.Schema, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if s, ok := d.compiled[pointer]; ok {
		return s, nil
	}
	s, err := d.compiler.Compile(specURL + "#" + (&url.URL{Path: pointer}).EscapedPath())
	if err != nil {
		return nil, err
	}
	d.compiled[pointer] = s
	return s, nil
}

func escapePointer(part string) string {
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(part)
}

func unescapePointer(part string) string {
	return strings.NewReplacer("~1", "/", "~0", "~").Replace(part)
}
