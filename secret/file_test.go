package secret

import (
	"errors"
	"io/fs"
	"strings"
	"syscall"
	"testing"
)

// TestFileErrorTellsMissingFromForbidden without a file: root, who may run the tests, is refused none.
func TestFileErrorTellsMissingFromForbidden(t *testing.T) {
	for _, test := range []struct {
		cause syscall.Errno
		is    error
		says  string
	}{
		{syscall.ENOENT, fs.ErrNotExist, "file:/a/b does not exist"},
		{syscall.EACCES, fs.ErrPermission, "file:/a/b is not readable by this user"},
		{syscall.EIO, syscall.EIO, "read file:/a/b"},
	} {
		err := fileError("/a/b", &fs.PathError{Op: "open", Path: "/a/b", Err: test.cause})
		if !errors.Is(err, ErrUnset) || !errors.Is(err, test.is) || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%v gives %v", test.cause, err)
		}
	}
}
