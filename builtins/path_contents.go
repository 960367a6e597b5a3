package builtins

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	star "go.starlark.net/starlark"

	"github.com/bifrost-run/bifrost/engine/fault"
	"github.com/bifrost-run/bifrost/starlark/policy"
)

// maxContents is the size in bytes up to which a local file becomes a value.
const maxContents = 64 << 20

// encodingKind is the name of UTF-8, which is the only encoding.
func encodingKind() Kind {
	return Kind{"str", func(_ *Call, v star.Value) (any, error) {
		s, _ := star.AsString(v)
		if s := strings.ToLower(s); s != "utf-8" && s != "utf8" {
			return nil, want(v, `"utf-8", the only encoding`)
		}
		return s, nil
	}}
}

// stringDataKind is the content of a file that is a string.
func stringDataKind() Kind {
	return Kind{"str", func(c *Call, v star.Value) (any, error) {
		if _, ok := v.(star.Bytes); ok {
			return nil, &valueError{"got bytes, want a string", "write_bytes takes bytes"}
		}
		return dataKind().take(c, v)
	}}
}

// pathContents are the methods that read, write, make and remove files.
func pathContents() []*Entry {
	encoding := Param{Name: "encoding", Kind: encodingKind(), Default: star.String("utf-8"), Doc: "UTF-8 is the only one"}
	read, write := []policy.Capability{policy.ReadFile}, []policy.Capability{policy.WriteFile}
	return []*Entry{
		{
			Name: "read_text", Result: "str", Effect: true, Capabilities: read, needs: onPath(policy.ReadFile), Params: []Param{encoding},
			Doc:     "Returns the text of a file, with every end of a line as \"\\n\". A file that is not UTF-8, or larger than 64 MiB, is an error.",
			Example: `print(Path("data/a.txt").read_text().strip())  # first`,
			run: func(c *Call) (star.Value, error) {
				data, err := c.contents()
				if err != nil {
					return nil, err
				}
				if !utf8.Valid(data) {
					return nil, &fault.Error{
						Kind: fault.Invalid, Op: c.entry.Name, Target: pureOf(c.recv).String(), Err: fmt.Errorf("it is not UTF-8, from byte %d on", firstInvalid(data)),
						Hint: "read_bytes takes every file",
					}
				}
				return star.String(strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(string(data))), nil
			},
		},
		{
			Name: "read_bytes", Result: "bytes", Effect: true, Capabilities: read, needs: onPath(policy.ReadFile),
			Doc:     "Returns what a file holds. One larger than 64 MiB is an error.",
			Example: `print(len(Path("data/a.txt").read_bytes()))  # 6`,
			run: func(c *Call) (star.Value, error) {
				data, err := c.contents()
				return star.Bytes(data), err
			},
		},
		{
			Name: "write_text", Result: "int", Effect: true, Capabilities: write, needs: onPath(policy.WriteFile),
			Doc:     "Makes a file hold a text, whatever it held before, and returns the number of characters. Who reads the file meanwhile sees the old text or the new one. Its folder must exist.",
			Example: "path = Path(\"data/c.txt\")\nprint(path.write_text(\"third\"), path.read_text())  # 5 third",
			Params:  []Param{{Name: "data", Kind: stringDataKind(), Doc: "what the file holds then"}, encoding},
			run: func(c *Call) (star.Value, error) {
				data := arg[[]byte](c, "data")
				return star.MakeInt(utf8.RuneCount(data)), c.write(data)
			},
		},
		{
			Name: "write_bytes", Result: "int", Effect: true, Capabilities: write, needs: onPath(policy.WriteFile),
			Doc:     "Makes a file hold these bytes, as write_text does, and returns their number.",
			Example: `print(Path("raw.bin").write_bytes(bytes([0, 255])))  # 2`,
			Params:  []Param{{Name: "data", Kind: bytesKind("write_text takes strings, and bytes(s) makes bytes"), Doc: "what the file holds then"}},
			run: func(c *Call) (star.Value, error) {
				data := arg[[]byte](c, "data")
				return star.MakeInt(len(data)), c.write(data)
			},
		},
		{
			Name: "mkdir", Result: "None", Effect: true, Capabilities: write, needs: onPath(policy.WriteFile),
			Doc:     "Makes a folder.",
			Example: "Path(\"runs/1\").mkdir(parents = True, exist_ok = True)\nprint(Path(\"runs/1\").is_dir())  # True",
			Params: []Param{
				{Name: "parents", Kind: boolKind(), Default: star.False, KeywordOnly: true, Doc: "make the folders above it too"},
				{Name: "exist_ok", Kind: boolKind(), Default: star.False, KeywordOnly: true, Doc: "a folder that exists is no error"},
			},
			run: func(c *Call) (star.Value, error) {
				dir, err := c.file()
				if err != nil {
					return nil, err
				}
				return star.None, c.mkdir(dir)
			},
		},
		{
			Name: "unlink", Result: "None", Effect: true, Capabilities: write, needs: onName,
			Doc:     "Removes a file, or a link itself. A folder is an error.",
			Example: "Path(\"data/a.txt\").unlink()\nprint(Path(\"data/a.txt\").exists())  # False",
			Params:  []Param{{Name: "missing_ok", Kind: boolKind(), Default: star.False, Doc: "a missing file is no error"}},
			run: func(c *Call) (star.Value, error) {
				file, err := c.file()
				if err != nil {
					return nil, err
				}
				info, err := os.Lstat(file)
				switch {
				case errors.Is(err, fs.ErrNotExist) && arg[bool](c, "missing_ok"):
					return star.None, nil
				case err != nil:
					return nil, c.fileError(err)
				case info.IsDir():
					return nil, c.fileError(errors.New("it is a folder"))
				}
				return star.None, c.fileError(os.Remove(file))
			},
		},
	}
}

