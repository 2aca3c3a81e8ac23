package cell_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sallyport.dev/cell"
	"sallyport.dev/secret"
)

// The environment of a test binary that a test starts again: as another user, or to be killed.
const (
	envChild  = "CELL_TEST_CHILD"
	envParent = "CELL_TEST_PARENT"
	envCanary = "CELL_TEST_CANARY"
	// envForgets makes the binary one whose TestMain does not call Main.
	envForgets = "CELL_TEST_FORGETS"
)

const canary = "canary-in-the-environment"

// TestMain is the parent of cells and the warden in them. The child in them is a program of its own, built here.
func TestMain(m *testing.M) {
	if os.Getenv(envForgets) != "" {
		_, err := cell.NewNursery(cell.Config{})
		fmt.Println(err)
		return
	}
	cell.Main()
	setenv(envCanary, canary)
	if isolation, ok := os.LookupEnv(envParent); ok {
		parent(cell.Isolation(isolation))
		return
	}
	if os.Getenv(envChild) != "" {
		goleak.VerifyTestMain(m)
		return
	}
	dir, err := os.MkdirTemp("", "cell-child-")
	if err != nil {
		panic(err)
	}
	child := filepath.Join(dir, "child")
	build := exec.Command("go", "build", "-o", child, "./testdata/child")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		panic(fmt.Sprintf("build the child: %v\n%s", err, out))
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		panic(err)
	}
	setenv(envChild, child)
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(dir) // it is in the directory for temporary files
		os.Exit(code)
	}))
}

func setenv(name, value string) {
	if err := os.Setenv(name, value); err != nil {
		panic(err)
	}
}

func child() string { return os.Getenv(envChild) }

// inCell is a Spec that runs the child.
func inCell(isolation cell.Isolation, args ...string) cell.Spec {
	return cell.Spec{Command: append([]string{child()}, args...), Isolation: isolation}
}

func newNursery(t testing.TB) *cell.Nursery {
	t.Helper()
	n, err := cell.NewNursery(cell.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Close)
	return n
}

func start(t testing.TB, n *cell.Nursery, spec cell.Spec) *cell.Process {
	t.Helper()
	p, err := n.Start(spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Kill()
		<-p.Done()
		p.Stdin.Close()
		p.Stdout.Close()
		p.Stderr.Close()
	})
	return p
}

// output runs a cell to its end.
func output(t testing.TB, spec cell.Spec) (string, error) {
	t.Helper()
	p := start(t, newNursery(t), spec)
	var stderr bytes.Buffer
	read := make(chan struct{})
	go func() {
		defer close(read)
		_, _ = io.Copy(&stderr, p.Stderr)
	}()
	stdout, err := io.ReadAll(io.LimitReader(p.Stdout, 16<<20))
	if err != nil {
		t.Fatal(err)
	}
	<-read
	within(t, p.Done(), 20*time.Second)
	if stderr.Len() > 0 {
		t.Logf("stderr: %s", stderr.String())
	}
	return string(stdout), p.Err()
}

func decode[T any](t testing.TB, spec cell.Spec) T {
	t.Helper()
	text, err := output(t, spec)
	if err != nil {
		t.Fatal(err)
	}
	var v T
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return v
}

// ready waits until the child says so.
func ready(t testing.TB, p *cell.Process) {
	t.Helper()
	line := make([]byte, len("ready\n"))
	if _, err := io.ReadFull(p.Stdout, line); err != nil || string(line) != "ready\n" {
		rest, _ := io.ReadAll(io.LimitReader(p.Stderr, 4096))
		t.Fatalf("%q, %v: %s", line, err, rest)
	}
}

func within(t testing.TB, done <-chan struct{}, d time.Duration) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(d):
		t.Fatalf("not done in %v", d)
	}
}

// alive lists the processes on this machine that are the child, or a warden of this test binary.
func alive(t testing.TB) []string {
	t.Helper()
	var found []string
	programs := []os.FileInfo{}
	for _, path := range []string{child(), "/proc/self/exe"} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		programs = append(programs, info)
	}
	pids, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	for _, pid := range pids {
		info, err := os.Stat(pid + "/exe")
		if err != nil {
			continue
		}
		name, _ := os.ReadFile(pid + "/cmdline")
		if os.SameFile(info, programs[0]) || os.SameFile(info, programs[1]) && strings.HasPrefix(string(name), "sallyport-cell") {
			found = append(found, pid+" "+strings.ReplaceAll(string(name), "\x00", " "))
		}
	}
	return found
}

// noneLeft waits until no process of a cell is left.
func noneLeft(t testing.TB) {
	t.Helper()
	var left []string
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if left = alive(t); len(left) == 0 {
			return
		}
	}
	t.Fatalf("left: %q", left)
}

// parent starts a tree of processes in a cell and waits to be killed.
func parent(isolation cell.Isolation) {
	n, err := cell.NewNursery(cell.Config{Dir: filepath.Join(os.Getenv("TMPDIR"), "cells")})
	if err != nil {
		panic(err)
	}
	p, err := n.Start(inCell(isolation, "tree"))
	if err != nil {
		panic(err)
	}
	if _, err := io.ReadFull(p.Stdout, make([]byte, len("ready\n"))); err != nil {
		panic(err)
	}
	fmt.Println(p.Pid())
	select {}
}

func both(t *testing.T, test func(t *testing.T, isolation cell.Isolation)) {
	t.Helper()
	for _, isolation := range []cell.Isolation{cell.Namespaces, cell.None} {
		t.Run(string(isolation), func(t *testing.T) { test(t, isolation) })
	}
}

// TestAsOrdinaryUser runs the tests that concern a cell's inside again as a user without rights, so that the cell rests on a
// user namespace.
func TestAsOrdinaryUser(t *testing.T) {
	if os.Getuid() != 0 {
		return // all tests are run as one
	}
	const nobody = 65534
	dir := openDir(t)
	binary := filepath.Join(dir, "cell.test")
	copyFile(t, "/proc/self/exe", binary, 0o755)
	home := filepath.Join(dir, "tmp")
	if err := os.Mkdir(home, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(home, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, "-test.v", "-test.timeout=120s", "-test.run="+ordinary)
	cmd.Dir = home
	cmd.Env = append(os.Environ(), "TMPDIR="+home, "HOME="+home)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(out, []byte("--- PASS: TestAttacks")) {
		t.Fatal("nothing was run")
	}
}

// ordinary are the tests that TestAsOrdinaryUser runs again.
const ordinary = "^(TestAttacks|TestProbe|TestEnvironment|TestShown|TestHide|TestLimitMemory|TestLimitProcesses|TestKilledParent|TestStop|TestDaemon|TestNetwork|TestRefused|TestInside)$"

// openDir is a directory that every user may enter.
func openDir(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{dir, filepath.Dir(dir)} { // the test's own, of which the upper is for its user alone
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func copyFile(t testing.TB, from, to string, mode os.FileMode) {
	t.Helper()
	text, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, to, string(text), mode)
}

func writeFile(t testing.TB, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

func variable(name, value string) cell.Var { return cell.Var{Name: name, Value: secret.New(value)} }
