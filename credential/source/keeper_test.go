package source_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport.dev/credential"
	"sallyport.dev/credential/source"
	"sallyport.dev/credential/source/vaulttest"
	"sallyport.dev/secret"
)

// told is what a keeper has logged.
type told struct {
	mu    sync.Mutex
	lines []string
}

func (l *told) log(event string, ref secret.Ref, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, fmt.Sprintf("%s: %s: %v", event, ref, err))
}

func (l *told) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.lines, "\n")
}

// Parts of a lease belong together wherever they stand among the parts of a credential, also while leases change under
// those who fetch.
func TestPartsOfALeaseBelongTogether(t *testing.T) {
	t.Setenv("SALLYPORT_TEST_CREDENTIAL", "between")
	v := vaulttest.New(t, false)
	v.LeaseTTL, v.MaxTTL = time.Second, time.Second
	k := keep(t, vaultConfig(t, v))
	s := of(t, k, "vault:database/creds/reader#username", "env:SALLYPORT_TEST_CREDENTIAL", "vault:database/creds/reader#password", "vault:database/creds/reader#username")
	seen := make(map[string]bool)
	var mu sync.Mutex
	var crew sync.WaitGroup
	for range 8 {
		crew.Go(func() {
			for end := time.Now().Add(2500 * time.Millisecond); time.Now().Before(end); time.Sleep(time.Millisecond) {
				got, err := s.Fetch(t.Context(), credential.Principal{})
				if err != nil || len(got.Values) != 4 {
					t.Errorf("got %v", err)
					return
				}
				user, password := got.Values[0].Reveal(), got.Values[2].Reveal()
				number := strings.TrimPrefix(user, "v-reader-")
				if got.Values[1].Reveal() != "between" || got.Values[3].Reveal() != user || !strings.HasPrefix(password, "password-of-reader-"+number+"-") {
					t.Errorf("%q and %q are of two leases", user, password)
					return
				}
				mu.Lock()
				seen[user] = true
				mu.Unlock()
			}
		})
	}
	crew.Wait()
	if len(seen) < 2 {
		t.Errorf("only %d leases were seen", len(seen))
	}
}

func TestValuesAreBounded(t *testing.T) {
	long := strings.Repeat("k", 64<<10)
	v := vaulttest.New(t, false)
	v.Put("long", map[string]any{"largest": long, "longer": long + "k"})
	k := keep(t, vaultConfig(t, v))
	if got := get(t, of(t, k, "vault:kv/long#largest")); got != long {
		t.Errorf("the largest gives %d bytes", len(got))
	}
	t.Setenv("SALLYPORT_TEST_CREDENTIAL", long+"k")
	_, file := writeSecret(t, long+"k")
	for _, ref := range []string{"vault:kv/long#longer", "env:SALLYPORT_TEST_CREDENTIAL", file, "exec:" + script(t, "head -c 65537 /dev/zero")} {
		got, err := of(t, k, ref).Fetch(t.Context(), credential.Principal{})
		if !errors.Is(err, credential.ErrUnavailable) || got.Values != nil || len(err.Error()) > 1000 {
			t.Errorf("%s gives %.200v", ref, err)
		}
	}
}

// However many callers come with paths of their own, what is everybody's has room.
func TestManyPrincipalsLeaveRoom(t *testing.T) {
	v := vaulttest.New(t, false)
	v.Put("wiki", map[string]any{"token": "everybody's"})
	cfg := vaultConfig(t, v)
	cfg.Issuers = map[string]string{alice.Issuer: "corp"}
	k := keep(t, cfg)
	for i := range 1030 {
		v.Put(fmt.Sprintf("users/corp/u%d", i), map[string]any{"token": "x"})
	}
	s := of(t, k, "vault:kv/users/{principal.issuer}/{principal.subject}#token")
	for i := range 1024 {
		getFor(t, s, credential.Principal{Issuer: alice.Issuer, Subject: fmt.Sprintf("u%d", i)})
	}
	if _, err := s.Fetch(t.Context(), credential.Principal{Issuer: alice.Issuer, Subject: "u1025"}); !errors.Is(err, credential.ErrUnavailable) {
		t.Errorf("one too many gives %v", err)
	}
	if got := get(t, of(t, k, "vault:kv/wiki#token")); got != "everybody's" {
		t.Errorf("got %q", got)
	}
}

