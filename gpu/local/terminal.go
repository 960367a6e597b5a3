//go:build unix

package local

import (
	"errors"
	"os"

	"github.com/creack/pty"
	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"
)

// A terminal is a pseudo terminal that a session asked for.
type terminal struct {
	name   string   // for $TERM
	path   string   // of the slave
	master *os.File // ours
	slave  *os.File // the command's
}

// openTerminal opens what a pty-req asks for (RFC 4254, 6.2).
func openTerminal(payload []byte) (*terminal, error) {
	var ask struct {
		Term                         string
		Columns, Rows, Width, Height uint32
		Modes                        string
	}
	if err := ssh.Unmarshal(payload, &ask); err != nil {
		return nil, err
	}
	blocking, slave, err := pty.Open()
	if err != nil {
		return nil, err
	}
	defer blocking.Close()
	// A read from that file would block a thread and keep the file open: it cannot be closed while
	// it is read. One that the runtime polls can.
	fd, err := unix.FcntlInt(blocking.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		slave.Close()
		return nil, err
	}
	t := &terminal{name: ask.Term, path: slave.Name(), master: os.NewFile(uintptr(fd), blocking.Name()), slave: slave}
	err = errors.Join(applyModes(slave, []byte(ask.Modes)), t.resize(ask.Columns, ask.Rows, ask.Width, ask.Height))
	if err != nil {
		t.slave.Close()
		t.master.Close()
		return nil, err
	}
	return t, nil
}

func (t *terminal) resize(columns, rows, width, height uint32) error {
	raw, err := t.master.SyscallConn()
	if err != nil {
		return err
	}
	size := &unix.Winsize{Row: uint16(rows), Col: uint16(columns), Xpixel: uint16(width), Ypixel: uint16(height)}
	if cerr := raw.Control(func(fd uintptr) { err = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, size) }); cerr != nil {
		return cerr
	}
	return err
}

// inputFlags, localFlags and outputFlags are the modes of RFC 4254, section 8 that clients set for
// more than decoration. Speeds and control characters stay the system's.
var (
	inputFlags  = map[byte]uint32{34: unix.ISTRIP, 35: unix.INLCR, 36: unix.IGNCR, 37: unix.ICRNL, 38: unix.IXON, 39: unix.IXANY, 40: unix.IXOFF}
	localFlags  = map[byte]uint32{50: unix.ISIG, 51: unix.ICANON, 53: unix.ECHO, 54: unix.ECHOE, 55: unix.ECHOK, 56: unix.ECHONL, 57: unix.NOFLSH, 58: unix.TOSTOP, 59: unix.IEXTEN}
	outputFlags = map[byte]uint32{70: unix.OPOST, 72: unix.ONLCR, 73: unix.OCRNL, 74: unix.ONOCR, 75: unix.ONLRET}
)

// applyModes sets the encoded terminal modes: an opcode, then 32 bits, until opcode 0 or 160.
func applyModes(f *os.File, modes []byte) error {
	fd := int(f.Fd())
	t, err := unix.IoctlGetTermios(fd, getTermios)
	if err != nil {
		return err
	}
	for len(modes) >= 5 && modes[0] != 0 && modes[0] < 160 {
		op, on := modes[0], modes[1]|modes[2]|modes[3]|modes[4] != 0
		modes = modes[5:]
		setFlag(&t.Iflag, inputFlags[op], on)
		setFlag(&t.Lflag, localFlags[op], on)
		setFlag(&t.Oflag, outputFlags[op], on)
	}
	return unix.IoctlSetTermios(fd, setTermios, t)
}

// setFlag is generic over the width of the flags, which differs between systems.
func setFlag[T uint32 | uint64](flags *T, bit uint32, on bool) {
	if on {
		*flags |= T(bit)
	} else {
		*flags &^= T(bit)
	}
}
