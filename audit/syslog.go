package audit

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync/atomic"
	"time"
)

const (
	syslogQueue   = 4096            // lines that wait to be sent
	syslogTimeout = 5 * time.Second // to connect, and to send a line
	syslogPause   = 5 * time.Second // after a failure
	syslogNotice  = "<109>1"        // facility 13 (log audit), severity 5 (notice); RFC 5424, section 6.2.1
)

// syslogSink sends lines to a syslog (RFC 5424; over TCP with octet counting, RFC 6587, section 3.4.1). It never holds anybody
// up: what finds no room, or cannot be sent, is dropped and counted. A nil sink takes nothing.
type syslogSink struct {
	to      endpoint
	log     *slog.Logger
	host    string
	lines   chan string
	stop    chan struct{}
	done    chan struct{}
	dropped atomic.Int64
}

func newSyslogSink(where string, log *slog.Logger) *syslogSink {
	to, err := parseSyslog(where)
	if err != nil {
		return nil // validated before
	}
	host, err := os.Hostname()
	if err != nil || host == "" {
		host = "-"
	}
	s := &syslogSink{to: to, log: log, host: host, lines: make(chan string, syslogQueue), stop: make(chan struct{}), done: make(chan struct{})}
	go s.run()
	return s
}

func (s *syslogSink) send(line []byte) {
	if s == nil {
		return
	}
	select {
	case s.lines <- string(line):
	default:
		s.drop()
	}
}

// close sends what waits, as far as that goes without a pause.
func (s *syslogSink) close() {
	if s != nil {
		close(s.stop)
		<-s.done
	}
}

// drop counts, and says so now and then.
func (s *syslogSink) drop() {
	if n := s.dropped.Add(1); n&(n-1) == 0 {
		s.log.Warn("lines of the audit log did not reach the syslog", "dropped", n)
	}
}

func (s *syslogSink) run() {
	defer close(s.done)
	var conn net.Conn
	defer func() {
		if conn != nil {
			_ = conn.Close()
		}
	}()
	var pause time.Time
	for {
		var line string
		select {
		case line = <-s.lines:
		case <-s.stop:
			select {
			case line = <-s.lines:
			default:
				return
			}
		}
		if time.Now().Before(pause) {
			s.drop()
			continue
		}
		if conn = s.sendOn(conn, line); conn == nil {
			s.drop()
			pause = time.Now().Add(syslogPause)
		}
	}
}

// sendOn sends a line, on a new connection if there is none. It returns nil if that failed.
func (s *syslogSink) sendOn(conn net.Conn, line string) net.Conn {
	if conn == nil {
		fresh, err := (&net.Dialer{Timeout: syslogTimeout}).DialContext(context.Background(), s.to.network, s.to.address)
		if err != nil {
			return nil
		}
		conn = fresh
	}
	message := fmt.Sprintf("%s %s %s sallyport %d audit - %s", syslogNotice, time.Now().UTC().Format(timeLayout), s.host, os.Getpid(), line)
	if s.to.network == "tcp" {
		message = fmt.Sprintf("%d %s", len(message), message)
	}
	_ = conn.SetWriteDeadline(time.Now().Add(syslogTimeout))
	if _, err := conn.Write([]byte(message)); err != nil {
		_ = conn.Close()
		return nil
	}
	return conn
}
