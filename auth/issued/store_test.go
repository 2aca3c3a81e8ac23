package issued_test

import (
	"crypto/rand"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"sallyport.dev/auth"
	"sallyport.dev/auth/issued"
)

func TestOrdersAreChecked(t *testing.T) {
	s := newSite(t)
	for name, test := range map[string]struct {
		change func(*issued.Order)
		want   string
	}{
		"no name":            {func(o *issued.Order) { o.Name = "" }, "1 to 64 characters"},
		"a long name":        {func(o *issued.Order) { o.Name = strings.Repeat("a", 65) }, "1 to 64 characters"},
		"a name with |":      {func(o *issued.Order) { o.Name = "a|b" }, "visible ASCII"},
		"a name with space":  {func(o *issued.Order) { o.Name = "a b" }, "visible ASCII"},
		"a short life":       {func(o *issued.Order) { o.TTL = time.Minute - time.Second }, "1m0s to"},
		"a long life":        {func(o *issued.Order) { o.TTL = issued.MaxTTL + time.Second }, "1m0s to"},
		"half a second":      {func(o *issued.Order) { o.TTL += time.Second / 2 }, "whole seconds"},
		"no tunnel":          {func(o *issued.Order) { o.Grant.Tunnels = nil }, "tunnels are required"},
		"no server":          {func(o *issued.Order) { o.Grant.Servers = nil }, "servers are required"},
		"a wrong tunnel":     {func(o *issued.Order) { o.Grant.Tunnels = []string{"Acme"} }, "no name of a tunnel"},
		"a wrong server":     {func(o *issued.Order) { o.Grant.Servers = []string{"a--b"} }, "no name of a server"},
		"a server twice":     {func(o *issued.Order) { o.Grant.Servers = []string{"a", "a"} }, "named twice"},
		"long claims":        {func(o *issued.Order) { o.Claims = map[string]any{"a": strings.Repeat("a", 4<<10)} }, "4096 are allowed"},
		"claims not in JSON": {func(o *issued.Order) { o.Claims = map[string]any{"a": make(chan int)} }, "not JSON"},
		"no UTF-8":           {func(o *issued.Order) { o.Claims = map[string]any{"a": "\xff"} }, "not JSON"},
	} {
		o := order("ci")
		test.change(&o)
		if _, _, err := s.Create(o); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: the error is %v, want %q", name, err, test.want)
		}
	}
	if _, err := os.Stat(s.dir); !os.IsNotExist(err) {
		t.Errorf("a refused order leaves a directory: %v", err)
	}
	many := order("ci")
	many.Claims = map[string]any{"a": strings.Repeat("a", 4<<10-20)}
	for i := range 60 {
		many.Grant.Servers = append(many.Grant.Servers, fmt.Sprintf("a-long-name-of-a-server-%02d", i))
	}
	if _, _, err := s.Create(many); err == nil || !strings.Contains(err.Error(), "8192 are allowed") {
		t.Errorf("a token of more than 8 KiB: %v", err)
	}
}

