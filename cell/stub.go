// Package cell stub.
package cell

import (
	"context"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"time"

	"sallyport.dev/secret"
)

type Isolation string

const (
	Namespaces Isolation = "namespaces"
	None       Isolation = "none"
)

type Var struct {
	Name  string
	Value secret.Value
}
type Limits struct {
	Memory    int64
	Processes int
	Files     int
	CPUs      int
	Disk      int64
}
type Spec struct {
	Command           []string
	Env               []Var
	Read, Write, Hide []string
	Network           bool
	Isolation         Isolation
	Limits            Limits
}
type Config struct {
	Dir    string
	Logger *slog.Logger
}
type Nursery struct{}

func Main()                                 {}
func NewNursery(cfg Config) (*Nursery, error) { return &Nursery{}, nil }
func (n *Nursery) Close()                   {}
func (n *Nursery) Probe(ctx context.Context, s Spec) (string, error) {
	return "stub", nil
}

type Process struct {
	Stdin          io.WriteCloser
	Stdout, Stderr io.ReadCloser
	cmd            *exec.Cmd
	done           chan struct{}
	err            error
}

func (n *Nursery) Start(s Spec) (*Process, error) {
	cmd := exec.Command(s.Command[0], s.Command[1:]...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=/tmp", "LANG=C.UTF-8", "TMPDIR=/tmp"}
	for _, v := range s.Env {
		cmd.Env = append(cmd.Env, v.Name+"="+v.Value.Reveal())
	}
	p := &Process{cmd: cmd, done: make(chan struct{})}
	inR, inW, _ := os.Pipe()
	outR, outW, _ := os.Pipe()
	errR, errW, _ := os.Pipe()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = inR, outW, errW
	p.Stdin, p.Stdout, p.Stderr = inW, outR, errR
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	inR.Close()
	outW.Close()
	errW.Close()
	go func() { p.err = cmd.Wait(); close(p.done) }()
	return p, nil
}
func (p *Process) Stop(g time.Duration) {
	p.Stdin.Close()
	select {
	case <-p.done:
	case <-time.After(g):
		p.cmd.Process.Kill()
		<-p.done
	}
}
func (p *Process) Kill()                 { p.cmd.Process.Kill() }
func (p *Process) Done() <-chan struct{} { return p.done }
func (p *Process) Err() error            { return p.err }
func (p *Process) Pid() int              { return p.cmd.Process.Pid }
