package cell

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// What every cell is shown beside systemDirs, if it exists. Of /etc these files alone: the others are the host's own business, and some hold
// secrets that are readable to all by mistake.
var (
	systemEtc = []string{
		"hosts", "resolv.conf", "nsswitch.conf", "localtime", "timezone", "gai.conf", "host.conf", "protocols", "services",
		"ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives", "mime.types", "os-release", "debian_version",
		"ssl/certs", "ssl/cert.pem", "ssl/openssl.cnf", "ca-certificates", "pki/tls/certs", "pki/tls/cert.pem", "pki/ca-trust",
	}
	devices = []string{"null", "zero", "full", "random", "urandom"}
	links   = map[string]string{"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2"}
)

// stage is where the new root is built before it becomes the root: the one directory that certainly exists, since the
// warden was started through it. What was below it is reached by then.
const stage = "/proc"

// A mount to be attached in the new root.
type attachment struct {
	fd   int    // of a detached mount
	path string // in the new root
	dir  bool
}

// enterRoot builds a root of what the order shows and makes it this process's. Nothing of the old one stays within reach.
func enterRoot(o *order) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return unsupported("keep the cell's mounts apart", err)
	}
	attachments, symlinks, err := gather(o)
	if err != nil {
		return err
	}
	if err := unix.Mount("cell", stage, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755,size=1m"); err != nil {
		return unsupported("mount a file system in memory", err)
	}
	if err := unix.Chdir(stage); err != nil {
		return fmt.Errorf("enter the new root: %w", err)
	}
	root, err := os.OpenRoot(".")
	if err != nil {
		return fmt.Errorf("enter the new root: %w", err)
	}
	defer func() { _ = root.Close() }() // read-only: closing has nothing to lose
	b := builder{root: root}
	b.tree(o, attachments, symlinks)
	if b.err != nil {
		return b.err
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return unsupported("change the root", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return unsupported("leave the old root", err)
	}
	if err := unix.Chdir("/"); err != nil {
		return fmt.Errorf("enter the new root: %w", err)
	}
	return setAttr(unix.AT_FDCWD, "/", 0, unix.MOUNT_ATTR_RDONLY)
}

// gather takes hold of all that the order shows while it can still be reached.
func gather(o *order) (attachments []attachment, symlinks [][2]string, err error) {
	add := func(source, target string, attrs uint64) error {
		if hidden(source, o.Hide) {
			return nil
		}
		a, err := take(source, target, attrs)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		attachments = append(attachments, a)
		return nil
	}
	const readOnly = unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV
	const writable = unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV
	for _, dir := range systemDirs {
		if to, err := os.Readlink(dir); err == nil {
			symlinks = append(symlinks, [2]string{to, dir})
			continue
		}
		real, err := filepath.EvalSymlinks(dir)
		if err != nil {
			continue // not every system has every directory
		}
		if err := add(real, dir, readOnly); err != nil {
			return nil, nil, err
		}
	}
	for _, name := range systemEtc {
		path := filepath.Join("/etc", name)
		real, err := filepath.EvalSymlinks(path)
		if err != nil {
			continue // not every system has every file
		}
		if err := add(real, path, readOnly); err != nil {
			return nil, nil, err
		}
	}
	for _, device := range devices {
		path := filepath.Join("/dev", device)
		if err := add(path, path, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NOEXEC); err != nil {
			return nil, nil, err
		}
	}
	for _, show := range o.Show {
		attrs := uint64(readOnly)
		if show.Write {
			attrs = writable
		}
		if show.Write || !systems(show.Real) {
			a, err := take(show.Real, show.Real, attrs)
			if err != nil {
				return nil, nil, fmt.Errorf("show %s: %w; the connector's user must be able to reach it", show.Path, err)
			}
			if show.Owner != 0 {
				if err := setOwner(a.fd, show.Owner); err != nil {
					return nil, nil, fmt.Errorf("show %s: %w", show.Path, err)
				}
			}
			attachments = append(attachments, a)
		}
		if show.Path != show.Real {
			symlinks = append(symlinks, [2]string{show.Real, show.Path})
		}
	}
	return attachments, symlinks, nil
}

