package pins

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestFileThatCannotBeUsed allows nothing, is told once, and is used again when it is put right.
func TestFileThatCannotBeUsed(t *testing.T) {
	list := whole(tool("read", "Reads."))
	for name, break_ := range map[string]func(t *testing.T, path string, content []byte){
		"torn":                func(t *testing.T, path string, content []byte) { put(t, path, content[:len(content)/2]) },
		"empty":               func(t *testing.T, path string, _ []byte) { put(t, path, nil) },
		"another server's":    replace("wiki", "other"),
		"another version":     replace(`"version":1`, `"version":2`),
		"an unknown member":   replace(`"settled"`, `"extra":1,"settled"`),
		"a member twice":      replace(`"settled"`, `"version":1,"settled"`),
		"an altered pin":      replace("Reads.", "Sends."),
		"an altered hash":     replace(`"hash":"`, `"hash":"0`),
		"no definition":       replace(`"definition"`, `"by":"x","definition"`),
		"no tool":             replace(`"read":{`, `"other":null,"read":{`),
		"a tool without pins": replace(`"read":{`, `"other":{},"read":{`),
		"something behind it": func(t *testing.T, path string, content []byte) { put(t, path, append(content, "{}"...)) },
		"too large":           func(t *testing.T, path string, _ []byte) { put(t, path, bytes.Repeat([]byte(" "), maxFile+1)) },
		"open to others":      func(t *testing.T, path string, _ []byte) { must(t, os.Chmod(path, 0o644)) },
		"a link": func(t *testing.T, path string, content []byte) {
			put(t, path+".real", content)
			must(t, os.Remove(path))
			must(t, os.Symlink(path+".real", path))
		},
		"a directory": func(t *testing.T, path string, _ []byte) {
			must(t, os.Remove(path))
			must(t, os.Mkdir(path, 0o700))
		},
		"a pipe": func(t *testing.T, path string, _ []byte) {
			must(t, os.Remove(path))
			must(t, syscall.Mkfifo(path, 0o600))
		},
		"a directory open to others": func(t *testing.T, path string, content []byte) {
			put(t, path, append(content, '\n'))
			must(t, os.Chmod(filepath.Dir(path), 0o755))
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := start(t, t.TempDir())
			h.list(t, list, []State{Pinned})
			path := h.store.Path(wiki)
			content, err := os.ReadFile(path)
			must(t, err)
			break_(t, path, content)
			found := h.list(t, list, []State{Unreadable}, "state")
			if len(found) > 0 && (!strings.Contains(found[0].Text, filepath.Dir(path)) || strings.Contains(found[0].Text, "Reads")) {
				t.Error(found)
			}
			h.list(t, list, []State{Unreadable})
			h.is(t, "read", Unreadable)
			if _, err := h.store.Accept(wiki, nil); err == nil {
				t.Error("it is written to")
			}
			if _, err := h.store.Tools(wiki); err == nil {
				t.Error("it is read")
			}
			must(t, os.Chmod(filepath.Dir(path), 0o700))
			must(t, os.RemoveAll(path))
			put(t, path, content)
			h.at = h.at.Add(writeRetry)
			h.is(t, "read", Pinned)
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func put(t *testing.T, path string, content []byte) {
	t.Helper()
	must(t, os.WriteFile(path, content, 0o600))
}

func replace(old, now string) func(*testing.T, string, []byte) {
	return func(t *testing.T, path string, content []byte) {
		changed := bytes.Replace(content, []byte(old), []byte(now), 1)
		if bytes.Equal(changed, content) {
			t.Fatalf("%s is not in %s", old, content)
		}
		put(t, path, changed)
	}
}

func TestFileThatGoesAwayIsTold(t *testing.T) {
	h := start(t, t.TempDir())
	h.list(t, whole(tool("read", "Reads.")), []State{Pinned})
	must(t, os.Remove(h.store.Path(wiki)))
	h.is(t, "read", Unknown)
	h.list(t, whole(tool("read", "Other.")), []State{Pinned}, "state")
}

// TestWhatCannotBeStoredIsNotPinned, or a restart would pin anew what the server lists then.
func TestWhatCannotBeStoredIsNotPinned(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "pins"), nil) // a file in the directory's place
	h := start(t, dir)
	list := whole(tool("read", "Reads."))
	h.list(t, list, []State{Unreadable}, "state")
	must(t, os.Remove(filepath.Join(dir, "pins")))
	must(t, os.Mkdir(filepath.Join(dir, "pins"), 0o700))
	must(t, os.Mkdir(filepath.Join(dir, "pins", "wiki.json.new"), 0o700)) // in the way of a write
	must(t, os.WriteFile(filepath.Join(dir, "pins", "wiki.json.new", "x"), nil, 0o600))
	h.at = h.at.Add(writeRetry)
	h.list(t, list, []State{Unknown}, "state")
	h.list(t, list, []State{Unknown})
	h.is(t, "read", Unknown)
	must(t, os.RemoveAll(filepath.Join(dir, "pins", "wiki.json.new")))
	h.at = h.at.Add(writeRetry)
	h.list(t, list, []State{Pinned})
}

func TestLockThatIsHeld(t *testing.T) {
	h := start(t, t.TempDir())
	h.list(t, whole(tool("read", "Reads.")), []State{Pinned})
	file, err := os.OpenFile(filepath.Join(h.dir, "pins", lockName), os.O_RDWR, 0)
	must(t, err)
	defer file.Close()
	must(t, syscall.Flock(int(file.Fd()), syscall.LOCK_EX))
	began := time.Now()
	h.list(t, whole(tool("read", "Evil.")), []State{Changed}, "changed read", "state")
	h.list(t, whole(tool("read", "Evil.")), []State{Changed})
	h.is(t, "read", Changed)
	if took := time.Since(began); took > 3*lockWait {
		t.Errorf("it waited %s", took)
	}
}

// TestWritesAreRare however often an upstream changes what it says.
func TestWritesAreRare(t *testing.T) {
	h := start(t, t.TempDir())
	h.list(t, whole(tool("read", "Reads.")), []State{Pinned})
	writes := 0
	var last fs.FileInfo
	for i := range 100 {
		h.Observe(wiki, whole(tool("read", fmt.Sprint("Evil ", i))))
		h.Observe(wiki, whole(tool("read", "Reads.")))
		info, err := h.store.look(wiki)
		must(t, err)
		if last == nil || !os.SameFile(last, info) {
			writes++
		}
		last = info
	}
	if writes > 3 {
		t.Errorf("%d writes", writes)
	}
}

func TestBounds(t *testing.T) {
	h := start(t, t.TempDir())
	var list []Definition
	for i := range maxTools + 10 {
		list = append(list, tool(fmt.Sprintf("t%c%c%c", 'a'+i%26, 'a'+i/26%26, 'a'+i/676), "Does."))
	}
	states, found := h.Observe(wiki, whole(list...))
	if n := count(states, Pinned); n != maxTools || states[maxTools] != New || len(found) != 20 {
		t.Errorf("%d are pinned; %d findings", n, len(found))
	}
	if _, again := h.Observe(wiki, whole(list...)); len(again) > 0 {
		t.Error(again)
	}

	h = start(t, t.TempDir())
	big := strings.Repeat("x", 1<<20)
	list = nil
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		list = append(list, tool(name, big))
	}
	states, _ = h.Observe(wiki, whole(list...))
	if n := count(states, Pinned); n != 3 {
		t.Errorf("%d are pinned", n)
	}
	list[0] = tool("a", big+strings.Repeat("y", 1<<20)) // no room to keep it
	h.list(t, whole(list[0]), []State{Changed}, "overflow a", "changed a", "gone b", "gone c")
	h = start(t, h.dir)
	h.is(t, "a", Changed)
	if _, err := h.store.Accept(wiki, map[string]string{"a": ""}); err == nil || !strings.Contains(err.Error(), "too large") {
		t.Error(err)
	}

	h = start(t, t.TempDir())
	h.list(t, whole(tool("first", "Is.")), []State{Pinned})
	told := 0
	for i := range 50 {
		list = nil
		for k := range 100 {
			list = append(list, tool(fmt.Sprint("t", k), fmt.Sprint(i)))
		}
		_, found := h.Observe(wiki, whole(list...))
		if len(found) > maxEmitted+2 {
			t.Fatalf("%d findings at once", len(found))
		}
		told += len(found)
	}
	if told > maxOnce || len(h.of(wiki).once) > maxOnce {
		t.Errorf("%d findings", told)
	}
	if info, err := h.store.look(wiki); err != nil || info.Size() > maxFile {
		t.Error(info.Size(), err)
	}
	if _, err := h.store.Tools(wiki); err != nil {
		t.Error(err)
	}
}

