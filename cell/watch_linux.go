package cell

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// lookEvery is how often the watch sums memory, and lookCloser how often once half of the limit is in use.
	lookEvery  = 100 * time.Millisecond
	lookCloser = 20 * time.Millisecond
	// wardenThreads is what the warden's own threads may take of its user's processes.
	wardenThreads = 16
)

// watch ends the cell when it uses more than its limits. A kernel that bounds a group of processes (cgroups) would need
// rights that a connector does not have; a sum that is taken often needs none.
func (w *warden) watch(command int) {
	self := os.Getpid()
	limits := w.order.Limits
	for timer := time.NewTimer(0); ; {
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
		case !w.order.Isolated && len(pids) > limits.Processes:
			w.end(fmt.Sprintf("too many processes: the cell's limit of %d", limits.Processes))
		}
		if used > limits.Memory/2 {
			timer.Reset(lookCloser)
		} else {
			timer.Reset(lookEvery)
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
		for _, pid := range descendants(os.Getpid()) {
			_ = unix.Kill(pid, unix.SIGKILL) // it may have ended meanwhile
		}
		switch ended, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); {
		case errors.Is(err, unix.ECHILD):
			w.clear()
			return
		case ended == 0:
			<-time.After(time.Millisecond)
		}
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
	group  int
	start  string // in ticks since boot: with the number it names a process for good
}

func readStat(pid int) (stat, bool) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return stat{}, false
	}
	// The name, in parentheses, may hold anything. What follows begins with the third field.
	_, after, _ := strings.Cut(string(text[max(0, bytes.LastIndexByte(text, ')')):]), ") ")
	fields := strings.Fields(after)
	const start = 22 - 3
	if len(fields) <= start {
		return stat{}, false
	}
	parent, err := strconv.Atoi(fields[1])
	if err != nil {
		return stat{}, false
	}
	group, err := strconv.Atoi(fields[2])
	if err != nil {
		return stat{}, false
	}
	return stat{state: fields[0][0], parent: parent, group: group, start: fields[start]}, true
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
	return sumFields(filepath.Join("/proc", strconv.Itoa(pid), "status"), "RssAnon:", "RssShmem:", "VmSwap:")
}

// proportionalMemory divides shared pages among those that share them. A process that forbids the look counts in full.
func proportionalMemory(pid int) int64 {
	if sum := sumFields(filepath.Join("/proc", strconv.Itoa(pid), "smaps_rollup"), "Pss_Anon:", "Pss_Shmem:", "SwapPss:"); sum > 0 {
		return sum
	}
	return residentMemory(pid)
}

// sumFields adds the values of lines such as "RssAnon:   1234 kB".
func sumFields(path string, names ...string) int64 {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0 // it has ended
	}
	var sum int64
	for line := range strings.Lines(string(text)) {
		for _, name := range names {
			if value, ok := strings.CutPrefix(line, name); ok {
				n, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64) // the kernel writes a number
				sum += n
			}
		}
	}
	return sum
}
