// Command child is what runs in the cells of the tests: it does one thing, named by its first argument. It is built without
// the race detector, whose memory no limit would allow. It does not know what the tests expect.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

func main() {
	args := os.Args[2:]
	switch os.Args[1] {
	case "hello":
		fmt.Println("hello")
	case "cat":
		io.Copy(os.Stdout, os.Stdin)
	case "wait":
		fmt.Println("ready")
		forever()
	case "exit":
		os.Exit(7)
	case "euid":
		fmt.Println(os.Geteuid())
	case "stubborn":
		signal.Ignore(syscall.SIGTERM, syscall.SIGPIPE)
		fmt.Println("ready")
		for {
			time.Sleep(time.Hour)
		}
	case "tree": // a tree of processes, one of them in a session of its own, all deaf to SIGTERM; then exits if told so
		start("stubborn", nil)
		start("stubborn", &syscall.SysProcAttr{Setsid: true})
		fmt.Println("ready")
		if len(args) > 0 {
			return
		}
		forever()
	case "daemon": // a double fork: the middle process ends at once
		start("tree", &syscall.SysProcAttr{Setsid: true}, "and exit")
		fmt.Println("ready")
	case "environment":
		report(map[string]any{"env": os.Environ(), "home": list(os.Getenv("HOME")), "temp": list(os.Getenv("TMPDIR")), "dir": dir()})
	case "write":
		for _, path := range args {
			fmt.Println(os.WriteFile(path, []byte("x"), 0o600) == nil)
		}
	case "read":
		for _, path := range args {
			text, err := os.ReadFile(path)
			fmt.Println(string(text), err)
		}
	case "attack":
		var t targets
		if err := json.Unmarshal([]byte(args[0]), &t); err != nil {
			panic(err)
		}
		report(attack(t))
	case "dial":
		conn, err := net.DialTimeout("tcp", args[0], 2*time.Second)
		fmt.Println(conn != nil, err)
	case "anonymous":
		eat(unix.MAP_PRIVATE | unix.MAP_ANON)
	case "shared":
		eat(unix.MAP_SHARED | unix.MAP_ANON)
	case "spread": // many processes, each below the limit
		for range 8 {
			start("some", nil)
		}
		forever()
	case "some":
		grab(unix.MAP_PRIVATE|unix.MAP_ANON, 32<<20)
		forever()
	case "forked": // pages that are shared after a fork count once
		exec.Command("/usr/bin/perl", "-e", `my $x = "x" x (20 << 20); for (1..4) { fork or do { sleep 5; exit } } sleep 2; print "done\n"`).Run()
		fmt.Println("done")
	case "memfd":
		fd, err := unix.MemfdCreate("x", 0)
		fmt.Println(fd >= 0, err)
	case "processes":
		n := 0
		for ; n < 1000; n++ {
			if err := exec.Command("/bin/sleep", "100").Start(); err != nil {
				break
			}
		}
		fmt.Println(n)
	case "bomb":
		for {
			exec.Command("/proc/self/exe", "bomb").Start()
		}
	case "files":
		n := 0
		for ; n < 10000; n++ {
			if _, err := unix.Open("/dev/null", unix.O_RDONLY, 0); err != nil {
				break
			}
		}
		fmt.Println(n)
	case "disk":
		var sum int64
		block := make([]byte, 1<<20)
		for _, dir := range []string{os.Getenv("HOME"), os.Getenv("TMPDIR"), "/dev/shm"} {
			f, err := os.Create(filepath.Join(dir, "fill"))
			for err == nil {
				var n int
				n, err = f.Write(block)
				sum += int64(n)
			}
		}
		fmt.Println(sum)
	case "limits":
		var set unix.CPUSet
		unix.SchedGetaffinity(0, &set)
		nice, _ := unix.Getpriority(unix.PRIO_PROCESS, 0)
		score, _ := os.ReadFile("/proc/self/oom_score_adj")
		host, _ := os.Hostname()
		core := unix.Rlimit{}
		unix.Getrlimit(unix.RLIMIT_CORE, &core)
		sid, _ := unix.Getsid(0)
		mask := unix.Umask(0)
		report(map[string]any{"cpus": set.Count(), "nice": 20 - nice, "score": strings.TrimSpace(string(score)), "host": host,
			"core": core.Max, "session": sid == os.Getpid(), "umask": fmt.Sprintf("%o", mask), "status": status()})
	default:
		panic("no such role: " + os.Args[1])
	}
}

