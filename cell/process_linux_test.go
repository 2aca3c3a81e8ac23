package cell_test

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sallyport.dev/cell"
)

func TestProbe(t *testing.T) {
	n := newNursery(t)
	text, err := n.Probe(t.Context(), inCell(cell.Namespaces, "hello"))
	want := "mount, pid, ipc, uts, network namespaces; "
	if os.Getuid() != 0 {
		want = "user, " + want
	}
	if err != nil || !strings.HasPrefix(text, want) || !strings.Contains(text, "landlock ") || !strings.HasSuffix(text, "; seccomp") {
		t.Errorf("%q, %v", text, err)
	}
	if text, err = n.Probe(t.Context(), inCell(cell.None, "hello")); err != nil || !strings.HasPrefix(text, "no isolation") {
		t.Errorf("%q, %v", text, err)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err = n.Probe(cancelled, inCell(cell.Namespaces, "hello")); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	noneLeft(t)
}

func TestPipes(t *testing.T) {
	both(t, func(t *testing.T, isolation cell.Isolation) {
		p := start(t, newNursery(t), inCell(isolation, "cat"))
		const text = "there and back\n"
		if _, err := io.WriteString(p.Stdin, text); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(text))
		if _, err := io.ReadFull(p.Stdout, got); err != nil || string(got) != text {
			t.Fatalf("%q, %v", got, err)
		}
		if err := p.Stdout.(*os.File).SetReadDeadline(time.Now()); err != nil {
			t.Error(err)
		}
		if _, err := p.Stdout.Read(got); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error(err)
		}
		if p.Err() != nil {
			t.Error(p.Err())
		}
		p.Stop(5 * time.Second)
		if p.Err() != nil {
			t.Errorf("it ended by itself, yet %v", p.Err())
		}
	})
}

func TestEnds(t *testing.T) {
	both(t, func(t *testing.T, isolation cell.Isolation) {
		if _, err := output(t, inCell(isolation, "exit")); err == nil || err.Error() != "cell: exit code 7" {
			t.Error(err)
		}
		p := start(t, newNursery(t), inCell(isolation, "wait"))
		ready(t, p)
		p.Stop(2 * time.Second)
		if err := p.Err(); err == nil || err.Error() != "cell: signal: terminated" && err.Error() != "cell: exit code 2" {
			t.Error(err)
		}
	})
}

// TestStop: what ignores SIGTERM, and what has left the command's session, ends all the same.
func TestStop(t *testing.T) {
	both(t, func(t *testing.T, isolation cell.Isolation) {
		p := start(t, newNursery(t), inCell(isolation, "tree"))
		ready(t, p)
		began := time.Now()
		p.Stop(50 * time.Millisecond)
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("took %v", took)
		}
		if left := alive(t); len(left) > 0 {
			t.Errorf("left when Stop returned: %q", left)
		}
	})
}

// TestDaemon: a command that ends takes along what it has left behind.
func TestDaemon(t *testing.T) {
	both(t, func(t *testing.T, isolation cell.Isolation) {
		p := start(t, newNursery(t), inCell(isolation, "daemon"))
		within(t, p.Done(), 10*time.Second)
		if p.Err() != nil {
			t.Error(p.Err())
		}
		if left := alive(t); len(left) > 0 {
			t.Errorf("left when Done was closed: %q", left)
		}
	})
}

func TestClose(t *testing.T) {
	both(t, func(t *testing.T, isolation cell.Isolation) {
		n := newNursery(t)
		p := start(t, n, inCell(isolation, "tree"))
		ready(t, p)
		n.Close()
		select {
		case <-p.Done():
		default:
			t.Error("Close returned before the cell was gone")
		}
		if left := alive(t); len(left) > 0 {
			t.Errorf("left when Close returned: %q", left)
		}
		if _, err := n.Start(inCell(isolation, "hello")); !errors.Is(err, cell.ErrClosed) {
			t.Error(err)
		}
	})
}

// TestKilledParent: a connector that is killed leaves nothing, neither processes nor directories.
func TestKilledParent(t *testing.T) {
	both(t, func(t *testing.T, isolation cell.Isolation) {
		dir := t.TempDir()
		cmd := exec.Command("/proc/self/exe", "-test.run=none")
		cmd.Env = append(os.Environ(), envParent+"="+string(isolation), "TMPDIR="+dir)
		stdout, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = cmd.Wait() }()
		if _, err := stdout.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		if len(alive(t)) < 4 {
			t.Fatalf("alive are only %q", alive(t))
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		noneLeft(t)
		// The next nursery clears what the warden has not. The lock of a process that ends is free a moment after its program.
		for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(20 * time.Millisecond) {
			n, err := cell.NewNursery(cell.Config{Dir: filepath.Join(dir, "cells")})
			if err != nil {
				t.Fatal(err)
			}
			n.Close()
			left, _ := filepath.Glob(filepath.Join(dir, "cells", "*"))
			if len(left) == 0 {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("left: %q", left)
			}
		}
	})
}

