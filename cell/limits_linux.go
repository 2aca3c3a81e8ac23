package cell

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// niceness is added to the command's: what serves agents goes before what it calls.
const niceness = 5

// apply bounds this process, and with it all that it starts. Processors and priority belong to the thread alone, so that
// the warden's other threads can act when the command is busy.
func (l Limits) apply(isolated bool, firstCPU int) error {
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte("1000"), 0o600) // best effort: the kernel then ends the cell first
	limits := []struct {
		what  string
		which int
		value uint64
	}{
		{"files", unix.RLIMIT_NOFILE, uint64(l.Files)},
		{"core dumps", unix.RLIMIT_CORE, 0},
		{"message queues", unix.RLIMIT_MSGQUEUE, 0},
	}
	if isolated {
		limits = append(limits, struct {
			what  string
			which int
			value uint64
		}{"processes", unix.RLIMIT_NPROC, uint64(l.Processes + wardenThreads)})
	} else {
		limits = append(limits, struct {
			what  string
			which int
			value uint64
		}{"file size", unix.RLIMIT_FSIZE, uint64(l.Disk)})
	}
	for _, limit := range limits {
		value := limit.value
		var now syscall.Rlimit
		if err := syscall.Getrlimit(limit.which, &now); err == nil && now.Max < value {
			value = now.Max
		}
		if err := syscall.Setrlimit(limit.which, &syscall.Rlimit{Cur: value, Max: value}); err != nil {
			return fmt.Errorf("limit %s to %d: %w", limit.what, value, err)
		}
	}
	if err := unix.Setpriority(unix.PRIO_PROCESS, 0, niceness); err != nil {
		return fmt.Errorf("lower the priority: %w", err)
	}
	return l.pin(firstCPU)
}

// pin keeps this thread to as many of its processors as the limit says.
func (l Limits) pin(first int) error {
	var may, want unix.CPUSet
	if err := unix.SchedGetaffinity(0, &may); err != nil {
		return fmt.Errorf("read the processors: %w", err)
	}
	if l.CPUs >= may.Count() {
		return nil
	}
	var all []int
	for cpu := range len(may) * 64 {
		if may.IsSet(cpu) {
			all = append(all, cpu)
		}
	}
	for i := range l.CPUs {
		want.Set(all[(first+i)%len(all)])
	}
	if err := unix.SchedSetaffinity(0, &want); err != nil {
		return fmt.Errorf("keep to %d processors: %w", l.CPUs, err)
	}
	return nil
}

// lend runs start, which starts a process, under a limit on its private memory, and makes the limit the process's for good.
// That is against accidents: it keeps one process from taking all at once between two looks of the watch. What means harm can
// share its memory, which no such limit counts, and meets the watch. It is twice the cell's limit because programs map much
// that they never touch, and not the warden's own: one that cannot allocate would take the cell down.
func (l Limits) lend(start func() (int, error)) (int, error) {
	var before syscall.Rlimit
	if err := syscall.Getrlimit(unix.RLIMIT_DATA, &before); err != nil {
		return 0, fmt.Errorf("limit memory: %w", err)
	}
	limit := min(2*uint64(l.Memory), before.Max)
	if err := syscall.Setrlimit(unix.RLIMIT_DATA, &syscall.Rlimit{Cur: limit, Max: before.Max}); err != nil {
		return 0, fmt.Errorf("limit memory: %w", err)
	}
	pid, err := start()
	if restore := syscall.Setrlimit(unix.RLIMIT_DATA, &before); err == nil && restore != nil {
		err = fmt.Errorf("limit memory: %w", restore)
	}
	if err != nil {
		return 0, err
	}
	if err := unix.Prlimit(pid, unix.RLIMIT_DATA, &unix.Rlimit{Cur: limit, Max: limit}, nil); err != nil && !errors.Is(err, unix.ESRCH) {
		return 0, fmt.Errorf("limit memory: %w", err)
	}
	return pid, nil
}