func start(role string, attr *syscall.SysProcAttr, args ...string) {
	cmd := exec.Command("/proc/self/exe", append([]string{role}, args...)...)
	cmd.SysProcAttr = attr
	if err := cmd.Start(); err != nil {
		panic(err)
	}
}

func report(v any) {
	if err := json.NewEncoder(os.Stdout).Encode(v); err != nil {
		panic(err)
	}
}

func list(path string) []string {
	names := []string{}
	entries, err := os.ReadDir(path)
	if err != nil {
		return []string{err.Error()}
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func dir() string { d, _ := os.Getwd(); return d }

func status() map[string]string {
	fields := map[string]string{}
	text, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(line, ":")
		fields[name] = strings.TrimSpace(value)
	}
	return fields
}

func grab(flags, bytes int) {
	m, err := unix.Mmap(-1, 0, bytes, unix.PROT_READ|unix.PROT_WRITE, flags)
	if err != nil {
		fmt.Println("refused", err)
		os.Exit(9)
	}
	for i := 0; i < len(m); i += 4096 {
		m[i] = 1
	}
}

func eat(flags int) {
	for {
		grab(flags, 4<<20)
	}
}

// targets is what the tests have laid out for an attack.
type targets struct {
	Canary   string   // in the parent's environment
	Files    []string // world-readable
	Dirs     []string
	Parent   int
	Others   []int // processes of other cells, as the host counts
	Path     string
	Abstract string
}

// attack tries, and says of each try "refused: …" or "GOT …".
func attack(t targets) map[string]string {
	results := map[string]string{}
	try := func(name string, f func() (string, error)) {
		got, err := f()
		if err != nil {
			results[name] = "refused: " + err.Error()
		} else {
			results[name] = "GOT " + got
		}
	}
	call := func(name string, number uintptr, args ...uintptr) {
		var a [6]uintptr
		copy(a[:], args)
		try(name, func() (string, error) {
			r, _, errno := unix.RawSyscall6(number, a[0], a[1], a[2], a[3], a[4], a[5])
			if errno != 0 {
				return "", errno
			}
			return fmt.Sprint(r), nil
		})
	}
	at := func(s string) uintptr { b, _ := unix.BytePtrFromString(s); return uintptr(unsafe.Pointer(b)) }

	try("environment of others", func() (string, error) {
		pids, _ := filepath.Glob("/proc/[0-9]*")
		for _, pid := range pids {
			text, _ := os.ReadFile(pid + "/environ")
			if strings.Contains(string(text), t.Canary) {
				return pid, nil
			}
		}
		return "", fmt.Errorf("not in %d processes", len(pids))
	})
	for _, path := range t.Files {
		try("file "+path, func() (string, error) { text, err := os.ReadFile(path); return string(text), err })
		for _, pid := range []string{"1", "self"} {
			try("file by root of "+pid+" "+path, func() (string, error) {
				text, err := os.ReadFile("/proc/" + pid + "/root/.." + path)
				return string(text), err
			})
		}
	}
	for _, path := range t.Dirs {
		try("dir "+path, func() (string, error) {
			entries, err := os.ReadDir(path)
			if err == nil && len(entries) == 0 {
				err = errors.New("empty")
			}
			return fmt.Sprint(entries), err
		})
	}
	for _, pid := range append([]int{1, t.Parent}, t.Others...) {
		try(fmt.Sprintf("memory of %d", pid), func() (string, error) {
			f, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", pid), os.O_RDWR, 0)
			return fmt.Sprint(f), err
		})
		try(fmt.Sprintf("readv of %d", pid), func() (string, error) {
			b := make([]byte, 8)
			n, err := unix.ProcessVMReadv(pid, []unix.Iovec{{Base: &b[0], Len: 8}}, []unix.RemoteIovec{{Base: 0x400000, Len: 8}}, 0)
			return fmt.Sprint(n), err
		})
		try(fmt.Sprintf("ptrace of %d", pid), func() (string, error) { return "", unix.PtraceAttach(pid) })
		try(fmt.Sprintf("descriptors of %d", pid), func() (string, error) {
			entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
			return fmt.Sprint(entries), err
		})
		try(fmt.Sprintf("signal to %d", pid), func() (string, error) { return "", unix.Kill(pid, 0) })
	}
	try("unix socket by path", func() (string, error) { _, err := net.Dial("unix", t.Path); return "", err })
	try("unix socket by abstract name", func() (string, error) { _, err := net.Dial("unix", "@"+t.Abstract); return "", err })
	for _, path := range []string{"/x", "/etc/x", "/usr/x", "/usr/bin/x", "/proc/x", "/dev/x", "/etc/passwd", "/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger"} {
		try("write "+path, func() (string, error) {
			f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o600)
			return fmt.Sprint(f), err
		})
	}
	try("device", func() (string, error) {
		return "", unix.Mknod(filepath.Join(os.Getenv("TMPDIR"), "disk"), unix.S_IFBLK|0o600, int(unix.Mkdev(254, 0)))
	})
	call("mount", unix.SYS_MOUNT, at("x"), at("/tmp"), at("tmpfs"), 0, 0)
	call("unmount", unix.SYS_UMOUNT2, at("/tmp"), unix.MNT_DETACH)
	call("remount", unix.SYS_MOUNT, at("x"), at("/"), 0, unix.MS_REMOUNT|unix.MS_BIND, 0)
	call("open_tree", unix.SYS_OPEN_TREE, ^uintptr(99), at("/"), 0)
	call("fsopen", unix.SYS_FSOPEN, at("tmpfs"), 0)
	call("chroot", unix.SYS_CHROOT, at("/tmp"))
	call("unshare user", unix.SYS_UNSHARE, unix.CLONE_NEWUSER)
	call("unshare mount", unix.SYS_UNSHARE, unix.CLONE_NEWNS)
	call("clone user", unix.SYS_CLONE, unix.CLONE_NEWUSER|uintptr(unix.SIGCHLD))
	call("clone3", unix.SYS_CLONE3, 0, 0)
	call("session keyring", unix.SYS_KEYCTL, unix.KEYCTL_READ, ^uintptr(2), 0, 0)
	call("add key", unix.SYS_ADD_KEY, at("user"), at("k"), at("v"), 1, ^uintptr(2))
	call("sched_setaffinity", unix.SYS_SCHED_SETAFFINITY, 0, 8, at("\xff\xff\xff\xff\xff\xff\xff\xff"))
	call("io_uring", unix.SYS_IO_URING_SETUP, 1, 0)
	call("bpf", unix.SYS_BPF, 0, 0, 0)
	call("perf", unix.SYS_PERF_EVENT_OPEN, 0, 0, 0, 0, 0)
	call("userfaultfd", unix.SYS_USERFAULTFD, 1)
	call("memfd", unix.SYS_MEMFD_CREATE, at("x"), 0)
	call("shmget", unix.SYS_SHMGET, 0, 4096, unix.IPC_CREAT|0o600)
	call("msgget", unix.SYS_MSGGET, 0, unix.IPC_CREAT|0o600)
	call("handle", unix.SYS_NAME_TO_HANDLE_AT, 0, 0, 0, 0, 0)
	call("packet socket", unix.SYS_SOCKET, unix.AF_PACKET, unix.SOCK_RAW, 0)
	call("raw socket", unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_RAW, 1)
	call("vsock", unix.SYS_SOCKET, unix.AF_VSOCK, unix.SOCK_STREAM, 0)
	call("crypto socket", unix.SYS_SOCKET, 38, unix.SOCK_SEQPACKET, 0)
	call("setuid", unix.SYS_SETUID, 0)
	call("host name", unix.SYS_SETHOSTNAME, at("x"), 1)
	call("terminal input", unix.SYS_IOCTL, 0, unix.TIOCSTI, at("x"))
	call("higher priority", unix.SYS_SETPRIORITY, 0, 0, 0)
	try("more processes", func() (string, error) {
		return "", unix.Prlimit(0, unix.RLIMIT_NPROC, &unix.Rlimit{Cur: 9999, Max: 9999}, nil)
	})
	return results
}

func forever() {
	for {
		time.Sleep(time.Hour)
	}
}
