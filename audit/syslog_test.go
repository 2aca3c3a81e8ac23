package audit

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// framed is what a syslog gets: RFC 5424 with the line as its message.
var framed = regexp.MustCompile(`^<109>1 \d{4}-\d\d-\d\dT[0-9:.]+Z \S+ sallyport \d+ audit - (\{.*\})$`)

// Lines reach a syslog over each transport, as they stand in the file.
func TestSyslog(t *testing.T) {
	datagrams := func(conn net.PacketConn) func() (string, error) {
		return func() (string, error) {
			buf := make([]byte, 64<<10)
			_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
			n, _, err := conn.ReadFrom(buf)
			return string(buf[:n]), err
		}
	}
	for name, listen := range map[string]func(t *testing.T) (where string, read func() (string, error)){
		"unix": func(t *testing.T) (string, func() (string, error)) {
			path := filepath.Join(t.TempDir(), "log")
			conn, err := net.ListenPacket("unixgram", path)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = conn.Close() })
			return "unix:" + path, datagrams(conn)
		},
		"udp": func(t *testing.T) (string, func() (string, error)) {
			conn, err := net.ListenPacket("udp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = conn.Close() })
			return "udp://" + conn.LocalAddr().String(), datagrams(conn)
		},
		"tcp": func(t *testing.T) (string, func() (string, error)) {
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = listener.Close() })
			var in *bufio.Reader
			return "tcp://" + listener.Addr().String(), func() (string, error) {
				if in == nil {
					conn, err := listener.Accept()
					if err != nil {
						return "", err
					}
					t.Cleanup(func() { _ = conn.Close() })
					in = bufio.NewReader(conn)
				}
				var length int
				if _, err := fmt.Fscanf(in, "%d ", &length); err != nil {
					return "", err
				}
				message := make([]byte, length)
				_, err := io.ReadFull(in, message)
				return string(message), err
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			where, read := listen(t)
			dir := t.TempDir()
			l := mustOpen(t, Config{Mode: BestEffort, Syslog: where, File: Config{}.Path(dir)}, dir)
			if err := l.End(event(1)); err != nil {
				t.Fatal(err)
			}
			for _, kind := range []string{typeStart, typeEvent} {
				got, err := read()
				if err != nil {
					t.Fatal(err)
				}
				parts := framed.FindStringSubmatch(got)
				if parts == nil {
					t.Fatalf("%q", got)
				}
				if r, err := ParseRecord([]byte(parts[1])); err != nil || r.Type != kind {
					t.Errorf("%v, %+v", err, r)
				}
			}
			mustClose(t, l)
			if r := verify(t, dir); len(r.Problems) > 0 {
				t.Errorf("%+v", r)
			}
		})
	}
}

// A syslog that is away holds nobody up.
func TestSyslogIsAway(t *testing.T) {
	dir := t.TempDir()
	l := mustOpen(t, Config{Mode: BestEffort, Syslog: "unix:" + filepath.Join(dir, "none")}, dir)
	began := time.Now()
	for i := range 10_000 {
		if err := l.End(event(i)); err != nil {
			t.Fatal(err)
		}
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("10000 events take %s", took)
	}
	mustClose(t, l)
	if l.sink.dropped.Load() < 10_000 {
		t.Errorf("%d lines were dropped", l.sink.dropped.Load())
	}
}

func TestConfig(t *testing.T) {
	for _, good := range []Config{{}, {Mode: Strict}, {Mode: BestEffort, Syslog: "udp://siem:514"}, {Mode: Strict, File: "/a/b", Syslog: "unix:/dev/log", Keep: 1, MaxSize: leastMaxSize}} {
		if err := good.Validate(); err != nil {
			t.Errorf("%+v: %v", good, err)
		}
	}
	for says, bad := range map[string]Config{
		"mode: required":   {File: "/x"},
		"mode: strict or":  {Mode: "sometimes"},
		"file: write":      {Mode: Strict, File: "x"},
		"file: required":   {Mode: Strict, Syslog: "unix:/dev/log"},
		"syslog: write":    {Mode: BestEffort, Syslog: "http://x:1"},
		"max_size: 65536":  {Mode: BestEffort, MaxSize: 1},
		"keep: 1 to 10000": {Mode: BestEffort, Keep: 10_001},
	} {
		if err := bad.Validate(); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%+v: %v, want %s", bad, err, says)
		}
	}
}
