package secret

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"
)

const (
	// maxFile bounds a secret file in bytes. Keys and tokens are far smaller; a wrong path often is not.
	maxFile = 64 << 10

	// othersWrite are the permission bits that let someone else choose the secret.
	othersWrite fs.FileMode = 0o022
	// othersRead are the permission bits that let someone else learn it.
	othersRead fs.FileMode = 0o044
)

// readFile reads the secret in path and checks the very file that it reads: mode and kind come from the open handle,
// so that a swap between check and read changes nothing. O_NONBLOCK keeps a named pipe from blocking the open.
func readFile(path string) (Value, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return Value{}, fileError(path, err)
	}
	defer func() { _ = file.Close() }() // read-only: closing has nothing left to lose

	info, err := file.Stat()
	if err != nil {
		return Value{}, fileError(path, err)
	}
	if !info.Mode().IsRegular() {
		return Value{}, fmt.Errorf("%w: file:%s is not a regular file; point the reference at one", ErrUnsafe, path)
	}
	if info.Mode().Perm()&othersWrite != 0 {
		return Value{}, fmt.Errorf("%w: file:%s is writable by group or others; run: chmod go-w %s", ErrUnsafe, path, path)
	}
	content, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err != nil {
		return Value{}, fileError(path, err)
	}
	if len(content) > maxFile {
		return Value{}, fmt.Errorf("%w: file:%s is larger than %d KiB; a secret file holds the secret alone", ErrUnsafe, path, maxFile>>10)
	}
	text := trimNewline(string(content))
	if text == "" {
		return Value{}, fmt.Errorf("%w: file:%s is empty; write the secret into it", ErrUnset, path)
	}
	return New(text), nil
}

// fileError wraps what the operating system said, with what to look at.
func fileError(path string, err error) error {
	var cause *fs.PathError
	if errors.As(err, &cause) {
		err = cause.Err // the path is in the reference already
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: file:%s does not exist (%w); check the path", ErrUnset, path, err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w: file:%s is not readable by this user (%w); check its owner and mode, and those of its directories", ErrUnset, path, err)
	}
	return fmt.Errorf("%w: read file:%s: %w; check the path", ErrUnset, path, err)
}

// trimNewline drops one line end, which editors and echo add.
func trimNewline(text string) string {
	trimmed, found := strings.CutSuffix(text, "\n")
	if !found {
		return text
	}
	return strings.TrimSuffix(trimmed, "\r")
}
