package cell

import (
	"bufio"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// needed are the capabilities with which a nursery can do without user namespaces.
var needed = []uint{
	unix.CAP_SYS_ADMIN, unix.CAP_NET_ADMIN, unix.CAP_SETUID, unix.CAP_SETGID, unix.CAP_SETPCAP, unix.CAP_CHOWN, unix.CAP_DAC_OVERRIDE, unix.CAP_KILL,
}

// isolate sets the namespaces of a warden and returns the user that it becomes, or 0 if it stays who it is because it has
// a user namespace of its own.
func (n *Nursery) isolate(attr *syscall.SysProcAttr, o *order) int {
	attr.Cloneflags = unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS
	if !o.Network {
		attr.Cloneflags |= unix.CLONE_NEWNET
	}
	if user, ok := cellUser(n.block, o.Slot); ok && capable(needed...) {
		return user
	}
	uid, gid := os.Geteuid(), os.Getegid()
	attr.Cloneflags |= unix.CLONE_NEWUSER
	attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: inside(uid), HostID: uid, Size: 1}}
	attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: inside(gid), HostID: gid, Size: 1}}
	// Without these the warden, whose user is not 0, would lose what it needs for the set-up by its exec.
	attr.AmbientCaps = []uintptr{unix.CAP_SYS_ADMIN, unix.CAP_NET_ADMIN, unix.CAP_SETPCAP}
	return 0
}

// firstAccount is where ids of people and services begin by convention.
const firstAccount = 1000

// inside is the id that stands for one of the connector's in a user namespace: itself, but never root's, which programs and
// the kernel treat as special even without rights.
func inside(id int) int {
	if id == 0 {
		return firstAccount
	}
	return id
}

// capable says whether this process has all of the capabilities now.
func capable(caps ...uint) bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if unix.Capget(&header, &data[0]) != nil {
		return false
	}
	for _, c := range caps {
		if data[c/32].Effective&(1<<(c%32)) == 0 {
			return false
		}
	}
	return true
}

// idRange is a line of /proc/self/uid_map: ids that exist in this user namespace.
type idRange struct{ first, count int }

// cellUser chooses the user and group of a cell: one of the Nursery's block, or, where that is not mapped, one from the top
// of what is, but not 65534, which stands for all that is not mapped.
func cellUser(block, slot int) (int, bool) {
	users, err := idMap("/proc/self/uid_map")
	if err != nil {
		return 0, false
	}
	groups, err := idMap("/proc/self/gid_map")
	if err != nil {
		return 0, false
	}
	if id := block + slot; mapped(users, id) && mapped(groups, id) {
		return id, true
	}
	top := 0
	for _, r := range users {
		top = max(top, r.first+r.count-1)
	}
	const nobody = 65534
	for id := top; id > firstAccount; id-- {
		if id == nobody || !mapped(users, id) || !mapped(groups, id) {
			continue
		}
		if slot--; slot < 0 {
			return id, true
		}
	}
	return 0, false
}

func mapped(ranges []idRange, id int) bool {
	for _, r := range ranges {
		if id >= r.first && id-r.first < r.count {
			return true
		}
	}
	return false
}

func idMap(path string) ([]idRange, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read the map of users: %w", err)
	}
	defer file.Close()
	var ranges []idRange
	for lines := bufio.NewScanner(file); lines.Scan(); {
		var r idRange
		var outside int
		if _, err := fmt.Sscan(lines.Text(), &r.first, &outside, &r.count); err != nil {
			return nil, fmt.Errorf("read the map of users: %w", err)
		}
		ranges = append(ranges, r)
	}
	return ranges, nil
}
