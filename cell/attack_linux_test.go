package cell_test

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sallyport.dev/cell"
)

// TestAttacks lets a hostile child try everything that it should not be able to do, each with something to gain.
func TestAttacks(t *testing.T) {
	n := newNursery(t)
	dir := openDir(t)
	for _, name := range []string{"state", "secrets", "run"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	targets := struct {
		Canary         string
		Files, Dirs    []string
		Parent         int
		Others         []int
		Path, Abstract string
	}{Canary: canary, Parent: os.Getpid(), Path: filepath.Join(dir, "run", "socket"), Abstract: "cell-test-" + filepath.Base(filepath.Dir(dir))}
	for _, name := range []string{"token", "state/key", "secrets/api", "connector.yaml"} {
		path := filepath.Join(dir, name)
		writeFile(t, path, canary, 0o644) // readable to all, as happens
		targets.Files = append(targets.Files, path)
	}
	targets.Files = append(targets.Files, "/etc/shadow", "/etc/machine-id", "/proc/kcore", "/dev/mem", "/dev/vda")
	targets.Dirs = []string{dir, filepath.Join(dir, "secrets"), "/root", "/var", "/run", "/sys", "/home", "/boot"}
	for _, name := range []string{targets.Path, "@" + targets.Abstract} {
		l, err := net.Listen("unix", name)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
	}
	if err := os.Chmod(targets.Path, 0o777); err != nil {
		t.Fatal(err)
	}
	// A neighbour, with the least that could keep it apart: it has the same network.
	neighbour := inCell(cell.Namespaces, "wait")
	neighbour.Network = true
	neighbour.Env = []cell.Var{variable("NEIGHBOUR", canary)}
	other := start(t, n, neighbour)
	ready(t, other)
	targets.Others = append([]int{other.Pid()}, childrenOf(t, other.Pid())...)

	text, err := json.Marshal(targets)
	if err != nil {
		t.Fatal(err)
	}
	var all []map[string]string
	for _, network := range []bool{false, true} {
		spec := inCell(cell.Namespaces, "attack", string(text))
		spec.Network = network
		results := decode[map[string]string](t, spec)
		if len(results) < 90 {
			t.Errorf("only %d attacks", len(results))
		}
		for name, result := range results {
			if !strings.HasPrefix(result, "refused") {
				t.Errorf("network %v: %s: %s", network, name, result)
			}
		}
		all = append(all, results)
	}
	shared := inCell(cell.Namespaces, "attack")
	shared.Network = true
	force, err := n.Probe(t.Context(), shared)
	if err != nil {
		t.Fatal(err)
	}
	pids := map[int]string{targets.Parent: "the connector"}
	for i, pid := range targets.Others {
		pids[pid] = fmt.Sprintf("neighbour %d", i+1)
	}
	page(t, force, all, dir, pids)
}

// childrenOf lists a process's children, as the host counts.
func childrenOf(t *testing.T, pid int) []int {
	t.Helper()
	found := cell.Descendants(pid)
	if len(found) == 0 {
		t.Fatal("the cell has no process")
	}
	return found
}

// TestSetuid: a program with the set-user-id bit gives its user's rights to nobody in a cell.
func TestSetuid(t *testing.T) {
	if os.Getuid() != 0 {
		return // it takes root to make one
	}
	dir := openDir(t)
	program := filepath.Join(dir, "setuid")
	copyFile(t, child(), program, 0o4755)
	spec := cell.Spec{Command: []string{program, "euid"}, Read: []string{dir}}
	text, err := output(t, spec)
	if err != nil || strings.TrimSpace(text) == "0" {
		t.Errorf("effective user %q, %v", text, err)
	}
}

func TestNetwork(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, network := range []bool{false, true} {
		spec := inCell(cell.Namespaces, "dial", l.Addr().String())
		spec.Network = network
		text, err := output(t, spec)
		if err != nil || strings.HasPrefix(text, "true") != network {
			t.Errorf("network %v: %q, %v", network, text, err)
		}
	}
}

// TestDescriptors: the command has the standard three alone, whatever its parent had open.
func TestDescriptors(t *testing.T) {
	stray, err := os.Open("/etc/passwd")
	if err != nil {
		t.Fatal(err)
	}
	defer stray.Close()
	inheritable(t, stray)
	both(t, func(t *testing.T, isolation cell.Isolation) {
		text, err := output(t, cell.Spec{Command: []string{"sh", "-c", "echo /proc/self/fd/*; ls -l /proc/self/fd/"}, Isolation: isolation})
		// sh expands the pattern through a descriptor of its own, 3; so does ls.
		if first, _, _ := strings.Cut(text, "\n"); err != nil || first != "/proc/self/fd/0 /proc/self/fd/1 /proc/self/fd/2 /proc/self/fd/3" {
			t.Errorf("%v: %s", err, text)
		}
	})
}
