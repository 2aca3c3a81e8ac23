package cell

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// launcher starts processes from one thread that lives as long as it: the kernel takes the end of the *thread* that
// started a process for its parent's death (golang/go#27505).
type launcher struct {
	requests chan launch
	ended    chan struct{}
}

type launch struct {
	attr  *os.ProcAttr
	reply chan<- launched
}

type launched struct {
	process *os.Process
	err     error
}

func newLauncher() *launcher {
	l := &launcher{requests: make(chan launch), ended: make(chan struct{})}
	go l.run()
	return l
}

func (l *launcher) run() {
	defer close(l.ended)
	runtime.LockOSThread() // and never unlocked: the thread ends with this goroutine
	for r := range l.requests {
		process, err := os.StartProcess("/proc/self/exe", []string{wardenName}, r.attr)
		r.reply <- launched{process, err}
	}
}

func (l *launcher) start(attr *os.ProcAttr) (*os.Process, error) {
	reply := make(chan launched)
	l.requests <- launch{attr, reply}
	got := <-reply
	return got.process, got.err
}

func (l *launcher) close() {
	close(l.requests)
	<-l.ended
}

// begin starts a warden with its order and waits for its first report. The goroutine that it leaves ends with the cell.
func (n *Nursery) begin(ctx context.Context, o order) (*Process, string, error) {
	attr := &syscall.SysProcAttr{Setsid: true}
	var own *room
	var err error
	var owners []*os.File
	if o.Isolated {
		attr.Pdeathsig = syscall.SIGKILL
		if o.User = n.isolate(attr, &o); o.User != 0 {
			owners, err = n.owners(&o)
		}
	} else if own, err = n.newRoom(); err == nil {
		o.Home, o.Temp = own.home(), own.temp()
	}
	defer closeAll(owners)
	if err != nil {
		return nil, "", err
	}
	p, l, err := n.spawn(attr, own, owners)
	if err != nil {
		own.remove()
		return nil, "", launchError(err, o.Isolated)
	}
	forget := context.AfterFunc(ctx, p.Kill)
	first, err := l.instruct(o)
	if !forget() && ctx.Err() != nil {
		err = ctx.Err()
	}
	if err != nil {
		p.Kill()
		p.closePipes()
		l.hangUp()
		return nil, "", err
	}
	n.adopt(p)
	go func() {
		p.err = l.outcome()
		if !o.Isolated && errors.Is(p.err, errVanished) {
			own.evict() // the warden was killed: by its own command, perhaps
		}
		l.hangUp()
		close(p.done)
		n.release(o.Slot, p)
	}()
	return p, first.Force, nil
}

// spawn starts a warden with its pipes.
func (n *Nursery) spawn(attr *syscall.SysProcAttr, own *room, owners []*os.File) (*Process, *line, error) {
	var theirs, ours []*os.File
	for _, outwards := range []bool{false, true, true, false, true} { // stdin, stdout, stderr, control, report
		their, our, err := pipe(outwards)
		if err != nil {
			closeAll(theirs)
			closeAll(ours)
			return nil, nil, err
		}
		theirs, ours = append(theirs, their), append(ours, our)
	}
	files := append(theirs, nil)
	if own != nil {
		files[lockFD] = own.lock
	}
	files = append(files, owners...)
	// The warden's environment is the runtime's alone: nothing of the connector's may stand in its memory.
	warden, err := n.launcher.start(&os.ProcAttr{Dir: "/", Env: []string{"GOTRACEBACK=single"}, Files: files, Sys: attr})
	closeAll(theirs)
	if err != nil {
		closeAll(ours)
		return nil, nil, err
	}
	l := newLine(warden, ours[controlFD], ours[reportFD], own)
	p := &Process{
		Stdin: ours[0], Stdout: ours[1], Stderr: ours[2],
		pid: warden.Pid, terminate: l.terminate, kill: l.kill, done: make(chan struct{}),
	}
	return p, l, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

// pipe makes a pipe whose end for the child blocks, as programs expect, and whose end for us does not.
func pipe(outwards bool) (their, our *os.File, err error) {
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_CLOEXEC); err != nil {
		return nil, nil, fmt.Errorf("make a pipe: %w", err)
	}
	theirFD, ourFD := ends[0], ends[1]
	if outwards {
		theirFD, ourFD = ends[1], ends[0]
	}
	if err := unix.SetNonblock(ourFD, true); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("make a pipe: %w", err), unix.Close(theirFD), unix.Close(ourFD))
	}
	return os.NewFile(uintptr(theirFD), "pipe"), os.NewFile(uintptr(ourFD), "pipe"), nil
}

// launchError says why a warden could not be started, and what to do.
func launchError(err error, isolated bool) error {
	if isolated {
		for _, refused := range []error{unix.ENOSPC, unix.EPERM, unix.EACCES, unix.EINVAL, unix.ENOSYS, unix.EUSERS} {
			if errors.Is(err, refused) {
				return fmt.Errorf("%w: make namespaces: %w; %s", ErrUnsupported, cause(err), remedy)
			}
		}
	}
	return fmt.Errorf("%w: start the warden: %w", ErrStart, cause(err))
}
