package tunnel

import (
	"context"
	"net"
)

// Streams is a [net.Listener] over the streams that the peer opens, for an
// HTTP server. Closing it stops accepting; the session and its open streams
// go on. Accept fails once the session has ended.
func (s *Session) Streams() net.Listener {
	ctx, stop := context.WithCancel(context.Background())
	return &streamListener{
		addr: s.mux.localAddr(),
		stop: stop,
		accept: func() (net.Conn, error) {
			conn, err := s.Accept(ctx)
			if err != nil && ctx.Err() != nil {
				return nil, net.ErrClosed
			}
			return conn, err
		},
	}
}

type streamListener struct {
	addr   net.Addr
	stop   context.CancelFunc
	accept func() (net.Conn, error)
}

func (l *streamListener) Accept() (net.Conn, error) { return l.accept() }
func (l *streamListener) Addr() net.Addr            { return l.addr }

func (l *streamListener) Close() error {
	l.stop()
	return nil
}