func TestFilesAreTheirOwnersAlone(t *testing.T) {
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	s := newSite(t)
	c, token := s.create(t, order("ci"))
	_, err := s.Revoke([]string{c.ID})
	must(t, err)
	_, err = s.Rotate()
	must(t, err)
	must(t, filepath.WalkDir(s.dir, func(path string, entry fs.DirEntry, err error) error {
		must(t, err)
		info, err := entry.Info()
		must(t, err)
		want := os.FileMode(0o600)
		if entry.IsDir() {
			want = 0o700
		} else if content := read(t, path); strings.Contains(content, token[20:60]) && !strings.Contains(content, c.ID) || strings.Contains(content, token[len(token)-60:]) {
			t.Errorf("%s holds the token", path)
		}
		if info.Mode().Perm() != want {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return nil
	}))
}

func TestListSaysWhatBecameOfEachToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		r, err := s.List()
		if err != nil || len(r.Tokens)+len(r.Keys) > 0 {
			t.Errorf("without a directory: %+v, %v", r, err)
		}
		brief := order("brief")
		brief.TTL = time.Minute
		expired, _ := s.create(t, brief)
		revoked, _ := s.create(t, order("a"))
		retired, _ := s.create(t, order("a"))
		_, err = s.Rotate()
		must(t, err)
		good, _ := s.create(t, order("a"))
		before, err := s.Revoke([]string{revoked.ID})
		if err != nil || len(before) != 1 || before[0].State != issued.Good || before[0].Name != "a" {
			t.Errorf("revoked %+v: %v", before, err)
		}
		r, err = s.List()
		must(t, err)
		if len(r.Keys) != 2 || !r.Keys[0].Signs || r.Keys[0].Tokens != 1 || r.Keys[1].Signs || r.Keys[1].Tokens != 2 {
			t.Errorf("the keys are %+v", r.Keys)
		}
		if !reflect.DeepEqual(r.Tokens[3].Contents.Claims, good.Claims) || !r.Tokens[3].Expires.Equal(good.Expires) || r.Tokens[3].ID != good.ID {
			t.Errorf("listed %+v, want %+v", r.Tokens[3].Contents, good)
		}
		ended, err := s.Retire(retired.Key)
		if err != nil || ended != 2 {
			t.Errorf("ended %d tokens: %v", ended, err)
		}
		time.Sleep(time.Minute)
		want := map[string]issued.State{expired.ID: issued.Expired, revoked.ID: issued.Revoked, retired.ID: issued.Retired, good.ID: issued.Good}
		if got := states(t, s); !maps.Equal(got, want) {
			t.Errorf("the states are %v, want %v", got, want)
		}
	})
}

func TestRevoke(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		lost := rand.Text()
		if _, err := s.Revoke([]string{lost}); err == nil || !strings.Contains(err.Error(), "no token was made yet") {
			t.Errorf("without a token: %v", err)
		}
		a, tokenA := s.create(t, order("a"))
		_, tokenB := s.create(t, order("b"))
		for _, wrong := range []string{"", "x", strings.ToLower(a.ID), a.ID + " ", tokenA} {
			if _, err := s.Revoke([]string{a.ID, wrong}); err == nil || len(wrong) > 40 && strings.Contains(err.Error(), wrong) {
				t.Errorf("%.10q is revoked, or quoted: %v", wrong, err)
			}
		}
		expect(t, s.verifier(t, nil), tokenA, nil) // none was revoked
		before, err := s.Revoke([]string{lost, a.ID, a.ID})
		if err != nil || len(before) != 3 || before[0].State != issued.Unknown {
			t.Errorf("revoked %+v: %v", before, err)
		}
		v := s.verifier(t, nil)
		expect(t, v, tokenA, auth.ErrInvalid)
		expect(t, v, tokenB, nil)

		// What has expired leaves the list, an hour later.
		size := len(read(t, s.list()))
		time.Sleep(2*time.Hour + time.Minute)
		c, _ := s.create(t, order("c"))
		_, err = s.Revoke([]string{c.ID})
		must(t, err)
		if now := len(read(t, s.list())); now != size {
			t.Errorf("the list has %d bytes, after %d", now, size)
		}
		time.Sleep(issued.MaxTTL)
		_, err = s.Rotate()
		must(t, err)
		if now := len(read(t, s.list())); now >= size {
			t.Errorf("the list has %d bytes, after %d", now, size)
		}
	})
}