func count(states []State, want State) int {
	return len(slices.DeleteFunc(slices.Clone(states), func(s State) bool { return s != want }))
}

func TestNamesOfServers(t *testing.T) {
	h := start(t, t.TempDir())
	for _, name := range []string{"", "../x", "a/b", "A", "a.b", strings.Repeat("a", 41)} {
		states, found := h.Observe(name, whole(tool("t", "T.")))
		if states[0] != Unreadable || len(found) != 1 {
			t.Errorf("%q: %v %v", name, states, found)
		}
	}
	if _, err := Open("relative"); err == nil {
		t.Error("a relative path is taken")
	}
	if err := Mode("on").Validate(); err == nil || Report.Validate() != nil || Mode("").Validate() != nil {
		t.Error(err)
	}
}

func FuzzDecode(f *testing.F) {
	h := start(f, f.TempDir())
	h.Observe(wiki, whole(tool("read", "Reads.")))
	h.Observe(wiki, whole(tool("read", "Evil\u200b."), tool("new", "New.")))
	content, err := os.ReadFile(h.store.Path(wiki))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(content)
	f.Add([]byte(`{"version":1,"server":"wiki","settled":true,"tools":{}}`))
	f.Fuzz(func(t *testing.T, content []byte) {
		r, err := decode(content, wiki)
		if err != nil {
			if err != errDamaged { //nolint:errorlint // the very text, which quotes nothing
				t.Error(err)
			}
			return
		}
		for _, tool := range r.tools() {
			if err := WriteDiff(new(bytes.Buffer), wiki, tool); err != nil {
				t.Error(err)
			}
		}
		again, err := r.encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := decode(again, wiki); err != nil {
			t.Errorf("%v: %s", err, again)
		}
	})
}
