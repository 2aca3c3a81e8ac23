package cell

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// The filter allows what it does not name. It takes away what opens more of the kernel than a server of tools needs, what
// reaches into other processes, and memory that no limit counts. Capabilities, namespaces and Landlock refuse most of it
// already; here the code behind it cannot be reached at all.

// refused get EPERM: no program goes another way, so the plain word is best.
var refused = []uint32{
	// File systems, roots and namespaces.
	unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_PIVOT_ROOT, unix.SYS_CHROOT, unix.SYS_MOUNT_SETATTR, unix.SYS_MOVE_MOUNT,
	unix.SYS_OPEN_TREE, unix.SYS_FSOPEN, unix.SYS_FSCONFIG, unix.SYS_FSMOUNT, unix.SYS_FSPICK, unix.SYS_UNSHARE, unix.SYS_SETNS,
	unix.SYS_NAME_TO_HANDLE_AT, unix.SYS_OPEN_BY_HANDLE_AT, unix.SYS_QUOTACTL, unix.SYS_QUOTACTL_FD, unix.SYS_FANOTIFY_INIT,
	// Other processes.
	unix.SYS_PTRACE, unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV, unix.SYS_PROCESS_MADVISE, unix.SYS_KCMP,
	unix.SYS_PIDFD_GETFD, unix.SYS_SCHED_SETAFFINITY,
	// The kernel's own matters.
	unix.SYS_BPF, unix.SYS_PERF_EVENT_OPEN, unix.SYS_USERFAULTFD, unix.SYS_KEXEC_LOAD, unix.SYS_KEXEC_FILE_LOAD,
	unix.SYS_INIT_MODULE, unix.SYS_FINIT_MODULE, unix.SYS_DELETE_MODULE, unix.SYS_SWAPON, unix.SYS_SWAPOFF, unix.SYS_REBOOT,
	unix.SYS_ACCT, unix.SYS_SYSLOG, unix.SYS_SETTIMEOFDAY, unix.SYS_CLOCK_SETTIME, unix.SYS_CLOCK_ADJTIME, unix.SYS_ADJTIMEX,
	unix.SYS_SETHOSTNAME, unix.SYS_SETDOMAINNAME, unix.SYS_VHANGUP,
	unix.SYS_KEYCTL, unix.SYS_ADD_KEY, unix.SYS_REQUEST_KEY,
}

// missing get ENOSYS: programs know kernels without these, and go another way.
var missing = []uint32{
	unix.SYS_IO_URING_SETUP, unix.SYS_IO_URING_ENTER, unix.SYS_IO_URING_REGISTER,
	unix.SYS_CLONE3, // its flags are in memory, where a filter cannot look
	unix.SYS_MEMFD_CREATE, unix.SYS_MEMFD_SECRET, unix.SYS_SHMGET, unix.SYS_MSGGET, unix.SYS_SEMGET, unix.SYS_MQ_OPEN,
}

// families are the sockets that may be made.
var families = []uint32{unix.AF_UNIX, unix.AF_INET, unix.AF_INET6, unix.AF_NETLINK}

const newNamespaces = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWUSER |
	unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWTIME

// Where a filter finds what it judges: offsets in struct seccomp_data, on machines with the low half of a word first.
const (
	atNumber   = 0
	atArch     = 4
	atArgument = 16 // and 8 more for each further one
)

// x32Bit marks calls of the x32 ABI on amd64: other numbers for the same calls.
const x32Bit = 0x40000000

// loadFilter puts the filter in force for this thread and what it starts.
func loadFilter() error {
	program, err := filter(runtime.GOARCH)
	if err != nil {
		return err
	}
	return installFilter(program)
}

// filter assembles the program.
func filter(arch string) ([]unix.SockFilter, error) {
	audit, ok := map[string]uint32{"amd64": unix.AUDIT_ARCH_X86_64, "arm64": unix.AUDIT_ARCH_AARCH64}[arch]
	if !ok {
		return nil, fmt.Errorf("there is no filter for %s", arch)
	}
	load := func(at uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: at}
	}
	jump := func(test uint16, k uint32, then, otherwise int) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_K | test, K: k, Jt: uint8(then), Jf: uint8(otherwise)}
	}
	answer := func(errno unix.Errno) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(errno)}
	}
	allow := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW}

	program := []unix.SockFilter{
		load(atArch),
		jump(unix.BPF_JEQ, audit, 1, 0), // another ABI has other numbers: none of it
		answer(unix.ENOSYS),
		load(atNumber),
		jump(unix.BPF_JGE, x32Bit, 0, 1),
		answer(unix.ENOSYS),
	}
	deny := func(calls []uint32, errno unix.Errno) {
		for _, call := range calls {
			program = append(program, jump(unix.BPF_JEQ, call, 0, 1), answer(errno))
		}
	}
	deny(refused, unix.EPERM)
	deny(missing, unix.ENOSYS)
	// Each of these ends in an answer, so that the number needs no second load.
	judge := func(call uint32, body ...unix.SockFilter) {
		program = append(program, jump(unix.BPF_JEQ, call, 0, len(body)))
		program = append(program, body...)
	}
	judge(unix.SYS_CLONE, load(atArgument), jump(unix.BPF_JSET, newNamespaces, 0, 1), answer(unix.EPERM), allow)
	judge(unix.SYS_IOCTL, load(atArgument+8), jump(unix.BPF_JEQ, unix.TIOCSTI, 0, 1), answer(unix.EPERM), allow)
	sockets := []unix.SockFilter{load(atArgument)}
	for i, family := range families {
		sockets = append(sockets, jump(unix.BPF_JEQ, family, len(families)-i, 0))
	}
	judge(unix.SYS_SOCKET, append(sockets, answer(unix.EAFNOSUPPORT), allow)...)
	return append(program, allow), nil
}
