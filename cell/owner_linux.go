package cell

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// ownersFD is the first of the descriptors through which a warden gets its owners.
const ownersFD = 6

// owners makes the user of a cell the owner, inside, of the paths that it may write: their real owner is mapped to it by a
// user namespace for each such owner, in the order of the descriptors. Only a nursery with rights needs that, and can do it:
// elsewhere the command has the connector's own user.
func (n *Nursery) owners(o *order) (files []*os.File, err error) {
	known := map[[2]uint32]int{}
	for i, show := range o.Show {
		if !show.Write {
			continue
		}
		var info unix.Stat_t
		if err := unix.Stat(show.Real, &info); err != nil {
			return files, fmt.Errorf("%w: show %s: %w", ErrSpec, show.Path, err)
		}
		if info.Uid == 0 {
			// What the cell makes there would be root's outside, and could carry the set-user-id bit.
			return files, fmt.Errorf("%w: %s is to be writable and belongs to root; give it to another user: chown", ErrSpec, show.Path)
		}
		owner := [2]uint32{info.Uid, info.Gid}
		if known[owner] == 0 {
			file, err := n.owner(owner, o.User)
			if err != nil {
				return files, fmt.Errorf("%w: map the owner of %s: %w", ErrUnsupported, show.Path, err)
			}
			files = append(files, file)
			known[owner] = ownersFD + len(files) - 1
		}
		o.Show[i].Owner = known[owner]
	}
	return files, nil
}

// owner makes a user namespace in which user stands for the owner. It lives in a process that waits for its order in vain.
func (n *Nursery) owner(owner [2]uint32, user int) (*os.File, error) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	theirs, ours, err := pipe(false)
	if err != nil {
		return nil, err
	}
	defer ours.Close()
	holder, err := n.launcher.start(&os.ProcAttr{
		Dir: "/", Env: []string{}, Files: []*os.File{null, null, null, theirs, null},
		Sys: &syscall.SysProcAttr{
			Cloneflags: unix.CLONE_NEWUSER, Pdeathsig: syscall.SIGKILL,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: int(owner[0]), HostID: user, Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: int(owner[1]), HostID: user, Size: 1}},
		},
	})
	theirs.Close()
	if err != nil {
		return nil, cause(err)
	}
	defer func() {
		_ = holder.Kill() // it is ours to wait for, so it is there
		_, _ = holder.Wait()
	}()
	file, err := os.Open(filepath.Join("/proc", strconv.Itoa(holder.Pid), "ns/user"))
	if err != nil {
		return nil, cause(err)
	}
	return file, nil
}

// setOwner maps the owner of a detached mount, before it can be seen anywhere.
func setOwner(mount, owner int) error {
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(owner)}
	if err := unix.MountSetattr(mount, "", unix.AT_EMPTY_PATH, &attr); err != nil {
		return refusal{fmt.Errorf("its file system does not map owners: %w; move it to ext4, xfs or btrfs, or run the connector as the directory's owner", err)}
	}
	return nil
}
