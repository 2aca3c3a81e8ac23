package audit

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// message matches what a syslog gets, RFC 5424.
var message = regexp.MustCompile(`^<110>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z \S+ sallyport ` + strconv.Itoa(os.Getpid()) + ` audit - (\{.*\})$`)

// datagrams reads messages until there are n.
func datagrams(t *testing.T, conn net.PacketConn, n int) []string {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	var got []string
	b := make([]byte, 64<<10)
	for range n {
		size, _, err := conn.ReadFrom(b)
		if err != nil {
			t.Fatalf("after %d messages: %v", len(got), err)
		}
		got = append(got, string(b[:size]))
	}
	return got
}

// counted reads messages with their lengths before them, RFC 6587, until there are n.
func counted(t *testing.T, r *bufio.Reader, n int) []string {
	t.Helper()
	var got []string
	for range n {
		digits, err := r.ReadString(' ')
		if err != nil {
			t.Fatalf("after %d messages: %v", len(got), err)
		}
		size, err := strconv.Atoi(strings.TrimSuffix(digits, " "))
		if err != nil || size > maxLine {
			t.Fatalf("no length: %q", digits)
		}
		b := make([]byte, size)
		if _, err := io.ReadFull(r, b); err != nil {
			t.Fatal(err)
		}
		got = append(got, string(b))
	}
	return got
}

// lines takes the lines out of messages.
func lines(t *testing.T, messages []string) []byte {
	t.Helper()
	var content []byte
	for _, m := range messages {
		found := message.FindStringSubmatch(m)
		if found == nil {
			t.Fatalf("no message: %q", m)
		}
		content = append(content, found[1]+"\n"...)
	}
	return content
}

// TestSyslog: over each transport a syslog gets the very lines of the file, checkpoints too.
func TestSyslog(t *testing.T) {
	const n = 2 + 20 + 1
	for _, network := range []string{"unix", "udp", "tcp"} {
		t.Run(network, func(t *testing.T) {
			dir := t.TempDir()
			cfg := strict(dir)
			var receive func() []string
			switch network {
			case "tcp":
				l, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				defer l.Close()
				cfg.Syslog = "tcp://" + l.Addr().String()
				receive = func() []string {
					conn, err := l.Accept()
					if err != nil {
						t.Fatal(err)
					}
					defer conn.Close()
					return counted(t, bufio.NewReader(conn), n)
				}
			default:
				address := filepath.Join(dir, "log")
				cfg.Syslog = "unix:" + address
				if network == "udp" {
					address = "127.0.0.1:0"
				}
				conn, err := net.ListenPacket(map[string]string{"unix": "unixgram", "udp": "udp"}[network], address)
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				if network == "udp" {
					cfg.Syslog = "udp://" + conn.LocalAddr().String()
				}
				receive = func() []string { return datagrams(t, conn, n) }
			}
			l := open(t, cfg, Options{StateDir: dir})
			end(t, l, 20)
			got := make(chan []string)
			go func() { got <- receive() }()
			closeLog(t, l)
			content := lines(t, <-got)
			if want := read(t, cfg.File); string(content) != string(want) || l.Dropped() != 0 {
				t.Errorf("%d dropped; the syslog got\n%s\nand the file\n%s", l.Dropped(), content, want)
			}
			collected := filepath.Join(t.TempDir(), "collected.jsonl")
			write(t, collected, content)
			verified(t, l.PublicKey(), collected)
		})
	}
}

// TestSyslogAlone has a chain that goes on over a restart, from its last checkpoint.
func TestSyslogAlone(t *testing.T) {
	dir := t.TempDir()
	address := filepath.Join(dir, "log")
	conn, err := net.ListenPacket("unixgram", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	cfg := Config{Mode: BestEffort, Syslog: "unix:" + address}
	var content []byte
	var key PublicKey
	for range 2 {
		l := open(t, cfg, Options{StateDir: dir})
		end(t, l, 3)
		closeLog(t, l)
		content, key = append(content, lines(t, datagrams(t, conn, 6))...), l.PublicKey()
	}
	collected := filepath.Join(t.TempDir(), "collected.jsonl")
	write(t, collected, content)
	if report := verified(t, key, collected); report.First != 1 || report.Last != 12 {
		t.Errorf("%+v", report)
	}
	if _, err := os.Stat(cfg.Path(dir)); !os.IsNotExist(err) {
		t.Errorf("there is a file: %v", err)
	}
}

// TestSyslogReconnects: what waited while nobody listened arrives, in order.
func TestSyslogReconnects(t *testing.T) {
	dir := t.TempDir()
	first, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := first.Addr().String()
	_ = first.Close()
	cfg := strict(dir)
	cfg.Syslog = "tcp://" + address
	l := open(t, cfg, Options{StateDir: dir})
	end(t, l, 5)
	second, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	conn, err := second.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	got := lines(t, counted(t, bufio.NewReader(conn), 7))
	if want := read(t, cfg.File); string(got) != string(want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	closeLog(t, l)
}

// TestSyslogHoldsNobodyUp: one that accepts and never reads, and one that is not there.
func TestSyslogHoldsNobodyUp(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })
	for name, cfg := range map[string]Config{
		"silent, and a file": {Mode: Strict, Syslog: "tcp://" + silent.Addr().String()},
		"silent, alone":      {Mode: BestEffort, Syslog: "tcp://" + silent.Addr().String()},
		"not there":          {Mode: BestEffort, Syslog: "unix:/nonexistent/log"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // most of the time it waits for a syslog
			dir := t.TempDir()
			if cfg.Mode == Strict {
				cfg.File = strict(dir).File
			}
			l := open(t, cfg, Options{StateDir: dir})
			start := time.Now()
			e := sample()
			e.Tool = strings.Repeat("x", 256)
			const n = 20_000 // more than a queue and the kernel's buffers take
			for i := range n {
				e.RequestID = fmt.Sprint(i)
				if err := l.End(e); err != nil {
					t.Fatal(err)
				}
			}
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("%d events took %s", n, took)
			}
			if l.Dropped() == 0 {
				t.Error("nothing was dropped")
			}
			if lost := l.Lost(); (lost == 0) != (cfg.Mode == Strict) {
				t.Errorf("%d lost", lost)
			}
			start = time.Now()
			_ = l.Close() // a syslog alone could not take the last checkpoint
			if took := time.Since(start); took > syslogClose+2*time.Second {
				t.Errorf("Close took %s", took)
			}
		})
	}
}
