package cell_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"sallyport.dev/cell"
)

func inheritable(t *testing.T, f *os.File) {
	t.Helper()
	if _, err := unix.FcntlInt(f.Fd(), unix.F_SETFD, 0); err != nil {
		t.Fatal(err)
	}
}

func TestEnvironment(t *testing.T) {
	both(t, func(t *testing.T, isolation cell.Isolation) {
		spec := inCell(isolation, "environment")
		spec.Env = []cell.Var{variable("TOKEN", "s3cr3t"), variable("LD_PRELOAD", ""), variable("empty", "")}
		got := decode[struct {
			Env, Home, Temp []string
			Dir             string
		}](t, spec)
		var names []string
		for _, v := range got.Env {
			name, value, _ := strings.Cut(v, "=")
			names = append(names, name)
			if name == "TOKEN" && value != "s3cr3t" || name == "LANG" && value != "C.UTF-8" ||
				name == "PATH" && value != "/usr/local/bin:/usr/bin:/bin:"+filepath.Dir(child()) || name == "HOME" && value != got.Dir {
				t.Error(v)
			}
		}
		slices.Sort(names)
		if want := []string{"HOME", "LANG", "LD_PRELOAD", "PATH", "TMPDIR", "TOKEN", "empty"}; !slices.Equal(names, want) {
			t.Errorf("environment of %q", names)
		}
		shown := []string{}
		if isolation == cell.Namespaces {
			shown = []string{strings.Split(strings.TrimPrefix(child(), "/tmp/"), "/")[0]} // the way to the command itself
		}
		if len(got.Home) > 0 || len(got.Temp) > 0 && !slices.Equal(got.Temp, shown) {
			t.Errorf("HOME holds %q, TMPDIR %q", got.Home, got.Temp)
		}
	})
}

// TestInside looks at what a process in a cell is, as the kernel sees it.
func TestInside(t *testing.T) {
	got := decode[struct {
		CPUs, Nice         int
		Score, Host, Umask string
		Core               uint64
		Session            bool
		Status             map[string]string
	}](t, inCell(cell.Namespaces, "limits"))
	for name, want := range map[string]string{
		"CapInh": "0000000000000000", "CapPrm": "0000000000000000", "CapEff": "0000000000000000", "CapBnd": "0000000000000000",
		"CapAmb": "0000000000000000", "NoNewPrivs": "1", "Seccomp": "2",
	} {
		if got.Status[name] != want {
			t.Errorf("%s is %s", name, got.Status[name])
		}
	}
	if os.Getuid() == 0 && got.Status["Groups"] != "" {
		t.Errorf("groups %s", got.Status["Groups"])
	}
	if got.CPUs != 1 || got.Nice < 5 || got.Score != "1000" || got.Host != "cell" || got.Core != 0 || !got.Session || got.Umask != "77" {
		t.Errorf("%+v", got)
	}
}

// TestUsersDiffer: two cells of a privileged nursery share no user.
func TestUsersDiffer(t *testing.T) {
	if os.Getuid() != 0 {
		return // an ordinary user has one user to give
	}
	n := newNursery(t)
	users := map[string]bool{}
	for range 3 {
		p := start(t, n, inCell(cell.Namespaces, "wait"))
		ready(t, p)
		info, err := os.Stat("/proc/" + itoa(cell.Descendants(p.Pid())[0]))
		if err != nil {
			t.Fatal(err)
		}
		users[owner(info)] = true
	}
	if len(users) != 3 || users["0"] {
		t.Errorf("users %v", users)
	}
}

func TestShown(t *testing.T) {
	dir := openDir(t)
	for _, name := range []string{"read", "read/deep", "write", "not"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	writeFile(t, filepath.Join(dir, "read/deep/file"), "deep", 0o644)
	writeFile(t, filepath.Join(dir, "not/file"), "not", 0o644)
	if err := os.Symlink(filepath.Join(dir, "read"), filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	spec := inCell(cell.Namespaces, "read", filepath.Join(dir, "read/deep/file"), filepath.Join(dir, "link/deep/file"), filepath.Join(dir, "not/file"))
	spec.Read = []string{filepath.Join(dir, "link")}
	text, err := output(t, spec)
	lines := strings.Split(text, "\n")
	if err != nil || lines[0] != "deep <nil>" || lines[1] != "deep <nil>" || !strings.HasSuffix(lines[2], "no such file or directory") {
		t.Errorf("%q, %v", lines, err)
	}
	// A link in a writable directory may be the command's own work, from an earlier run.
	trap := filepath.Join(dir, "write", "trap")
	if err := os.Symlink(filepath.Join(dir, "not"), trap); err != nil {
		t.Fatal(err)
	}
	spec.Read, spec.Write = []string{trap}, []string{filepath.Join(dir, "write")}
	if _, err := newNursery(t).Start(spec); err == nil || !strings.Contains(err.Error(), "by a link that the command itself may have made") {
		t.Error(err)
	}
	spec.Read = nil
	target := filepath.Join(dir, "write", "x")
	if os.Getuid() == 0 {
		spec.Write = []string{filepath.Join(dir, "write")}
		if _, err := newNursery(t).Start(spec); err == nil || !strings.Contains(err.Error(), "belongs to root") {
			t.Error(err)
		}
		const someone = 12345
		if err := os.Chown(filepath.Join(dir, "write"), someone, someone); err != nil {
			t.Fatal(err)
		}
	}
	spec = inCell(cell.Namespaces, "write", target, filepath.Join(dir, "read", "x"), filepath.Join(dir, "x"), "/cell/x", "/tmp/x", "/dev/shm/x")
	spec.Read, spec.Write = []string{filepath.Join(dir, "read")}, []string{filepath.Join(dir, "write")}
	text, err = output(t, spec)
	if err != nil || !strings.HasPrefix(text, "true\nfalse\n") || !strings.HasSuffix(text, "true\ntrue\ntrue\n") {
		t.Errorf("%q, %v", text, err)
	}
	info, err := os.Stat(target)
	if err != nil {
		t.Fatal(err)
	}
	if parent, _ := os.Stat(filepath.Dir(target)); owner(info) != owner(parent) {
		t.Errorf("the file belongs to %s, its directory to %s", owner(info), owner(parent))
	}
	if _, err := os.Stat(filepath.Join(dir, "x")); err == nil {
		t.Error("what was written beside the shown directories is on the host")
	}
}

func TestHide(t *testing.T) {
	dir := openDir(t)
	for _, name := range []string{"shown", "shown/hidden", "shown/open"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	file, inHidden, open := filepath.Join(dir, "shown/file"), filepath.Join(dir, "shown/hidden/file"), filepath.Join(dir, "shown/open/file")
	for _, path := range []string{file, inHidden, open} {
		writeFile(t, path, "text", 0o644)
	}
	spec := inCell(cell.Namespaces, "read", file, inHidden, open)
	spec.Read = []string{filepath.Join(dir, "shown")}
	spec.Hide = []string{filepath.Join(dir, "shown/hidden"), file, "/nowhere"}
	text, err := output(t, spec)
	lines := strings.Split(text, "\n")
	if err != nil || lines[0] != " <nil>" || !strings.HasSuffix(lines[1], "no such file or directory") || lines[2] != "text <nil>" {
		t.Errorf("%q, %v", lines, err)
	}
	spec.Read = []string{inHidden}
	if _, err := newNursery(t).Start(spec); err == nil || !strings.Contains(err.Error(), "is hidden from every cell") {
		t.Error(err)
	}
}
