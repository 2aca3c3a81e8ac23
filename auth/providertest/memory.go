package providertest

import (
	"context"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// memory is a listener without a port. Its connections hold what was written until it is read, as those of a kernel do: two
// ends of a net.Pipe that close TLS at once would wait for each other.
type memory struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newMemory() *memory { return &memory{conns: make(chan net.Conn), closed: make(chan struct{})} }

func (m *memory) dial(ctx context.Context) (net.Conn, error) {
	there, back := newStream(), newStream()
	near, far := newConn(back, there), newConn(there, back)
	select {
	case m.conns <- far:
		return near, nil
	case <-m.closed:
		return nil, syscall.ECONNREFUSED
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Accept implements net.Listener.
func (m *memory) Accept() (net.Conn, error) {
	select {
	case conn := <-m.conns:
		return conn, nil
	case <-m.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (m *memory) Close() error {
	m.once.Do(func() { close(m.closed) })
	return nil
}

// Addr implements net.Listener.
func (m *memory) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

// stream is one direction of a connection.
type stream struct {
	mu     sync.Mutex // guards what follows
	held   []byte
	closed bool          // by either end
	change chan struct{} // closed at the next change
}

func newStream() *stream { return &stream{change: make(chan struct{})} }

// changed wakes who waits. s.mu is held.
func (s *stream) changed() {
	close(s.change)
	s.change = make(chan struct{})
}

func (s *stream) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.changed()
}

func (s *stream) write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, syscall.EPIPE
	}
	s.held = append(s.held, b...)
	s.changed()
	return len(b), nil
}

// read takes what is held, or says what to wait for.
func (s *stream) read(b []byte) (n int, wait <-chan struct{}, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case len(s.held) > 0:
		n = copy(b, s.held)
		s.held = s.held[n:]
		return n, nil, nil
	case s.closed:
		return 0, nil, io.EOF
	}
	return 0, s.change, nil
}

// conn is one end of a connection. Writes do not block, so they have no deadline.
type conn struct {
	in, out *stream

	mu       sync.Mutex // guards what follows
	closed   bool
	deadline time.Time // of reads
	change   chan struct{}
}

func newConn(in, out *stream) *conn { return &conn{in: in, out: out, change: make(chan struct{})} }

// Read implements net.Conn.
func (c *conn) Read(b []byte) (int, error) {
	for {
		c.mu.Lock()
		closed, deadline, change := c.closed, c.deadline, c.change
		c.mu.Unlock()
		switch {
		case closed:
			return 0, net.ErrClosed
		case !deadline.IsZero() && !time.Now().Before(deadline):
			return 0, os.ErrDeadlineExceeded
		}
		n, wait, err := c.in.read(b)
		if wait == nil {
			return n, err
		}
		c.wait(wait, change, deadline)
	}
}

func (c *conn) wait(wait, change <-chan struct{}, deadline time.Time) {
	var late <-chan time.Time
	if !deadline.IsZero() {
		timer := time.NewTimer(time.Until(deadline))
		defer timer.Stop()
		late = timer.C
	}
	select {
	case <-wait:
	case <-change:
	case <-late:
	}
}

// Write implements net.Conn.
func (c *conn) Write(b []byte) (int, error) { return c.out.write(b) }

// Close implements net.Conn.
func (c *conn) Close() error {
	c.set(func() { c.closed = true })
	c.in.close()
	c.out.close()
	return nil
}

// SetDeadline implements net.Conn.
func (c *conn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

// SetReadDeadline implements net.Conn.
func (c *conn) SetReadDeadline(t time.Time) error {
	c.set(func() { c.deadline = t })
	return nil
}

// SetWriteDeadline implements net.Conn.
func (c *conn) SetWriteDeadline(time.Time) error { return nil }

// LocalAddr implements net.Conn.
func (c *conn) LocalAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

// RemoteAddr implements net.Conn.
func (c *conn) RemoteAddr() net.Addr { return c.LocalAddr() }

func (c *conn) set(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
	close(c.change)
	c.change = make(chan struct{})
}
