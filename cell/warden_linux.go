package cell

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Main turns the process into the inside of a cell if it was started as one, and does not return then. main, and TestMain
// of tests that start cells, call it first.
func Main() {
	if !isWarden() {
		return
	}
	// This thread stays as it is, and the command finds the warden outside of what it is confined to itself: what is given up
	// belongs to the other thread, from which the command inherits it.
	runtime.LockOSThread()
	ended := make(chan int)
	go func() {
		runtime.LockOSThread()
		w := &warden{reports: os.NewFile(reportFD, "report")}
		if err := w.run(); err != nil {
			var refused refusal
			w.say(report{Refused: err.Error(), Unsupported: errors.As(err, &refused)})
			ended <- 1
		}
		ended <- 0
	}()
	exit(<-ended)
}

// exit ends the warden. Unlike os.Exit it waits for nobody, not even for the race detector.
func exit(code int) { unix.Exit(code) }

// refusal is an error of the system's and not of the Spec.
type refusal struct{ error }

func (r refusal) Unwrap() error { return r.error }

// unsupported says what was attempted, and what to do about it.
func unsupported(attempt string, err error) error {
	return refusal{fmt.Errorf("%s: %w; %s", attempt, err, remedy)}
}

// warden is the first process of a cell.
type warden struct {
	order   order
	control *bufio.Reader

	// mu guards reports, on which two goroutines may have something to say.
	mu      sync.Mutex
	reports *os.File
	last    bool
}

// say sends a report. Nothing is sent after the one that says how the command ended.
func (w *warden) say(r report) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.last {
		return
	}
	w.last = r.Ended
	text, err := json.Marshal(r)
	if err != nil {
		return // a report holds strings and numbers
	}
	_, _ = w.reports.Write(append(text, '\n')) // if nobody reads, nobody waits either
}

// run does all of a warden's life. Its error means that the command was not started.
func (w *warden) run() error {
	closeOnExec()
	w.control = bufio.NewReader(os.NewFile(controlFD, "control"))
	line, err := w.control.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("read the order: %w", err)
	}
	if err := json.Unmarshal(line, &w.order); err != nil {
		return fmt.Errorf("read the order: %w", err)
	}
	force, err := w.setUp()
	if err != nil {
		return err
	}
	if w.order.Probe {
		w.say(report{Started: true, Force: force})
		_, _ = io.Copy(io.Discard, w.control) // until the nursery has read it
		return nil
	}
	command, err := w.start()
	if err != nil {
		return fmt.Errorf("%s: %w", w.order.Argv[0], startError(err, w.order.Isolated))
	}
	w.letGo()
	w.say(report{Started: true})
	go w.obey()
	go w.watch()
	reason := w.attend(command)
	w.say(report{Ended: true, Reason: reason})
	w.leave()
	return nil
}

// closeOnExec keeps all but the standard descriptors from the command.
func closeOnExec() {
	if unix.CloseRange(controlFD, ^uint(0), unix.CLOSE_RANGE_CLOEXEC) == nil {
		return
	}
	names, _ := os.ReadDir("/proc/self/fd") // before Linux 5.11
	for _, name := range names {
		if fd, err := strconv.Atoi(name.Name()); err == nil && fd >= controlFD {
			unix.CloseOnExec(fd)
		}
	}
}

// setUp makes the cell around this process and says what is in force.
func (w *warden) setUp() (string, error) {
	defer unix.Umask(0o077)
	unix.Umask(0o022) // what the cell's root is made of may be read
	if !w.order.Isolated {
		if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
			return "", unsupported("adopt what the command leaves behind", err)
		}
		if err := w.order.Limits.apply(false, w.order.FirstCPU); err != nil {
			return "", err
		}
		return "no isolation; environment, descriptors, limits", nil
	}
	if err := enterRoot(&w.order); err != nil {
		return "", err
	}
	if err := furnish(w.order.Network); err != nil {
		return "", err
	}
	force, err := confine(&w.order)
	if err != nil {
		return "", err
	}
	return force, nil
}

// start starts the command from this thread, so that it inherits what the thread has given up.
func (w *warden) start() (int, error) {
	env := append(w.order.Env, "HOME="+w.order.Home, "TMPDIR="+w.order.Temp)
	attr := &syscall.ProcAttr{Dir: w.order.Home, Env: env, Files: []uintptr{0, 1, 2}, Sys: &syscall.SysProcAttr{Setsid: true}}
	if !w.order.Isolated {
		attr.Sys.Pdeathsig = syscall.SIGKILL
	}
	return w.order.Limits.lend(func() (int, error) { return syscall.ForkExec(w.order.Path, w.order.Argv, attr) })
}

// startError says what went wrong in words that help.
func startError(err error, isolated bool) error {
	switch {
	case errors.Is(err, syscall.ENOENT):
		return fmt.Errorf("%w: its interpreter or a library is missing in the cell; show the directory that holds it", err)
	case errors.Is(err, syscall.EACCES) && isolated:
		return fmt.Errorf("%w: the cell's user may not execute it; run: chmod o+rx on the file", err)
	case errors.Is(err, syscall.ENOEXEC):
		return fmt.Errorf("%w: it is no program for this machine; a script needs its #! line", err)
	}
	return err
}

// letGo closes the warden's copies of the command's pipes, whose ends tell the other side that the command is done.
// Standard error becomes the report pipe: if the warden crashes, its last words explain the end of the cell.
func (w *warden) letGo() {
	if null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0); err == nil {
		_ = unix.Dup3(int(null.Fd()), 0, 0) // both descriptors are open, so this cannot fail
		_ = unix.Dup3(int(null.Fd()), 1, 0)
		null.Close()
	}
	_ = unix.Dup3(reportFD, 2, 0)
}

// obey reads the control pipe. Its end means that the nursery wants the cell gone, or is gone itself.
func (w *warden) obey() {
	for {
		b, err := w.control.ReadByte()
		if err != nil {
			w.leave()
			exit(0)
		}
		if b == terminateAll {
			w.signalAll(unix.SIGTERM)
		}
	}
}

// attend reaps whatever ends in the cell until the command does, and returns why it did.
func (w *warden) attend(command int) string {
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return "its processes are gone" // someone else has reaped it
		case pid == command && status.Exited() && status.ExitStatus() == 0:
			return ""
		case pid == command && status.Exited():
			return fmt.Sprintf("exit code %d", status.ExitStatus())
		case pid == command: // it is not stopped or continued, since nobody asks for that
			return fmt.Sprintf("signal: %s", status.Signal())
		}
	}
}

// signalAll sends to every process of the cell but the warden.
func (w *warden) signalAll(signal unix.Signal) {
	if w.order.Isolated {
		_ = unix.Kill(-1, signal) // fails if there is no other
		return
	}
	for _, pid := range descendants(os.Getpid()) {
		_ = unix.Kill(pid, signal) // it may have ended meanwhile
	}
}