func hidden(path string, hide []string) bool {
	return slices.ContainsFunc(hide, func(dir string) bool { return within(path, dir) })
}

// take detaches a copy of the mounts at and below source, in which no link may have appeared since it was looked up.
func take(source, target string, attrs uint64) (attachment, error) {
	place, err := unix.Openat2(unix.AT_FDCWD, source, &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_SYMLINKS})
	if err != nil {
		return attachment{}, err
	}
	defer shut(place)
	fd, err := unix.OpenTree(place, "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE|unix.AT_EMPTY_PATH)
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) {
		return attachment{}, unsupported("take "+source+" into the cell", err)
	}
	if err != nil {
		return attachment{}, err
	}
	var info unix.Stat_t
	if err := unix.Fstat(fd, &info); err != nil {
		return attachment{}, err
	}
	if err := setAttr(fd, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, attrs); err != nil {
		return attachment{}, err
	}
	return attachment{fd, target, info.Mode&unix.S_IFMT == unix.S_IFDIR}, nil
}

// setAttr adds attributes to a mount. It clears none, so those that an outer container has locked do not matter.
func setAttr(fd int, path string, flags uint, attrs uint64) error {
	if err := unix.MountSetattr(fd, path, flags, &unix.MountAttr{Attr_set: attrs}); err != nil {
		return unsupported("make a mount read-only (Linux 5.12 or newer)", err)
	}
	return nil
}

// builder makes the new root's tree. It keeps its first error, and does nothing after it.
type builder struct {
	root *os.Root
	err  error
}

func (b *builder) tree(o *order, attachments []attachment, symlinks [][2]string) {
	for _, dir := range []string{"/proc", "/dev/shm", "/etc", insideTemp, insideHome} {
		b.dir(dir)
	}
	b.scratch(o)
	users, groups := accounts(o)
	b.file("/etc/passwd", users)
	b.file("/etc/group", groups)
	for name, to := range links {
		b.link(to, "/dev/"+name)
	}
	for _, a := range attachments {
		b.attach(a)
	}
	for _, s := range symlinks {
		b.link(s[0], s[1])
	}
	b.hide(o.Hide)
	b.mount("proc", "/proc", unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC)
}

// accounts are the cell's user and root alone: the host's are no business of the command.
func accounts(o *order) (users, groups string) {
	uid, gid := ids(o)
	users = fmt.Sprintf("root:x:0:0:root:/:/bin/sh\ncell:x:%d:%d:cell:%s:/bin/sh\n", uid, gid, insideHome)
	return users, fmt.Sprintf("root:x:0:\ncell:x:%d:\n", gid)
}

// ids returns the user and the group that the command will have.
func ids(o *order) (uid, gid int) {
	if o.User != 0 {
		return o.User, o.User
	}
	return os.Getuid(), os.Getgid()
}

func (b *builder) dir(path string) {
	if b.err != nil {
		return
	}
	if err := b.root.MkdirAll(inRoot(path), 0o755); err != nil {
		b.err = fmt.Errorf("make %s in the cell: %w", path, cause(err))
	}
}

func (b *builder) file(path, text string) {
	if b.err != nil {
		return
	}
	b.dir(filepath.Dir(path))
	if err := b.root.WriteFile(inRoot(path), []byte(text), 0o644); err != nil {
		b.err = fmt.Errorf("make %s in the cell: %w", path, cause(err))
	}
}

// link makes a symbolic link unless something of that name is shown already.
func (b *builder) link(to, path string) {
	if b.err != nil || b.exists(path) {
		return
	}
	b.dir(filepath.Dir(path))
	if err := b.root.Symlink(to, inRoot(path)); err != nil {
		b.err = fmt.Errorf("link %s in the cell: %w", path, err)
	}
}

// exists is also true of what cannot be looked at, because a link on the way there leads elsewhere.
func (b *builder) exists(path string) bool {
	_, err := b.root.Lstat(inRoot(path))
	return !errors.Is(err, fs.ErrNotExist)
}