// TestKilledWarden: a command that kills its warden, which it can only without namespaces, gains nothing.
func TestKilledWarden(t *testing.T) {
	both(t, func(t *testing.T, isolation cell.Isolation) {
		p := start(t, newNursery(t), inCell(isolation, "tree"))
		ready(t, p)
		if err := syscall.Kill(p.Pid(), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		within(t, p.Done(), 10*time.Second)
		if p.Err() == nil || p.Err().Error() != "cell: killed" {
			t.Error(p.Err())
		}
		noneLeft(t)
	})
}

// TestForgottenMain: a process that was started as a warden and is none must not start more of them.
func TestForgottenMain(t *testing.T) {
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{"sallyport-cell"}
	cmd.Env = append(os.Environ(), envForgets+"=1")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "does not call cell.Main first") {
		t.Errorf("%s, %v", out, err)
	}
}

// TestNothingTold: what the environment holds is nowhere to be seen from outside but in the command's own environment.
func TestNothingTold(t *testing.T) {
	const value = "s3cr3t-value"
	both(t, func(t *testing.T, isolation cell.Isolation) {
		spec := inCell(isolation, "wait")
		spec.Env = []cell.Var{variable("TOKEN", value)}
		p := start(t, newNursery(t), spec)
		ready(t, p)
		for _, name := range []string{"cmdline", "environ"} {
			text, err := os.ReadFile(filepath.Join("/proc", itoa(p.Pid()), name))
			if err != nil || strings.Contains(string(text), value) || strings.Contains(string(text), canary) {
				t.Errorf("the warden's %s holds %q, %v", name, text, err)
			}
		}
	})
}

// TestMany: cells that have ended leave no process, mount, descriptor or directory.
func TestMany(t *testing.T) {
	const cells = 50
	both(t, func(t *testing.T, isolation cell.Isolation) {
		dir := t.TempDir()
		n, err := cell.NewNursery(cell.Config{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		defer n.Close()
		mounts, files := lines(t, "/proc/self/mountinfo"), entries(t, "/proc/self/fd")
		var running []*cell.Process
		for range cells {
			p, err := n.Start(inCell(isolation, "wait"))
			if err != nil {
				t.Fatal(err)
			}
			running = append(running, p)
		}
		for _, p := range running {
			ready(t, p)
		}
		for _, p := range running {
			p.Kill()
		}
		for _, p := range running {
			within(t, p.Done(), 10*time.Second)
			p.Stdin.Close()
			p.Stdout.Close()
			p.Stderr.Close()
		}
		if left := alive(t); len(left) > 0 {
			t.Errorf("left: %q", left)
		}
		if now := lines(t, "/proc/self/mountinfo"); now != mounts {
			t.Errorf("%d mounts, there were %d", now, mounts)
		}
		if now := entries(t, "/proc/self/fd"); now > files {
			t.Errorf("%d descriptors, there were %d", now, files)
		}
		if now := entries(t, dir); now != 0 {
			t.Errorf("%d directories", now)
		}
	})
}

func lines(t *testing.T, path string) int {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(text), "\n")
}

func entries(t *testing.T, path string) int {
	t.Helper()
	found, err := os.ReadDir(path)
	if err != nil {
		t.Fatal(err)
	}
	return len(found)
}

// TestRefused: what cannot be started says why.
func TestRefused(t *testing.T) {
	dir := openDir(t)
	plain, text, script := filepath.Join(dir, "plain"), filepath.Join(dir, "text"), filepath.Join(dir, "script")
	writeFile(t, plain, "", 0o644)
	writeFile(t, text, "no program", 0o755)
	writeFile(t, script, "#!/no/such/interpreter\n", 0o755)
	n := newNursery(t)
	for _, test := range []struct {
		spec cell.Spec
		is   error
		says string
	}{
		{cell.Spec{}, cell.ErrSpec, "no command"},
		{cell.Spec{Command: []string{"no-such-command"}}, cell.ErrSpec, "no such command: no-such-command is not in /usr/local/bin:/usr/bin:/bin"},
		{cell.Spec{Command: []string{"/no/such"}}, cell.ErrSpec, "no such command: /no/such"},
		{cell.Spec{Command: []string{"./relative"}}, cell.ErrSpec, "write an absolute path"},
		{cell.Spec{Command: []string{plain}}, cell.ErrSpec, "chmod +x"},
		{cell.Spec{Command: []string{dir}}, cell.ErrSpec, "not a regular file"},
		{cell.Spec{Command: []string{text}}, cell.ErrStart, "no program for this machine"},
		{cell.Spec{Command: []string{script}}, cell.ErrStart, "its interpreter or a library is missing"},
		{cell.Spec{Command: []string{"sh"}, Read: []string{"/no/such"}}, cell.ErrSpec, "show /no/such"},
		{cell.Spec{Command: []string{"sh"}, Read: []string{"relative"}}, cell.ErrSpec, "write an absolute one"},
		{cell.Spec{Command: []string{"sh"}, Write: []string{"/"}}, cell.ErrSpec, "name what is needed"},
		{cell.Spec{Command: []string{"sh"}, Read: []string{"/proc"}}, cell.ErrSpec, "has a /proc of its own"},
		{cell.Spec{Command: []string{"sh"}, Isolation: "some"}, cell.ErrSpec, `isolation "some"`},
		{cell.Spec{Command: []string{"sh"}, Env: []cell.Var{variable("A=B", "")}}, cell.ErrSpec, "is no name"},
		{cell.Spec{Command: []string{"sh"}, Env: []cell.Var{variable("PATH", "x")}}, cell.ErrSpec, "is set by the cell"},
		{cell.Spec{Command: []string{"sh", "\x00"}}, cell.ErrSpec, "NUL"},
		{cell.Spec{Command: []string{"sh"}, Env: []cell.Var{variable("A", "\xff")}}, cell.ErrSpec, "not UTF-8"},
	} {
		p, err := n.Start(test.spec)
		if !errors.Is(err, test.is) || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%q gives %v, not %q", test.spec.Command, err, test.says)
		}
		if p != nil {
			p.Kill()
		}
	}
	noneLeft(t)
}