// onName asks for the receiver itself, where that is a link and not what it leads to.
func onName(c *Call) []policy.Request {
	p := pureOf(c.recv)
	real, err := c.lib.realPath(p.parent().String())
	if last := p.name(); err == nil && last != ".." {
		real = filepath.Join(real, last)
	} else if err == nil {
		err = errors.New("it is a folder")
	}
	c.values[fileKey] = realPath{real, err}
	if err != nil {
		return nil
	}
	return []policy.Request{{Capability: policy.WriteFile, Target: real}}
}

// contents reads the receiver's file.
func (c *Call) contents() ([]byte, error) {
	path, err := c.file()
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(path) // before it is opened, for a pipe's other end may never come
	switch {
	case err != nil:
		return nil, c.fileError(err)
	case info.IsDir():
		return nil, c.fileError(errors.New("it is a folder"))
	case !info.Mode().IsRegular():
		return nil, c.fileError(errors.New("it is no regular file"))
	case info.Size() > maxContents:
		return nil, c.tooLarge()
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, c.fileError(err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxContents+1))
	if err != nil {
		return nil, c.fileError(err)
	}
	if len(data) > maxContents { // it has grown, or does not tell its size
		return nil, c.tooLarge()
	}
	return data, nil
}

func (c *Call) tooLarge() error {
	return &fault.Error{
		Kind: fault.Invalid, Op: c.entry.Name, Target: pureOf(c.recv).String(), Err: fmt.Errorf("it is larger than %d MiB", maxContents>>20),
		Hint: "node.upload sends a file of any size to a node",
	}
}

func firstInvalid(data []byte) int {
	at := 0
	for at < len(data) {
		r, size := utf8.DecodeRune(data[at:])
		if r == utf8.RuneError && size == 1 {
			break
		}
		at += size
	}
	return at
}

// write makes the receiver's file hold data: a new file takes the name when it is complete. Where that
// cannot be, and for what is no regular file, it is written in place, as Python does.
func (c *Call) write(data []byte) error {
	path, err := c.file()
	if err != nil {
		return err
	}
	info, err := os.Stat(path)
	switch {
	case err == nil && info.IsDir():
		return c.fileError(errors.New("it is a folder"))
	case err == nil && info.Mode()&fs.ModeNamedPipe != 0:
		return c.fileError(errors.New("it is a pipe, whose reader may never come"))
	case err == nil:
		// Whether the file may be written is its own matter, not its folder's.
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err == nil {
			err = f.Close()
		}
		if err != nil {
			return c.fileError(err)
		}
	case !errors.Is(err, fs.ErrNotExist):
		return c.fileError(err)
	}
	if c.dry("write " + path) {
		return nil
	}
	if info != nil && !info.Mode().IsRegular() {
		return c.fileError(os.WriteFile(path, data, 0o666))
	}
	fresh := fmt.Sprintf("%s/.%s.%08x", filepath.Dir(path), filepath.Base(path), rand.Uint32())
	f, err := os.OpenFile(fresh, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666) // the umask applies, as to a file of Python's
	if errors.Is(err, fs.ErrPermission) && info != nil {
		return c.fileError(os.WriteFile(path, data, 0o666))
	}
	if err != nil {
		return c.fileError(err)
	}
	_, err = f.Write(data)
	if info != nil {
		err = errors.Join(err, f.Chmod(info.Mode().Perm()))
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(fresh, path)
	}
	if err != nil {
		return c.fileError(errors.Join(err, os.Remove(fresh)))
	}
	return nil
}

// mkdir makes a folder, and those above it if the script says so, each of which the gate is asked for.
func (c *Call) mkdir(dir string) error {
	missing := []string{dir}
	for above := filepath.Dir(dir); arg[bool](c, "parents") && above != filepath.Dir(above); above = filepath.Dir(above) {
		if _, err := os.Lstat(above); !errors.Is(err, fs.ErrNotExist) {
			break
		}
		missing = append(missing, above)
		if err := c.permit(policy.Request{Capability: policy.WriteFile, Target: above}); err != nil {
			return err
		}
	}
	for i := len(missing) - 1; i >= 0; i-- {
		if _, err := os.Lstat(missing[i]); errors.Is(err, fs.ErrNotExist) && c.dry("make the folder "+missing[i]) {
			continue
		}
		err := os.Mkdir(missing[i], 0o777)
		if errors.Is(err, fs.ErrExist) && (i > 0 || arg[bool](c, "exist_ok")) {
			if info, statErr := os.Stat(missing[i]); statErr == nil && info.IsDir() {
				continue
			}
		}
		if err != nil {
			return c.fileError(err)
		}
	}
	return nil
}
