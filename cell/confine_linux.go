package cell

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"syscall"

	"github.com/landlock-lsm/go-landlock/landlock"
	ll "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"
)

// remedy ends every error that says that the system cannot isolate.
const remedy = "run the connector as root, or allow user namespaces to its user (sysctl user.max_user_namespaces, " +
	"kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns; in a container its seccomp and AppArmor " +
	"profiles, and an unmasked /proc), or set isolation to \"none\" and trust the command with all that its user may see"

// hostName is what a cell's command finds the machine to be called.
const hostName = "cell"

// furnish sets what the namespaces are empty of.
func furnish(network bool) error {
	if err := unix.Sethostname([]byte(hostName)); err != nil {
		return unsupported("set the host name", err)
	}
	if network {
		return nil
	}
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("bring the loopback up: %w", err)
	}
	defer shut(socket)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return fmt.Errorf("bring the loopback up: %w", err)
	}
	request.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(socket, unix.SIOCSIFFLAGS, request); err != nil {
		return unsupported("bring the loopback up", err)
	}
	return nil
}

// confine gives up, for good, all that the set-up needed, and says what is in force. What is given up by the thread alone is
// what the command must not have and the warden cannot misuse: it is out of the command's reach.
func confine(o *order) (string, error) {
	namespaces := []string{"mount", "pid", "ipc", "uts"}
	if o.User == 0 {
		namespaces = append([]string{"user"}, namespaces...)
	}
	if !o.Network {
		namespaces = append(namespaces, "network")
	}
	force := []string{strings.Join(namespaces, ", ") + " namespaces"}

	spareThreads()
	if _, err := unix.KeyctlInt(unix.KEYCTL_JOIN_SESSION_KEYRING, 0, 0, 0, 0); err != nil && err != unix.ENOSYS {
		return "", fmt.Errorf("leave the connector's keyring: %w", err)
	}
	if err := o.Limits.apply(true, o.FirstCPU); err != nil {
		return "", err
	}
	if err := dropCapabilities(o.User); err != nil {
		return "", err
	}
	if o.User != 0 {
		force = append(force, "a user of its own")
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return "", unsupported("forbid new privileges", err)
	}
	// The command has the warden's user, but may not look into it.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return "", unsupported("close the warden's memory", err)
	}
	// The change of user has cleared it. If the parent is gone already, the control pipe says so.
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return "", unsupported("end with the connector", err)
	}
	land, err := restrict(o)
	if err != nil {
		return "", err
	}
	force = append(force, land)
	if err := loadFilter(); err != nil {
		return "", unsupported("filter system calls", err)
	}
	return strings.Join(append(force, "seccomp"), "; "), nil
}

// spareThreads lets the runtime make the threads that it may need while it still can: later the command may have used up
// the processes of their common user.
func spareThreads() {
	const spare = 6
	var all, ready sync.WaitGroup
	ready.Add(spare)
	for range spare {
		all.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			ready.Done()
			ready.Wait()
		})
	}
	all.Wait()
}

// dropCapabilities becomes the user, if there is one to become, and leaves no thread a capability, nor a way to one.
func dropCapabilities(user int) error {
	for c := uintptr(0); c <= unix.CAP_LAST_CAP; c++ {
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil && err != unix.EINVAL { // the kernel knows fewer
			return unsupported("drop capabilities", err)
		}
	}
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return unsupported("drop capabilities", err)
	}
	if user != 0 {
		if err := syscall.Setgroups([]int{}); err != nil {
			return unsupported("leave all groups", err)
		}
		if err := syscall.Setresgid(user, user, user); err != nil {
			return unsupported("change the group", err)
		}
		if err := syscall.Setresuid(user, user, user); err != nil {
			return unsupported("change the user", err)
		}
	}
	if err := clearCapabilities(); err != nil {
		return unsupported("drop capabilities", err)
	}
	return nil
}

// restrict puts Landlock in force for this thread and what it starts, as far as the kernel has it, and says how far that is.
// The warden's other threads stay outside, or they could not send the command a signal.
func restrict(o *order) (string, error) {
	abi, err := ll.LandlockGetABIVersion()
	if err != nil || abi < 1 {
		return unscoped("no landlock", o.Network), nil
	}
	const full = 11 // what the library knows
	writable := []string{o.Home, o.Temp, "/dev/shm"}
	var files []string
	for _, device := range devices {
		files = append(files, "/dev/"+device)
	}
	var sockets []landlock.Rule
	for _, show := range o.Show {
		if !show.Write {
			continue
		}
		var info unix.Stat_t
		if err := unix.Stat(show.Real, &info); err != nil {
			return "", fmt.Errorf("show %s: %w", show.Path, err)
		}
		if info.Mode&unix.S_IFMT == unix.S_IFDIR {
			sockets = append(sockets, landlock.RWDirs(show.Real).WithRefer().WithResolveUnix())
		} else {
			sockets = append(sockets, landlock.RWFiles(show.Real).WithResolveUnix())
		}
	}
	config := landlock.V11
	config.HandledAccessNet = 0 // which network there is, the namespace says
	rules := append(sockets, landlock.RODirs("/"), landlock.RWDirs(writable...).WithRefer(), landlock.RWFiles(files...).IgnoreIfMissing())
	ruleset, flags, err := config.BestEffort().NewRulesetFD(rules...)
	if err != nil {
		return "", unsupported("restrict by Landlock", err)
	}
	if ruleset >= 0 {
		defer shut(ruleset)
		if err := ll.LandlockRestrictSelf(ruleset, flags); err != nil {
			return "", unsupported("restrict by Landlock", err)
		}
	}
	text := fmt.Sprintf("landlock %d", min(abi, full))
	if abi < 2 {
		text = "no landlock" // the first version forbids renaming between directories, which programs need
	}
	if abi < 6 {
		text = unscoped(text, o.Network)
	}
	return text, nil
}

// unscoped adds what a kernel without scopes leaves open.
func unscoped(text string, network bool) string {
	if network {
		return text + " (the host's abstract Unix sockets are in reach: Linux 6.12 would close them)"
	}
	return text
}
