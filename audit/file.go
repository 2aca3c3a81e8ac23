package audit

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

const (
	// tailWindow is how much of a file's end is looked at for its last line, in bytes. It holds the longest line and as much that is none.
	tailWindow = 2 * (maxLine + 1)
	// lockSuffix is added to the log's path for the file whose lock keeps a second writer away.
	lockSuffix = ".lock"
)

// errLocked means that another process writes this log.
var errLocked = errors.New("audit: the log is in use")

// file is what a log does with the file it writes.
type file interface {
	io.Writer
	io.ReaderAt
	io.Closer
	Truncate(size int64) error
	Sync() error
	Stat() (fs.FileInfo, error)
	// state gives the size in bytes, and whether the file has lost its last name. It costs a fraction of Stat.
	state() (size int64, removed bool, err error)
}

// diskFile is a file of the operating system.
type diskFile struct {
	*os.File
	fd   int
	stat *syscall.Stat_t // reused by state
}

// openFile opens a log to append to, and makes it with mode 0600 if it is not there. Its folder must be there.
func openFile(path string) (file, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND|os.O_CREATE|syscall.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", path)
	}
	if err != nil {
		_ = f.Close() // nothing was written
		return nil, err
	}
	return diskFile{File: f, fd: int(f.Fd()), stat: new(syscall.Stat_t)}, nil
}

func (f diskFile) state() (size int64, removed bool, err error) {
	if err := syscall.Fstat(f.fd, f.stat); err != nil {
		return 0, false, err
	}
	return f.stat.Size, f.stat.Nlink == 0, nil
}

// lock keeps other writers from the log at path until the file is closed, or the process ends. The file stays: to
// remove it would let two writers hold locks on two files of one name.
func lock(path string) (*os.File, error) {
	f, err := os.OpenFile(path+lockSuffix, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("audit: lock the log: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close() // nothing was written
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("%w: another process writes %s: stop it, or give each role a file of its own", errLocked, path)
		}
		return nil, fmt.Errorf("audit: lock %s: %w: use a file system with locks, not a network share", path, err)
	}
	return f, nil
}

// ending is how a file ends.
type ending struct {
	// last is the last whole line that is a record, if found is set, and hash that of its bytes.
	last  Record
	hash  string
	found bool
	// open says that the last record lacks its newline.
	open bool
	// rest says that bytes follow that are no record: how many there are without a newline at their end, their hash,
	// and whether they lack that newline.
	rest        bool
	restBytes   int64
	restHash    string
	restUnended bool
}

// readEnding looks at the end of the size bytes of f from offset on.
func readEnding(f io.ReaderAt, offset, size int64) (ending, error) {
	from := max(offset, size-tailWindow)
	e, err := readFrom(f, from, size, from > offset)
	if err == nil && !e.found && from > offset {
		e, err = readFrom(f, offset, size, false) // more than the window is no record: look at all
	}
	return e, err
}

// readFrom reads to the end, from the first whole line on if the beginning is within one.
func readFrom(f io.ReaderAt, from, size int64, within bool) (ending, error) {
	var e ending
	var junk region
	lines := newLineReader(io.NewSectionReader(f, from, size-from))
	for first := true; ; first = false {
		line, err := lines.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return ending{}, fmt.Errorf("audit: read the end of the log: %w", err)
		}
		if first && within {
			continue
		}
		if r, err := ParseRecord(line.text); err == nil && !line.long {
			sum := sha256.Sum256(line.text)
			e = ending{last: r, hash: hex.EncodeToString(sum[:]), found: true, open: !line.ended}
			junk = region{}
			continue
		}
		junk.add(line)
		e.restUnended = !line.ended
	}
	e.rest, e.restBytes, e.restHash = junk.begun, junk.size, junk.hash()
	return e, nil
}

// firstSeq is the number of the first line of f; 0 if it is none.
func firstSeq(f io.ReaderAt) uint64 {
	line, err := newLineReader(io.NewSectionReader(f, 0, maxLine+1)).next()
	if err != nil {
		return 0
	}
	r, err := ParseRecord(line.text)
	if err != nil {
		return 0
	}
	return r.Seq
}

// rotatedEnding is that of the newest rotated file of the log at path, if there is one.
func rotatedEnding(path string) (ending, error) {
	names, err := rotated(path)
	if err != nil || len(names) == 0 {
		return ending{}, err
	}
	f, err := os.Open(filepath.Join(filepath.Dir(path), names[len(names)-1].name))
	if err != nil {
		return ending{}, fmt.Errorf("audit: read the newest rotated file: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return ending{}, fmt.Errorf("audit: read the newest rotated file: %w", err)
	}
	return readEnding(f, 0, info.Size())
}
