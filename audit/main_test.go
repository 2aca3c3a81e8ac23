package audit

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clock is one that tests set.
type clock struct {
	mu  sync.Mutex // guards now
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// sample is an event with everything in it.
func sample() Event {
	return Event{
		Time: time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC), RequestID: "7f3a", Issuer: "https://idp.example.com", Subject: "alice@example.com", Server: "wiki",
		Method: "tools/call", Tool: "search", Arguments: ArgumentsHash([]byte(`{"q":"x"}`)), Rule: "rule 2", Decision: "allow", WouldDeny: []string{"rule 5"},
		Credentials: []string{"header authorization", "file:/etc/sallyport/wiki.key"}, Outcome: "answered", Delivered: "yes", Status: 200, Duration: 1234 * time.Microsecond, Alike: 3,
	}
}

// strict is a log in a file of dir.
func strict(dir string) Config {
	return Config{Mode: Strict, File: filepath.Join(dir, "log.jsonl")}
}

func open(t testing.TB, cfg Config, opts Options) *Log {
	t.Helper()
	_, fast := t.(*testing.B)
	opts.lookAlways = !fast
	l, err := Open(cfg, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() }) // a test that cares has closed it
	return l
}

func end(t testing.TB, l *Log, n int) {
	t.Helper()
	for range n {
		if err := l.End(sample()); err != nil {
			t.Fatal(err)
		}
	}
}

func closeLog(t testing.TB, l *Log) {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

// verified is the report of a log that has to be intact.
func verified(t testing.TB, key PublicKey, path string, kept ...Checkpoint) Report {
	t.Helper()
	report, err := Verify(t.Context(), []string{path}, VerifyOptions{PublicKey: key, Checkpoints: kept})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range report.Problems {
		t.Errorf("the log is not intact: %s", p)
	}
	return report
}

// problems are the kinds of what is wrong with a log.
func problems(t testing.TB, key PublicKey, path string) (report Report, kinds string) {
	t.Helper()
	report, err := Verify(t.Context(), []string{path}, VerifyOptions{PublicKey: key})
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, p := range report.Problems {
		found = append(found, p.Kind)
	}
	return report, strings.Join(found, " ")
}

// records reads all lines of a log.
func records(t testing.TB, path string) []Record {
	t.Helper()
	var found []Record
	for _, name := range files(t, path) {
		if err := Scan(bytes.NewReader(read(t, name)), func(line []byte) error {
			r, err := ParseRecord(line)
			if err != nil {
				t.Errorf("%s holds a line that is none: %q", name, line)
			}
			found = append(found, r)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	return found
}

func types(found []Record) string {
	letters := map[string]byte{typeStart: 'S', typeBegin: 'b', typeEvent: 'e', typeCheckpoint: 'C', typeLost: 'L', typeRecovered: 'R'}
	var b []byte
	for _, r := range found {
		b = append(b, letters[r.Type])
	}
	return string(b)
}

func files(t testing.TB, path string) []string {
	t.Helper()
	found, err := Files(path)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func write(t testing.TB, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// eventually waits for something that the keeper does.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 10 s: %s", what)
		}
	}
}