// TestKeysAreInOrder of their making, whatever the clock says.
func TestKeysAreInOrder(t *testing.T) {
	s := newSite(t)
	_, err := s.Rotate() // the first one
	must(t, err)
	var made []string
	for range 4 { // within a second
		id, err := s.Rotate()
		must(t, err)
		made = append(made, id)
	}
	synctest.Test(t, func(t *testing.T) { // in 2000
		id, err := s.Rotate()
		must(t, err)
		made = append(made, id)
	})
	slices.Reverse(made)
	r, err := s.List()
	must(t, err)
	for i, id := range made {
		if r.Keys[i].ID != id || r.Keys[i].Signs != (i == 0) {
			t.Errorf("key %d is %+v, want %s", i, r.Keys[i], id)
		}
	}
	c, _ := s.create(t, order("ci"))
	if c.Key != made[0] {
		t.Errorf("%s signs, not the newest, %s", c.Key, made[0])
	}
	for id, want := range map[string]string{made[0]: "it is the one that signs", "AAAAAAAAAAAAAAAA": "no such key", "": "no such key"} {
		if _, err := s.Retire(id); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("retire %q: %v, want %q", id, err, want)
		}
	}
	for range 26 {
		_, err := s.Rotate()
		must(t, err)
	}
	if _, err := s.Rotate(); err == nil || !strings.Contains(err.Error(), "retire an old one first") {
		t.Errorf("a key above the limit: %v", err)
	}
	s.verifier(t, nil)
}

// TestTornLine of the register is told of, and spoils no other line.
func TestTornLine(t *testing.T) {
	s := newSite(t)
	first, _ := s.create(t, order("ci"))
	torn, tornToken := s.create(t, order("ci"))
	whole := read(t, s.register())
	write(t, s.register(), whole[:len(whole)-30])
	last, _ := s.create(t, order("ci"))
	r, err := s.List()
	must(t, err)
	if len(r.Tokens) != 2 || r.Tokens[0].ID != first.ID || r.Tokens[1].ID != last.ID || !slices.Equal(r.Torn, []int{2}) || r.Path != s.register() {
		t.Errorf("listed %+v", r)
	}
	expect(t, s.verifier(t, nil), tornToken, nil)
	before, err := s.Revoke([]string{torn.ID})
	if err != nil || before[0].State != issued.Unknown {
		t.Errorf("revoked %+v: %v", before, err)
	}
	expect(t, s.verifier(t, nil), tornToken, auth.ErrInvalid)

	// Other lines that are none, of which a long one is read in pieces.
	whole = read(t, s.register())
	write(t, s.register(), "\n{}\nnull\n"+strings.Repeat("a", 200<<10)+"\n"+strings.Replace(whole, `"ci"`, `"c\u001b"`, 1)+whole)
	r, err = s.List()
	must(t, err)
	if len(r.Tokens) != 2 || !slices.Equal(r.Torn, []int{2, 3, 4, 5, 6, 9}) {
		t.Errorf("listed %+v", r)
	}
	must(t, os.Chmod(s.register(), 0o666))
	if _, err := s.List(); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a register that all may write: %v", err)
	}
	if _, _, err := s.Create(order("ci")); err == nil {
		t.Error("a token is made, whose id is nowhere")
	}
}

func TestManyWritersAtOnce(t *testing.T) {
	s := newSite(t)
	const writers, each = 4, 8
	var mu sync.Mutex // guards tokens and revoked
	tokens, revoked := make(map[string]string), make(map[string]bool)
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			own, err := issued.NewStore(s.dir, issuer)
			if err != nil {
				t.Error(err)
				return
			}
			for i := range each {
				c, token, err := own.Create(order("ci"))
				if err != nil {
					t.Error(err)
					return
				}
				if i%2 == 0 {
					if _, err := own.Revoke([]string{c.ID}); err != nil {
						t.Error(err)
					}
				}
				if i == each/2 {
					if _, err := own.Rotate(); err != nil {
						t.Error(err)
					}
				}
				mu.Lock()
				tokens[c.ID], revoked[c.ID] = token.Reveal(), i%2 == 0
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	r, err := s.List()
	must(t, err)
	if len(r.Tokens) != writers*each || len(r.Torn) > 0 || len(r.Keys) != writers+1 {
		t.Errorf("%d tokens, %d keys, torn %v", len(r.Tokens), len(r.Keys), r.Torn)
	}
	v := s.verifier(t, nil)
	for id, token := range tokens {
		if revoked[id] {
			expect(t, v, token, auth.ErrInvalid)
		} else {
			expect(t, v, token, nil)
		}
	}
}

// TestReadersBesideWriters never find a directory that is half of one and half of another.
func TestReadersBesideWriters(t *testing.T) {
	s := newSite(t)
	s.create(t, order("ci"))
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(done)
		for range 15 {
			c, _, err := s.Create(order("ci"))
			if err == nil {
				_, err = s.Rotate()
			}
			if err == nil {
				_, err = s.Revoke([]string{c.ID})
			}
			if err == nil {
				_, err = s.Retire(c.Key)
			}
			if err != nil {
				t.Error(err)
				return
			}
		}
	})
	for reading := true; reading; {
		select {
		case <-done:
			reading = false
		default:
		}
		if _, err := issued.New(issued.Config{Dir: s.dir, Issuer: issuer}); err != nil {
			t.Error(err)
		}
		if _, err := s.List(); err != nil {
			t.Error(err)
		}
	}
	wg.Wait()
}