// attach puts a mount in its place, which it makes if need be.
func (b *builder) attach(a attachment) {
	if b.err != nil {
		return
	}
	defer shut(a.fd)
	if !b.exists(a.path) {
		if a.dir {
			b.dir(a.path)
		} else {
			b.file(a.path, "")
		}
	}
	b.move(a.fd, a.path)
}

// move attaches a detached mount. The way to its place follows no link: one could lead out of the new root.
func (b *builder) move(fd int, path string) {
	if b.err != nil {
		return
	}
	place, err := unix.Openat2(unix.AT_FDCWD, inRoot(path), &unix.OpenHow{
		Flags: unix.O_PATH | unix.O_CLOEXEC | unix.O_NOFOLLOW, Resolve: unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_BENEATH,
	})
	if err != nil {
		b.err = fmt.Errorf("show %s: its place in the cell: %w", path, err)
		return
	}
	defer shut(place)
	if err := unix.MoveMount(fd, "", place, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH); err != nil {
		b.err = unsupported("mount "+path, err)
	}
}

// hide covers what shown directories contain and the command must not see.
func (b *builder) hide(paths []string) {
	for _, path := range paths {
		if b.err != nil || !b.exists(path) {
			continue
		}
		info, err := b.root.Lstat(inRoot(path))
		if err != nil {
			b.err = fmt.Errorf("hide %s: %w", path, cause(err))
			return
		}
		if info.IsDir() {
			b.mount("tmpfs", path, unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC, "mode", "0555", "size", "4k")
			continue
		}
		const empty = "/etc/.hidden"
		b.file(empty, "")
		if b.err != nil {
			return
		}
		a, err := take(inRoot(empty), path, unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC)
		if err != nil {
			b.err = fmt.Errorf("hide %s: %w", path, err)
			return
		}
		b.attach(a)
	}
}

// scratch gives HOME, TMPDIR and /dev/shm a file system together, so that one limit holds for all three.
func (b *builder) scratch(o *order) {
	const inodes = 65536 // each takes about a kilobyte of memory that no limit counts
	b.mount("tmpfs", insideTemp, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV,
		"mode", "0755", "size", fmt.Sprint(o.Limits.Disk), "nr_inodes", fmt.Sprint(inodes))
	uid, gid := ids(o)
	for _, part := range []struct{ name, path string }{{"home", insideHome}, {"shm", "/dev/shm"}, {"tmp", insideTemp}} { // the last covers the whole
		if b.err != nil {
			return
		}
		source := inRoot(filepath.Join(insideTemp, part.name))
		if err := errors.Join(b.root.Mkdir(source, 0o700), b.root.Lchown(source, uid, gid)); err != nil {
			b.err = fmt.Errorf("make %s in the cell: %w", part.path, err)
			return
		}
		a, err := take(source, part.path, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV)
		if err != nil {
			b.err = fmt.Errorf("make %s in the cell: %w", part.path, err)
			return
		}
		b.attach(a)
	}
}

// mount makes a new file system and puts it in its place. Options are names and values in turn.
func (b *builder) mount(kind, path string, attrs int, options ...string) {
	if b.err != nil {
		return
	}
	fail := func(err error) { b.err = unsupported("mount "+kind+" at "+path, err) }
	config, err := unix.Fsopen(kind, unix.FSOPEN_CLOEXEC)
	if err != nil {
		fail(err)
		return
	}
	defer shut(config)
	for option := range slices.Chunk(options, 2) {
		if err := unix.FsconfigSetString(config, option[0], option[1]); err != nil {
			fail(err)
			return
		}
	}
	if err := unix.FsconfigCreate(config); err != nil {
		fail(err)
		return
	}
	fd, err := unix.Fsmount(config, unix.FSMOUNT_CLOEXEC, attrs)
	if err != nil {
		fail(err)
		return
	}
	defer shut(fd)
	b.move(fd, path)
}

// shut closes a descriptor through which nothing is written, so that closing has nothing to lose.
func shut(fd int) { _ = unix.Close(fd) }

// inRoot makes an absolute path one below the current directory, which is the new root.
func inRoot(path string) string {
	if rest := strings.TrimPrefix(path, "/"); rest != "" {
		return rest
	}
	return "."
}