// TestDirOfOthers: a directory that somebody else has prepared is not used.
func TestDirOfOthers(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := cell.NewNursery(cell.Config{Dir: dir}); err == nil || !strings.Contains(err.Error(), "nobody else may write") {
		t.Error(err)
	}
}

// TestRemains: the room of a cell whose nursery and warden are gone is cleared, with what still runs of it.
func TestRemains(t *testing.T) {
	dir := t.TempDir()
	room := filepath.Join(dir, "cell-1")
	if err := os.MkdirAll(filepath.Join(room, "home"), 0o700); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(room, "lock"), "", 0o600)
	cmd := exec.Command(child(), "stubborn")
	cmd.Env = []string{"HOME=" + filepath.Join(room, "home")}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	n, err := cell.NewNursery(cell.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	n.Close()
	if err := cmd.Wait(); err == nil || err.Error() != "signal: killed" {
		t.Error(err)
	}
	if entries(t, dir) != 0 {
		t.Error("the room is there still")
	}
}

// TestLanguages: what servers are written in runs under the defaults.
func TestLanguages(t *testing.T) {
	found := 0
	for name, test := range map[string]struct {
		paths []string
		args  []string
	}{
		"node":    {[]string{"/usr/bin/node", "/usr/local/bin/node", "../bin/tools/node"}, []string{"-e", "new (require('worker_threads').Worker)('console.log(\"hello\")', {eval: true})"}},
		"python3": {[]string{"/usr/bin/python3", "/usr/local/bin/python3"}, []string{"-c", "import threading, subprocess, tempfile, socket, ssl; tempfile.TemporaryFile(); print('hello')"}},
		"perl":    {[]string{"/usr/bin/perl"}, []string{"-e", "print \"hello\\n\""}},
		"go":      {[]string{child()}, []string{"hello"}},
	} {
		for _, path := range test.paths {
			path, err := filepath.Abs(path)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(path); err != nil {
				continue
			}
			found++
			both(t, func(t *testing.T, isolation cell.Isolation) {
				text, err := output(t, cell.Spec{Command: append([]string{path}, test.args...), Isolation: isolation})
				if err != nil || text != "hello\n" {
					t.Errorf("%s: %q, %v", name, text, err)
				}
			})
			t.Logf("%s: %s", name, path)
			break
		}
	}
	if found < 2 {
		t.Error("neither Node nor Python is here; run: make setup")
	}
}
