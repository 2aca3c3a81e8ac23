package sqlite

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"sallyport.dev/mcp/database"
)

// The beginning of a database file: https://sqlite.org/fileformat.html#the_database_header.
const (
	magic = "SQLite format 3\x00"
	// versionAt is where the version of the format for readers is, and walVersion what it is for a write-ahead log.
	versionAt  = 19
	walVersion = 2
)

// file is a database in a file, by its path.
type file string

var errLeftOpen = errors.New("the file's write-ahead log (-wal) has no index (-shm): whoever wrote it did not close it, or it was copied without")

// look opens the file as no more than it has to. No file is ever made beside it for a reader:
//   - One with a rollback journal is read under SQLite's locks.
//   - One with a write-ahead log that a program has open is read by way of that program's -wal and -shm.
//   - One with a write-ahead log that nobody has open is read as if it could not change, for which SQLite needs neither, and is
//     looked at again afterwards.
//   - One whose log was left behind without its index is refused: to read it, files would have to be made.
func (f file) look(write bool) (uri string, still func() bool, err error) {
	info, version, err := f.inspect()
	if err != nil {
		return "", nil, database.Unreachable(err)
	}
	options := url.Values{"mode": {"ro"}}
	switch {
	case write:
		options.Set("mode", "rw")
	case version == walVersion:
		wal, shm := f.size("-wal"), f.size("-shm")
		switch {
		case wal >= 0 && shm >= 0:
		case wal > 0:
			return "", nil, &database.Error{
				Text: "the database was left open by the program that writes it, and cannot be read before that program has opened it again",
				Err:  errLeftOpen,
			}
		default:
			options.Set("immutable", "1")
			still = func() bool { return f.size("-wal") <= 0 && f.same(info) }
		}
	}
	made := url.URL{Scheme: "file", OmitHost: true, Path: string(f), RawQuery: options.Encode()}
	return made.String(), still, nil
}

// inspect returns the version of the format, once it is sure that there is a database in the file.
func (f file) inspect() (info fs.FileInfo, version byte, err error) {
	info, err = os.Stat(string(f)) // before it is opened: opening a pipe would wait for its writer
	if err != nil {
		return nil, 0, err
	}
	if !info.Mode().IsRegular() {
		return nil, 0, fmt.Errorf("%s is not a regular file", f)
	}
	opened, err := os.Open(string(f))
	if err != nil {
		return nil, 0, err
	}
	defer opened.Close()
	head := make([]byte, versionAt+1)
	if _, err := io.ReadFull(opened, head); err != nil || string(head[:len(magic)]) != magic {
		return nil, 0, fmt.Errorf("%s is not an SQLite database", f)
	}
	return info, head[versionAt], nil
}

// size returns the size in bytes of a file beside this one; -1 if there is none.
func (f file) size(suffix string) int64 {
	info, err := os.Stat(f.real() + suffix)
	if err != nil {
		return -1
	}
	return info.Size()
}

// real is the path without symbolic links: beside that SQLite looks for its other files.
func (f file) real() string {
	if real, err := filepath.EvalSymlinks(string(f)); err == nil {
		return real
	}
	return string(f)
}

// same reports whether the file is what it was.
func (f file) same(before fs.FileInfo) bool {
	now, err := os.Stat(string(f))
	return err == nil && os.SameFile(before, now) && now.Size() == before.Size() && now.ModTime().Equal(before.ModTime())
}

func (f file) hide(text string) string {
	return strings.ReplaceAll(strings.ReplaceAll(text, f.real(), "the file"), string(f), "the file")
}

func (file) close() {}

// othersWrite is the permission of everybody to write.
const othersWrite fs.FileMode = 0o002

// warnings says who else may decide what is in the file.
func (f file) warnings() []string {
	var found []string
	real := f.real()
	for _, suffix := range []string{"", "-journal", "-wal", "-shm"} {
		if info, err := os.Stat(real + suffix); err == nil && info.Mode()&othersWrite != 0 {
			found = append(found, fmt.Sprintf("everybody on this machine may write %s: run chmod o-w on it", real+suffix))
		}
	}
	for dir := filepath.Dir(real); ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err == nil && info.Mode()&othersWrite != 0 && info.Mode()&fs.ModeSticky == 0 {
			found = append(found, fmt.Sprintf("everybody on this machine may write the directory %s, and so replace the database: run chmod o-w on it", dir))
		}
		if dir == filepath.Dir(dir) {
			return found
		}
	}
}