// Close takes 5 s at most, whatever hangs, and gives back what it can.
func TestCloseIsBounded(t *testing.T) {
	for _, fault := range []vaulttest.Fault{"", vaulttest.Hang} {
		v := vaulttest.New(t, false)
		cfg := vaultConfig(t, v)
		cfg.Exec.Timeout = 20 * time.Second
		k, err := source.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 100 {
			get(t, of(t, k, fmt.Sprintf("vault:database/creds/role-%d#password", i)))
		}
		v.Misbehave(fault)
		hanging := of(t, k, "exec:"+script(t, "sleep 60"), "vault:kv/next#token")
		stopped := make(chan error, 1)
		go func() { _, err := hanging.Fetch(context.Background(), credential.Principal{}); stopped <- err }()
		wait(t, "the program runs", func() bool { return processes(t) > 0 })
		began := time.Now()
		k.Close()
		k.Close()
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("%s: it takes %s", fault, took)
		}
		if err := <-stopped; !errors.Is(err, credential.ErrUnavailable) {
			t.Errorf("%s: a fetch that was under way gives %v", fault, err)
		}
		if fault == "" && (v.Leases() != 0 || v.Logins() != 0) {
			t.Errorf("%d leases and %d logins are out", v.Leases(), v.Logins())
		}
	}
}

// processes is how many children this process has.
func processes(t *testing.T) int {
	t.Helper()
	tasks, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, task := range tasks {
		text, err := os.ReadFile(task)
		if err == nil {
			n += len(strings.Fields(string(text)))
		}
	}
	return n
}

// What goes wrong while nobody waits is told, once, with the reference as it is configured and without anything secret.
func TestWhatGoesWrongIsTold(t *testing.T) {
	v := vaulttest.New(t, false)
	v.Put("users/corp/"+alice.Subject, map[string]any{"token": canary})
	var l told
	cfg := vaultConfig(t, v)
	cfg.Vault.TTL, cfg.Exec.TTL, cfg.Log = 2*time.Second, 2*time.Second, l.log
	cfg.Issuers = map[string]string{alice.Issuer: "corp"}
	k := keep(t, cfg)
	broken := filepath.Join(t.TempDir(), "broken")
	program := "exec:" + script(t, "test -e "+broken+" && exit 1; echo "+canary)
	path := "vault:kv/users/{principal.issuer}/{principal.subject}#token"
	s, both := of(t, k, program), of(t, k, path)
	get(t, s)
	getFor(t, both, alice)
	v.Misbehave(vaulttest.Sealed)
	if err := os.WriteFile(broken, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	wait(t, "both have expired", func() bool {
		_, a := s.Fetch(t.Context(), alice)
		_, b := both.Fetch(t.Context(), alice)
		return a != nil && b != nil
	})
	log := l.String()
	if strings.Count(log, "\n") != 1 || !strings.Contains(log, program) || !strings.Contains(log, path) {
		t.Errorf("told is %q", log)
	}
	leaks(t, "the log", log)
	if strings.Contains(log, alice.Subject) {
		t.Errorf("the log names who called: %s", log)
	}
}

func TestIssuersAreNames(t *testing.T) {
	for _, name := range []string{"", "..", "a/b", "a b ", "{principal.subject}"} {
		if _, err := source.New(source.Config{Issuers: map[string]string{alice.Issuer: name}}); !errors.Is(err, credential.ErrConfig) {
			t.Errorf("%q gives %v", name, err)
		}
	}
	if _, err := source.New(source.Config{Issuers: map[string]string{"": "corp"}}); !errors.Is(err, credential.ErrConfig) {
		t.Errorf("an issuer without a name gives %v", err)
	}
}
