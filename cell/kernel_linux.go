package cell

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
	"kernel.org/pub/linux/libs/security/libcap/psx"
)

// The two system calls that take a structure and have no safe form in golang.org/x/sys for what is needed here: this file
// is the only one of the module that imports unsafe.

// clearCapabilities empties the permitted, effective and inheritable sets of every thread.
func clearCapabilities() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	if _, _, errno := psx.Syscall3(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&none[0])), 0); errno != 0 {
		return fmt.Errorf("capset: %w", errno)
	}
	return nil
}

// installFilter makes the program the filter of this thread's system calls, and of all processes that it starts.
func installFilter(program []unix.SockFilter) error {
	form := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	if _, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&form))); errno != 0 {
		return fmt.Errorf("seccomp: %w", errno)
	}
	return nil
}
