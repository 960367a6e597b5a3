package transfer

import "crypto/rand"

// spillPieces returns for how many pieces there is room beside so many bytes that will stay.
func (d *fetch) spillPieces(bytes int64) int {
	room := d.width.spill
	if free := freeBytes(d.root.Name()); free >= 0 {
		room = min(room, free-bytes)
	}
	return int(max(1, room/d.width.part))
}

// spill returns the file beside the part of a file in which its pieces wait for their turn. Without one and
// without an error the file has failed.
func (p *pieces) spill(f *rest) (*part, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if f.spill == nil {
		// Its name is that of a part which nobody asks for: what a crash leaves is removed with those.
		var content digest
		_, _ = rand.Read(content[:])
		spill, err := openPart(p.fetch.root, f.entry.name, content)
		if err != nil {
			return nil, p.fetch.fileError(f.entry, err)
		}
		spill.unlink()
		f.spill = spill
	}
	return f.spill, nil
}

// place says where in the spill a piece waits. The one that was there before has been moved.
func (p *pieces) place(pc piece) int64 {
	part := p.fetch.width.part
	return pc.offset/part%int64(p.ahead)*part + pc.offset%part
}

// endSpill removes the spill of a file, whose pieces have all been delivered or will not be.
func (r *rest) endSpill() {
	if r.spill != nil {
		r.spill.discard()
		r.spill = nil
	}
}
