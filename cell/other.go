//go:build !linux

package cell

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

// Main does nothing here: only Linux has wardens.
func Main() {}

// launcher has nothing to do where a parent's death is not told to its children.
type launcher struct{}

func newLauncher() *launcher { return &launcher{} }

func (*launcher) close() {}

func (n *Nursery) clearRemains() error { return nil }

// begin starts the command in a process group of its own. Limits are not set, and what leaves the group is not found.
func (n *Nursery) begin(_ context.Context, o order) (*Process, string, error) {
	if err := os.MkdirAll(n.dir, 0o700); err != nil {
		return nil, "", fmt.Errorf("%w: make the directory for cells: %w", ErrStart, err)
	}
	room, err := os.MkdirTemp(n.dir, "cell-")
	if err != nil {
		return nil, "", fmt.Errorf("%w: make the cell's directory: %w", ErrStart, err)
	}
	var stdin, stdout, stderr [2]*os.File
	for _, p := range []*[2]*os.File{&stdin, &stdout, &stderr} {
		if p[0], p[1], err = os.Pipe(); err != nil {
			return nil, "", fmt.Errorf("%w: make a pipe: %w", ErrStart, err)
		}
	}
	cmd := exec.Cmd{
		Path: o.Path, Args: o.Argv, Dir: room, Env: append(o.Env, "HOME="+room, "TMPDIR="+room),
		Stdin: stdin[0], Stdout: stdout[1], Stderr: stderr[1], SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}
	if o.Probe {
		cmd.Path, cmd.Args = "/bin/cat", []string{"cat"}
	}
	err = cmd.Start()
	stdin[0].Close()
	stdout[1].Close()
	stderr[1].Close()
	p := &Process{Stdin: stdin[1], Stdout: stdout[0], Stderr: stderr[0], done: make(chan struct{})}
	if err != nil {
		p.closePipes()
		return nil, "", errors.Join(fmt.Errorf("%w: %w", ErrStart, err), os.RemoveAll(room))
	}
	p.pid = cmd.Process.Pid
	p.terminate = func() { _ = syscall.Kill(-p.pid, syscall.SIGTERM) }
	p.kill = func() { _ = syscall.Kill(-p.pid, syscall.SIGKILL) }
	n.adopt(p)
	go func() {
		if err := cmd.Wait(); err != nil {
			p.err = fmt.Errorf("cell: %w", err)
		}
		_ = syscall.Kill(-p.pid, syscall.SIGKILL) // what the command left behind
		_ = os.RemoveAll(room)
		close(p.done)
		n.release(o.Slot, p)
	}()
	return p, "no isolation; environment", nil
}