// TestRootLeavesTheFilesToTheGatewaysUser who owns the state_dir.
func TestRootLeavesTheFilesToTheGatewaysUser(t *testing.T) {
	s := newSite(t)
	want := uint32(os.Geteuid())
	if want == 0 {
		want = 65534
		must(t, os.Chown(filepath.Dir(s.dir), int(want), int(want)))
	}
	c, _ := s.create(t, order("ci"))
	_, err := s.Revoke([]string{c.ID})
	must(t, err)
	_, err = s.Rotate()
	must(t, err)
	must(t, filepath.WalkDir(s.dir, func(path string, entry fs.DirEntry, err error) error {
		must(t, err)
		info, err := entry.Info()
		must(t, err)
		if stat := info.Sys().(*syscall.Stat_t); stat.Uid != want {
			t.Errorf("%s belongs to %d, want %d", path, stat.Uid, want)
		}
		return nil
	}))
}

func TestLockThatHangs(t *testing.T) {
	s := newSite(t)
	s.create(t, order("ci"))
	file, err := os.OpenFile(filepath.Join(s.dir, ".lock"), os.O_RDWR, 0)
	must(t, err)
	defer file.Close()
	must(t, syscall.Flock(int(file.Fd()), syscall.LOCK_EX))
	synctest.Test(t, func(t *testing.T) {
		if _, _, err := s.Create(order("ci")); err == nil || !strings.Contains(err.Error(), "another process holds") {
			t.Errorf("beside a lock: %v", err)
		}
	})
	if _, err := s.List(); err != nil {
		t.Errorf("to list takes no lock: %v", err)
	}
}

// TestLeftovers of a crash are in nobody's way.
func TestLeftovers(t *testing.T) {
	s := newSite(t)
	s.create(t, order("ci"))
	write(t, filepath.Join(s.dir, ".revoked.jws.new"), "half")
	write(t, filepath.Join(s.dir, "notes.txt"), "the operator's own")
	c, token := s.create(t, order("ci"))
	_, err := s.Revoke([]string{c.ID})
	must(t, err)
	expect(t, s.verifier(t, nil), token, auth.ErrInvalid)
}

// TestCrashBeforeTheFirstKey leaves a list that nobody has signed.
func TestCrashBeforeTheFirstKey(t *testing.T) {
	s := newSite(t)
	c, _ := s.create(t, order("ci"))
	must(t, os.Remove(s.keyFile(t, c.Key)))
	v := s.verifier(t, nil)
	if v.Any() {
		t.Error("there is a key")
	}
	_, token := s.create(t, order("ci"))
	expect(t, s.verifier(t, nil), token, nil)
}

func TestStoreNeedsItsParent(t *testing.T) {
	s, err := issued.NewStore(filepath.Join(t.TempDir(), "none", "tokens"), issuer)
	must(t, err)
	if _, _, err := s.Create(order("ci")); err == nil || !strings.Contains(err.Error(), "install -d -m 700") {
		t.Errorf("without a state_dir: %v", err)
	}
	if _, err := issued.NewStore("tokens", issuer); err == nil {
		t.Error("a relative path is accepted")
	}
	if _, err := issued.NewStore("/tokens", ""); err == nil {
		t.Error("no issuer is accepted")
	}
}
