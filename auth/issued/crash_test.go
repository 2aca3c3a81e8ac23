package issued_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport.dev/auth"
	"sallyport.dev/auth/issued"
)

// writerDir has the test binary write to this directory, as a process of its own, until it is killed.
const writerDir = "SALLYPORT_TEST_WRITER_DIR"

// TestWriterProcess is no test: it is what startWriter runs. A line is printed after the deed that it tells of.
func TestWriterProcess(t *testing.T) {
	dir := os.Getenv(writerDir)
	if dir == "" {
		return
	}
	s, err := issued.NewStore(dir, issuer)
	must(t, err)
	for {
		c, token, err := s.Create(order("ci"))
		must(t, err)
		fmt.Println("created", c.ID, token.Reveal())
		_, err = s.Revoke([]string{c.ID})
		must(t, err)
		fmt.Println("revoked", c.ID)
	}
}

// deeds are what a writer has said that it did.
type deeds struct {
	tokens  map[string]string // by id
	revoked []string
	other   []string // lines that tell of a failure
}

// startWriter waits until a writer has made a token, and gives a function that kills it and says what it did.
func startWriter(t *testing.T, dir string) (kill func() deeds) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestWriterProcess$", "-test.count=1")
	cmd.Env = append(os.Environ(), writerDir+"="+dir)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Error(err)
		return func() deeds { return deeds{} }
	}
	did, done := deeds{tokens: make(map[string]string)}, make(chan struct{})
	began := make(chan struct{})
	begin := sync.OnceFunc(func() { close(began) })
	go func() {
		defer close(done)
		defer begin()
		reader := bufio.NewReader(out)
		for {
			line, err := reader.ReadString('\n')
			if err != nil { // what was cut off was not said
				return
			}
			switch words := strings.Fields(line); {
			case len(words) == 3 && words[0] == "created":
				did.tokens[words[1]] = words[2]
				begin()
			case len(words) == 2 && words[0] == "revoked":
				did.revoked = append(did.revoked, words[1])
			default:
				did.other = append(did.other, line)
			}
		}
	}()
	<-began
	return func() deeds {
		_ = cmd.Process.Kill()
		<-done
		_ = cmd.Wait()
		return did
	}
}

// check holds the directory to what a writer said.
func (d deeds) check(t *testing.T, s site) {
	t.Helper()
	if len(d.other) > 0 {
		t.Errorf("a writer failed: %q", d.other)
	}
	known, v := states(t, s), s.verifier(t, nil)
	for id := range d.tokens {
		if _, ok := known[id]; !ok {
			t.Errorf("the register has lost %s", id)
		}
	}
	for _, id := range d.revoked {
		if known[id] != issued.Revoked {
			t.Errorf("%s was revoked, and is %q", id, known[id])
		}
		expect(t, v, d.tokens[id], auth.ErrInvalid)
	}
}

// TestKilledWriters lose nothing that they have said was done, and tear no list.
func TestKilledWriters(t *testing.T) {
	s := newSite(t)
	s.create(t, order("ci"))
	for round := range 12 {
		kill := startWriter(t, s.dir)
		<-time.After(time.Duration(round) * 3700 * time.Microsecond)
		did := kill()
		if len(did.tokens) == 0 {
			t.Error("the writer has made nothing")
		}
		did.check(t, s)
	}
}

// TestTwoProcessesAtOnce write one after the other.
func TestTwoProcessesAtOnce(t *testing.T) {
	s := newSite(t)
	kills := make([]func() deeds, 2)
	var wg sync.WaitGroup
	for i := range kills { // who makes the directory and the key is open
		wg.Go(func() { kills[i] = startWriter(t, s.dir) })
	}
	wg.Wait()
	<-time.After(100 * time.Millisecond)
	did := make([]deeds, len(kills))
	for i, kill := range kills {
		wg.Go(func() { did[i] = kill() })
	}
	wg.Wait()
	r, err := s.List()
	must(t, err)
	if len(r.Keys) != 1 {
		t.Errorf("there are %d keys", len(r.Keys))
	}
	for i, d := range did {
		if len(d.tokens) == 0 {
			t.Errorf("writer %d has made nothing", i)
		}
		d.check(t, s)
	}
}

// TestRegisterTornAnywhere loses the torn line and no other, and the next one is whole.
func TestRegisterTornAnywhere(t *testing.T) {
	s := newSite(t)
	first, _ := s.create(t, order("ci"))
	start := len(read(t, s.register()))
	last, _ := s.create(t, order("ci"))
	whole := read(t, s.register())
	for cut := start; cut <= len(whole); cut++ {
		write(t, s.register(), whole[:cut])
		next, _ := s.create(t, order("ci"))
		want := []string{first.ID, next.ID}
		if cut >= len(whole)-1 { // only the line break is missing, or nothing
			want = slices.Insert(want, 1, last.ID)
		}
		r, err := s.List()
		must(t, err)
		var got []string
		for _, token := range r.Tokens {
			got = append(got, token.ID)
		}
		if torn := start < cut && cut < len(whole)-1; !slices.Equal(got, want) || len(r.Torn) > 0 != torn {
			t.Errorf("cut at %d of %d: listed %v, want %v, torn %v", cut, len(whole), got, want, r.Torn)
		}
	}
}

// TestListTornAnywhere is never taken.
func TestListTornAnywhere(t *testing.T) {
	s := newSite(t)
	c, _ := s.create(t, order("ci"))
	_, err := s.Revoke([]string{c.ID})
	must(t, err)
	whole := read(t, s.list())
	for cut := range whole {
		write(t, s.list(), whole[:cut])
		if _, err := issued.New(issued.Config{Dir: s.dir, Issuer: issuer}); err == nil {
			t.Errorf("cut at %d of %d: it is taken", cut, len(whole))
		}
		if _, err := s.Revoke([]string{c.ID}); err == nil {
			t.Fatalf("cut at %d of %d: it is written over", cut, len(whole))
		}
	}
}
