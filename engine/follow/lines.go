package follow

import (
	"bytes"
	"errors"
	"io"
	"iter"
)

// Lines cuts a stream into lines. Both \n and \r\n end a line; of the frames that \r separates, as
// progress bars write them, the last is the line. A line may be as long as memory allows; bytes that
// are no UTF-8 become U+FFFD; a last line needs no end. An error of r other than io.EOF comes last,
// after the line that it cut off.
func Lines(r io.Reader) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		var f frame
		chunk := make([]byte, 64<<10)
		for {
			n, err := r.Read(chunk)
			for p := chunk[:n]; len(p) > 0; {
				line, rest, ended := f.cut(p)
				p = rest
				if ended && !yield(text(line), nil) {
					return
				}
			}
			if err == nil {
				continue
			}
			if line := f.end(); len(line) > 0 && !yield(text(line), nil) {
				return
			}
			if !errors.Is(err, io.EOF) {
				yield("", err)
			}
			return
		}
	}
}

func text(line []byte) string { return string(bytes.ToValidUTF8(line, []byte("\uFFFD"))) }

// A frame is the line that is being read, reduced to the last of its frames so far.
type frame struct {
	buf []byte
	cr  bool // a \r has come, and neither \n nor another frame yet
}

// cut takes bytes up to the end of a line or of p. The line is valid until the next call.
func (f *frame) cut(p []byte) (line, rest []byte, ended bool) {
	i := bytes.IndexAny(p, "\r\n")
	if i < 0 {
		f.add(p)
		return nil, nil, false
	}
	f.add(p[:i])
	if p[i] == '\r' {
		f.cr = true
		return nil, p[i+1:], false
	}
	return f.end(), p[i+1:], true
}

func (f *frame) add(p []byte) {
	if len(p) == 0 {
		return
	}
	if f.cr {
		f.buf, f.cr = f.buf[:0], false
	}
	f.buf = append(f.buf, p...)
}

func (f *frame) end() []byte {
	line := f.buf
	f.buf, f.cr = f.buf[:0], false
	return line
}

// holdMax is how much of a line CollapseFrames holds back, in bytes.
const holdMax = 64 << 10

// CollapseFrames returns a writer for output into a pipe or a file: of the frames of a line that \r
// separates only the last is passed on to w, other bytes are untouched. A line is passed on when it
// ends, or on Close, or when it is longer than 64 KiB. Close does not close w.
func CollapseFrames(w io.Writer) io.WriteCloser { return &collapser{w: w} }

type collapser struct {
	w    io.Writer
	held []byte // the last frame of the present line
	cr   bool   // a \r has come behind it
}

func (c *collapser) Write(p []byte) (int, error) {
	n := len(p)
	var out []byte
	if end := bytes.LastIndexByte(p, '\n') + 1; end > 0 && bytes.IndexByte(p[:end], '\r') < 0 && !c.cr && len(c.held) == 0 {
		out, p = p[:end:end], p[end:] // whole lines, as most output is
	}
	for len(p) > 0 {
		i := bytes.IndexAny(p, "\r\n")
		if i < 0 {
			i = len(p)
		}
		if i > 0 {
			if c.cr {
				c.held, c.cr = c.held[:0], false
			}
			c.held = append(c.held, p[:i]...)
		}
		if i < len(p) {
			if p[i] == '\n' {
				out = c.flush(out)
				out = append(out, '\n')
			} else {
				c.cr = true
			}
			i++
		}
		if len(c.held) > holdMax {
			out = append(out, c.held...)
			c.held = c.held[:0]
		}
		p = p[i:]
	}
	if len(out) == 0 {
		return n, nil
	}
	if _, err := c.w.Write(out); err != nil {
		return 0, err
	}
	return n, nil
}

// flush moves the present line to out; a \r right before its end belongs to it.
func (c *collapser) flush(out []byte) []byte {
	out = append(out, c.held...)
	if c.cr {
		out = append(out, '\r')
	}
	c.held, c.cr = c.held[:0], false
	return out
}

func (c *collapser) Close() error {
	_, err := c.w.Write(c.flush(nil))
	return err
}
