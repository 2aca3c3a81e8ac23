package tunneltest

import (
	"context"
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/net/nettest"

	"sallyport.dev/tunnel"
)

// promise is one thing that every transport must keep.
type promise struct {
	name string
	keep func(t *testing.T, transport tunnel.Transport)
}

// Run runs the suite over one transport. Those promises that need the machine
// for themselves go first, one after another; the rest run beside each other.
func Run(t *testing.T, transport tunnel.Transport) {
	alone := []promise{
		{"streams opened and closed leave memory and goroutines at baseline", leavesNothing},
		{"as many stalled readers as the limit allows do not stall a sibling, gateway stalls", gatewayStalls},
		{"as many stalled readers as the limit allows do not stall a sibling, connector stalls", connectorStalls},
		{"an honest opener opens all, cancels all and reopens all", reopensAll},
		{"an honest opener at the limit never kills its session", churnsAtTheLimit},
		{"close reasons arrive under load, every one", reasonsArrive},
		{"recycled streams serve the next open", recycles},
	}
	beside := []promise{
		{"a stream is a net.Conn", isConn},
		{"both sides open and accept", bothOpen},
		{"the peer says who it is", peerFacts},
		{"open waits at the stream limit and honours its context", openWaits},
		{"close delivers what was written, then EOF", closeDelivers},
		{"errors of streams are the promised ones", streamErrors},
		{"the opener's close frees the acceptor's blocked writer", openerCancels},
		{"the acceptor's close frees the opener's blocked writer", acceptorCancels},
		{"a blocked reader is freed by the peer's close", freesReader},
		{"an early answer to a large body arrives", answersEarly},
		{"an unfit stream is not recycled", closesUnfit},
		{"drain stops new streams and leaves open ones alone", drains},
		{"a listener of streams closes without its session", listens},
		{"the end of a session ends its streams with its reason", endsStreams},
	}
	for _, p := range alone {
		t.Run(p.name, func(t *testing.T) { p.keep(t, transport) })
	}
	for _, p := range beside {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			p.keep(t, transport)
		})
	}
}

func isConn(t *testing.T, transport tunnel.Transport) {
	nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
		dialed, accepted := pair(t, transport)
		c1, c2 = OpenStream(t, accepted, dialed)
		return c1, c2, func() { _ = c1.Close(); _ = c2.Close() }, nil
	})
}

// pair is Pair with the limits of a connector and of a gateway.
func pair(t testing.TB, transport tunnel.Transport) (connector, gateway *tunnel.Session) {
	t.Helper()
	return limited(t, transport, tunnel.DefaultStreams)
}

// limited is pair with a connector that accepts so many streams.
func limited(t testing.TB, transport tunnel.Transport, streams int) (connector, gateway *tunnel.Session) {
	t.Helper()
	return Pair(t, transport,
		tunnel.Config{Instance: "connector", AcceptStreams: streams},
		tunnel.Config{Instance: "gateway", AcceptStreams: tunnel.GatewayStreams})
}

// OpenStream opens a stream from one end to the other and proves it with a
// byte, since a QUIC stream exists for the peer only once something was sent.
func OpenStream(t testing.TB, from, to *tunnel.Session) (opened, accepted net.Conn) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		var err error
		if accepted, err = to.Accept(ctx); err == nil {
			_, err = io.ReadFull(accepted, make([]byte, 1))
		}
		done <- err
	}()
	opened, err := from.Open(ctx)
	if err == nil {
		_, err = opened.Write([]byte{1})
	}
	if err != nil {
		t.Fatalf("open a stream: %v", err)
	}
	if err := <-done; err != nil {
		t.Fatalf("accept a stream: %v", err)
	}
	return opened, accepted
}
