package cell

import (
	"io"
	"sync"
	"time"
)

// Process is a running cell. The caller reads Stdout and Stderr, which end when the cell does, and closes all three.
type Process struct {
	Stdin          io.WriteCloser
	Stdout, Stderr io.ReadCloser

	pid int
	// terminate asks all in the cell to end, and kill ends them. Both may be called when the cell is gone.
	terminate, kill func()
	killOnce        sync.Once
	done            chan struct{}
	err             error // why it ended; set before done is closed
}

// Pid returns the process in which the cell begins: with namespaces, all others end with it.
func (p *Process) Pid() int { return p.pid }

// Done is closed when no process of the cell is left.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err says, once Done is closed, why the command ended. It is nil before, and after the exit code 0.
func (p *Process) Err() error {
	select {
	case <-p.done:
		return p.err
	default:
		return nil
	}
}

// Kill ends the cell without giving it time. It does not wait: Done tells.
func (p *Process) Kill() { p.killOnce.Do(p.kill) }

// Stop closes the command's standard input, after grace sends SIGTERM to all in the cell, and after grace again kills it.
// It returns when no process of the cell is left.
func (p *Process) Stop(grace time.Duration) {
	_ = p.Stdin.Close() // it may be closed already, by the caller or by an earlier Stop
	if p.endsWithin(grace) {
		return
	}
	p.terminate()
	if p.endsWithin(grace) {
		return
	}
	p.Kill()
	<-p.done
}

func (p *Process) endsWithin(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-p.done:
		return true
	case <-timer.C:
		return false
	}
}

func (p *Process) closePipes() {
	p.Stdin.Close()
	p.Stdout.Close()
	p.Stderr.Close()
}
