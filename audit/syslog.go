package audit

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// syslogQueue is how many lines wait for the syslog.
	syslogQueue = 1024
	// syslogDial bounds a connection attempt, and syslogWrite a message.
	syslogDial  = 5 * time.Second
	syslogWrite = 5 * time.Second
	// syslogFirst is the pause after the first failure; it doubles up to syslogLongest.
	syslogFirst   = 250 * time.Millisecond
	syslogLongest = 30 * time.Second
	// syslogClose is how long Close waits for the queue.
	syslogClose = 2 * time.Second
	// syslogPriority is facility 13 (log audit) and severity 6 (informational), RFC 5424 section 6.2.1.
	syslogPriority = 13*8 + 6
)

// syslogMessage is one that waits: the line, and its time.
type syslogMessage struct {
	time time.Time
	line []byte
}

// syslogSender sends lines to a syslog, in order, and holds nobody up.
type syslogSender struct {
	to      endpoint
	logger  *slog.Logger
	head    string // of each message, between time and line
	queue   chan syslogMessage
	dropped atomic.Int64
	cancel  context.CancelFunc
	sender  sync.WaitGroup
}

func newSyslogSender(to endpoint, logger *slog.Logger) *syslogSender {
	ctx, cancel := context.WithCancel(context.Background())
	s := &syslogSender{to: to, logger: logger, head: syslogHead(), queue: make(chan syslogMessage, syslogQueue), cancel: cancel}
	s.sender.Go(func() { s.run(ctx) })
	return s
}

// syslogHead is host, program, process id, message id and no structured data, RFC 5424 section 6.2.
func syslogHead() string {
	host, err := os.Hostname()
	host = strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' {
			return -1
		}
		return r
	}, host)
	if err != nil || host == "" || len(host) > 255 {
		host = "-"
	}
	return " " + host + " sallyport " + strconv.Itoa(os.Getpid()) + " audit - "
}

// send takes a line unless the queue is full. It copies the line.
func (s *syslogSender) send(at time.Time, line []byte) bool {
	select {
	case s.queue <- syslogMessage{at, append([]byte(nil), line...)}:
		return true
	default:
		s.dropped.Add(1)
		return false
	}
}

// close waits for the queue to empty, but not long, and ends the sender. Nothing is sent any more by then.
func (s *syslogSender) close() {
	close(s.queue)
	timer := time.AfterFunc(syslogClose, s.cancel)
	s.sender.Wait()
	timer.Stop()
	s.cancel()
}

// run sends until the queue is closed and empty, or ctx ends; what is left then is dropped.
func (s *syslogSender) run(ctx context.Context) {
	var conn net.Conn
	defer func() {
		if conn != nil {
			_ = conn.Close() // all that could be sent was
		}
	}()
	pause := syslogFirst
	var frame []byte
	for m := range s.queue {
		frame = s.frame(frame[:0], m)
		for sent := false; !sent; {
			if ctx.Err() != nil {
				s.dropped.Add(1)
				break
			}
			var err error
			if conn, err = s.deliver(ctx, conn, frame); err == nil {
				if pause != syslogFirst {
					s.logger.Info("the syslog gets audit lines again", slog.String("remote", s.to.address))
				}
				pause, sent = syslogFirst, true
				continue
			}
			if errors.Is(err, syscall.EMSGSIZE) {
				s.dropped.Add(1) // no second try makes it shorter
				break
			}
			if pause == syslogFirst {
				s.logger.Warn("the syslog gets no audit lines", slog.String("remote", s.to.address), slog.Any("error", err))
			}
			wait(ctx, pause)
			pause = min(2*pause, syslogLongest)
		}
	}
}

// deliver sends a message over conn, or over a new connection if that is nil. The connection that it returns is the
// one to go on with; nil after an error.
func (s *syslogSender) deliver(ctx context.Context, conn net.Conn, frame []byte) (net.Conn, error) {
	if conn == nil {
		dialer := net.Dialer{Timeout: syslogDial}
		var err error
		if conn, err = dialer.DialContext(ctx, s.to.network, s.to.address); err != nil {
			return nil, err
		}
	}
	deadline := time.Now().Add(syslogWrite)
	_ = conn.SetWriteDeadline(deadline)
	stop := context.AfterFunc(ctx, func() { _ = conn.SetWriteDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := conn.Write(frame); err != nil {
		_ = conn.Close() // it is broken
		return nil, err
	}
	return conn, nil
}

// frame appends the message as RFC 5424 has it; over TCP its length goes before it, RFC 6587 section 3.4.1.
func (s *syslogSender) frame(b []byte, m syslogMessage) []byte {
	var message []byte
	message = append(message, '<')
	message = strconv.AppendInt(message, syslogPriority, 10)
	message = append(message, ">1 "...)
	message = m.time.UTC().AppendFormat(message, timeLayout)
	message = append(message, s.head...)
	message = append(message, m.line...)
	if s.to.network == "tcp" {
		b = strconv.AppendInt(b, int64(len(message)), 10)
		b = append(b, ' ')
	}
	return append(b, message...)
}

// wait lets time pass, until ctx ends.
func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
