package cell

import (
	"testing"

	"golang.org/x/sys/unix"
)

// TestFilter runs the program as the kernel would.
func TestFilter(t *testing.T) {
	const allowed = unix.SECCOMP_RET_ALLOW
	denied := func(errno unix.Errno) uint32 { return unix.SECCOMP_RET_ERRNO | uint32(errno) }
	program, err := filter("amd64")
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		arch, number uint32
		args         [2]uint32
		want         uint32
	}{
		"read":                   {unix.AUDIT_ARCH_X86_64, unix.SYS_READ, [2]uint32{}, allowed},
		"read of 32 bits":        {unix.AUDIT_ARCH_I386, unix.SYS_READ, [2]uint32{}, denied(unix.ENOSYS)},
		"mount of 32 bits":       {unix.AUDIT_ARCH_I386, 21, [2]uint32{}, denied(unix.ENOSYS)},
		"read of x32":            {unix.AUDIT_ARCH_X86_64, x32Bit | unix.SYS_READ, [2]uint32{}, denied(unix.ENOSYS)},
		"mount":                  {unix.AUDIT_ARCH_X86_64, unix.SYS_MOUNT, [2]uint32{}, denied(unix.EPERM)},
		"clone3":                 {unix.AUDIT_ARCH_X86_64, unix.SYS_CLONE3, [2]uint32{}, denied(unix.ENOSYS)},
		"clone of a thread":      {unix.AUDIT_ARCH_X86_64, unix.SYS_CLONE, [2]uint32{unix.CLONE_THREAD | unix.CLONE_VM}, allowed},
		"clone into a namespace": {unix.AUDIT_ARCH_X86_64, unix.SYS_CLONE, [2]uint32{unix.CLONE_NEWUSER | uint32(unix.SIGCHLD)}, denied(unix.EPERM)},
		"ioctl":                  {unix.AUDIT_ARCH_X86_64, unix.SYS_IOCTL, [2]uint32{0, unix.TCGETS}, allowed},
		"typing into a terminal": {unix.AUDIT_ARCH_X86_64, unix.SYS_IOCTL, [2]uint32{0, unix.TIOCSTI}, denied(unix.EPERM)},
		"unix socket":            {unix.AUDIT_ARCH_X86_64, unix.SYS_SOCKET, [2]uint32{unix.AF_UNIX}, allowed},
		"netlink socket":         {unix.AUDIT_ARCH_X86_64, unix.SYS_SOCKET, [2]uint32{unix.AF_NETLINK}, allowed},
		"packet socket":          {unix.AUDIT_ARCH_X86_64, unix.SYS_SOCKET, [2]uint32{unix.AF_PACKET}, denied(unix.EAFNOSUPPORT)},
		"vsock socket":           {unix.AUDIT_ARCH_X86_64, unix.SYS_SOCKET, [2]uint32{unix.AF_VSOCK}, denied(unix.EAFNOSUPPORT)},
	} {
		if got := evaluate(t, program, test.arch, test.number, test.args); got != test.want {
			t.Errorf("%s: %#x, not %#x", name, got, test.want)
		}
	}
	for _, call := range append(refused, missing...) {
		if got := evaluate(t, program, unix.AUDIT_ARCH_X86_64, call, [2]uint32{}); got == allowed {
			t.Errorf("call %d is allowed", call)
		}
	}
	if _, err := filter("riscv64"); err == nil {
		t.Error("a filter for a machine that it was not written for")
	}
}

// evaluate is the part of BPF that the filter uses.
func evaluate(t *testing.T, program []unix.SockFilter, arch, number uint32, args [2]uint32) uint32 {
	t.Helper()
	data := map[uint32]uint32{atNumber: number, atArch: arch, atArgument: args[0], atArgument + 8: args[1]}
	var a uint32
	for pc := 0; ; pc++ {
		in := program[pc]
		holds := false
		switch in.Code {
		case unix.BPF_LD | unix.BPF_W | unix.BPF_ABS:
			a = data[in.K]
			continue
		case unix.BPF_RET | unix.BPF_K:
			return in.K
		case unix.BPF_JMP | unix.BPF_K | unix.BPF_JEQ:
			holds = a == in.K
		case unix.BPF_JMP | unix.BPF_K | unix.BPF_JGE:
			holds = a >= in.K
		case unix.BPF_JMP | unix.BPF_K | unix.BPF_JSET:
			holds = a&in.K != 0
		default:
			t.Fatalf("instruction %#x", in.Code)
		}
		if holds {
			pc += int(in.Jt)
		} else {
			pc += int(in.Jf)
		}
	}
}
