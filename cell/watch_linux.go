package cell

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// lookEvery is how often the watch sums memory, and lookCloser how often once half of the limit is in use.
	lookEvery  = 200 * time.Millisecond
	lookCloser = 20 * time.Millisecond
	// lookAround is lookEvery without namespaces, where each look goes through all processes of the machine.
	lookAround = 500 * time.Millisecond
	// wardenThreads is what the warden's own threads may take of its user's processes.
	wardenThreads = 16
)

// watch ends the cell when it uses more than its limits. A kernel that bounds a group of processes (cgroups) would need
// rights that a connector does not have; a sum that is taken often needs none.
func (w *warden) watch() {
	self := os.Getpid()
	limits := w.order.Limits
	every, processes := lookEvery, limits.Processes+wardenThreads // first the kernel refuses more
	if !w.order.Isolated {
		every, processes = lookAround, limits.Processes
	}
	for timer := time.NewTimer(lookEvery / 4); ; {
		<-timer.C
		pids := w.inCell(self)
		used := memory(pids, residentMemory)
		if used > limits.Memory {
			// Pages that processes share after a fork were counted for each; only now is the exact sum worth its price.
			used = memory(pids, proportionalMemory)
		}
		switch {
		case used > limits.Memory:
			w.end("out of memory: the cell's limit of " + size(limits.Memory))
		case len(pids) > processes: // the kernel's own limit does not hold without namespaces, nor for root
			w.end(fmt.Sprintf("too many processes: the cell's limit of %d", limits.Processes))
		}
		if used > limits.Memory/2 {
			timer.Reset(lookCloser)
		} else {
			timer.Reset(every)
		}
	}
}

// end ends the cell for a reason of the warden's.
func (w *warden) end(reason string) {
	w.say(report{Ended: true, Reason: reason})
	w.leave()
	exit(0)
}

// leave ends what the command has left behind. With namespaces, the kernel does that when the warden exits.
func (w *warden) leave() {
	if w.order.Isolated {
		return
	}
	// Orphans become the warden's own children: when it has no child, there is nobody. A list of /proc alone could miss one
	// that changes its parent while the list is made.
	for {
		switch ended, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); {
		case errors.Is(err, unix.ECHILD):
			w.clear()
			return
		case ended > 0:
			continue
		}
		for _, pid := range descendants(os.Getpid()) {
			_ = unix.Kill(pid, unix.SIGKILL) // it may have ended meanwhile
		}
		<-time.After(time.Millisecond)
	}
}

func (w *warden) clear() {
	_ = os.RemoveAll(w.order.Home) // the nursery removes the rest, or the next one
	_ = os.RemoveAll(w.order.Temp)
}

// inCell lists the cell's processes without the warden.
func (w *warden) inCell(self int) []int {
	if !w.order.Isolated {
		return descendants(self)
	}
	pids := processes()
	for i, pid := range pids {
		if pid == self {
			return append(pids[:i], pids[i+1:]...)
		}
	}
	return pids
}

// processes lists what /proc shows.
func processes() []int {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1) // what was read counts
	var pids []int
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// descendants lists the children of a process, theirs and so on, without those that have ended and wait to be reaped.
func descendants(of int) []int {
	children := map[int][]int{}
	for _, pid := range processes() {
		if s, ok := readStat(pid); ok && s.state != 'Z' && s.state != 'X' {
			children[s.parent] = append(children[s.parent], pid)
		}
	}
	found := children[of]
	for i := 0; i < len(found); i++ {
		found = append(found, children[found[i]]...)
	}
	return found
}

// stat is what /proc/<pid>/stat says of a process.
type stat struct {
	state  byte
	parent int
}

func readStat(pid int) (stat, bool) {
	text := readProc(pid, "stat")
	// The name, in parentheses, may hold anything. What follows begins with the third field.
	_, after, _ := strings.Cut(string(text[max(0, bytes.LastIndexByte(text, ')')):]), ") ")
	fields := strings.Fields(after)
	if len(fields) < 2 {
		return stat{}, false
	}
	parent, err := strconv.Atoi(fields[1])
	if err != nil {
		return stat{}, false
	}
	return stat{state: fields[0][0], parent: parent}, true
}

// memory sums what each process uses, in bytes.
func memory(pids []int, of func(pid int) (kilobytes int64)) int64 {
	var sum int64
	for _, pid := range pids {
		sum += of(pid) << 10
	}
	return sum
}

// residentMemory is cheap and counts shared pages for each process that has them.
func residentMemory(pid int) int64 {
	return sumFields(readProc(pid, "status"), "RssAnon:", "RssShmem:", "VmSwap:")
}

// proportionalMemory divides shared pages among those that share them. A process that forbids the look counts in full.
func proportionalMemory(pid int) int64 {
	if sum := sumFields(readProc(pid, "smaps_rollup"), "Pss_Anon:", "Pss_Shmem:", "SwapPss:"); sum > 0 {
		return sum
	}
	return residentMemory(pid)
}

// sumFields adds the values of lines such as "RssAnon:   1234 kB".
func sumFields(text []byte, names ...string) int64 {
	var sum int64
	for line := range bytes.Lines(text) {
		for _, name := range names {
			if value, ok := bytes.CutPrefix(line, []byte(name)); ok {
				n, _ := strconv.ParseInt(string(bytes.TrimSuffix(bytes.TrimSpace(value), []byte(" kB"))), 10, 64) // the kernel writes a number
				sum += n
			}
		}
	}
	return sum
}

// readProc reads what the kernel says of a process, in one go and past the runtime's poller, which would make each look four
// times as dear. Of a process that has ended there is nothing to read.
func readProc(pid int, name string) []byte {
	fd, err := unix.Open("/proc/"+strconv.Itoa(pid)+"/"+name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	defer shut(fd)
	buf := make([]byte, 8<<10) // each of them is shorter
	n, err := unix.Read(fd, buf)
	if err != nil {
		return nil
	}
	return buf[:n]
}
