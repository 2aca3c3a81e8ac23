package source

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// maxLinks is how many symbolic links a path may lead over, as in Linux (path_resolution(7)).
const maxLinks = 40

var errUntrusted = errors.New("others could have chosen it")

// CheckTrusted says no to a file that others than root and this process's user could have chosen: the file, every directory
// above it, and every symbolic link on the way with the directories above that, must belong to one of the two and be
// writable by them alone. A directory with the sticky bit, such as /tmp, may be writable by others, because they cannot
// replace in it what belongs to another. What a script starts or reads in its turn is not looked at.
//
// It is a look at names: whoever may write to one of these directories may put another file there afterwards, and that is
// nobody but the two.
func CheckTrusted(path string) error {
	if !filepath.IsAbs(path) {
		dir, err := os.Getwd()
		if err != nil {
			return fmt.Errorf("%w: the working directory, where %s is, cannot be seen: %w", errUntrusted, path, plain(err))
		}
		path = dir + "/" + path // not cleaned: behind a link, .. is elsewhere
	}
	at, rest, links := "/", strings.Split(path, "/"), 0
	for {
		info, err := os.Lstat(at)
		if err != nil {
			return fmt.Errorf("%w: %s: %w", errUntrusted, at, plain(err))
		}
		if err := checkOwner(at, info); err != nil {
			return err
		}
		if info.Mode()&fs.ModeSymlink != 0 {
			if links++; links > maxLinks {
				return fmt.Errorf("%w: too many links lead to it; name the file itself", errUntrusted)
			}
			target, err := os.Readlink(at)
			if err != nil {
				return fmt.Errorf("%w: %s: %w", errUntrusted, at, plain(err))
			}
			if at = filepath.Dir(at); filepath.IsAbs(target) {
				at = "/"
			}
			rest = slices.Concat(strings.Split(target, "/"), rest)
		}
		if rest = slices.DeleteFunc(rest, func(name string) bool { return name == "" || name == "." }); len(rest) == 0 {
			return nil
		}
		at, rest = filepath.Join(at, rest[0]), rest[1:] // at has no links left: .. is the directory above
	}
}

// checkOwner says no to one file or directory.
func checkOwner(path string, info fs.FileInfo) error {
	owner, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !ok:
		return fmt.Errorf("%w: it cannot be seen whose %s is", errUntrusted, path)
	case owner.Uid != 0 && int(owner.Uid) != os.Geteuid():
		return fmt.Errorf("%w: %s belongs to another user, who could replace it; run: chown root %s", errUntrusted, path, path)
	case info.Mode()&fs.ModeSymlink != 0:
		return nil // its mode says nothing
	case info.Mode().Perm()&0o022 != 0 && (!info.IsDir() || info.Mode()&fs.ModeSticky == 0):
		return fmt.Errorf("%w: %s is writable by group or others; run: chmod go-w %s", errUntrusted, path, path)
	}
	return nil
}
