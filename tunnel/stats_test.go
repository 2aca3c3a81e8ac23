package tunnel_test

import (
	"io"
	"testing"
	"time"

	"sallyport.dev/tunnel"
	"sallyport.dev/tunnel/tunneltest"
)

// TestTotals: what streams carry is counted on both sides, once, and does not fall when a session has ended.
func TestTotals(t *testing.T) {
	for _, transport := range tunneltest.Transports() {
		t.Run(string(transport), func(t *testing.T) {
			opener, acceptor := tunneltest.Pair(t, transport, tunnel.Config{Instance: "c"}, tunnel.Config{Instance: "g"})
			var totals tunnel.Totals
			totals.Add(opener)
			served := make(chan error, 1)
			go func() {
				conn, err := acceptor.Accept(t.Context())
				if err == nil {
					_, err = io.ReadFull(conn, make([]byte, 1000))
				}
				if err == nil {
					_, err = conn.Write(make([]byte, 300))
				}
				served <- err
				if err == nil {
					_ = conn.Close()
				}
			}()
			conn, err := opener.Open(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := conn.Write(make([]byte, 1000)); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(conn, make([]byte, 300)); err != nil {
				t.Fatal(err)
			}
			if err := <-served; err != nil {
				t.Fatal(err)
			}
			if got := totals.Sums()[transport]; got.Streams != 1 || got.BytesIn != 300 || got.BytesOut != 1000 || (got.PacketsSent > 0) != (transport == tunnel.QUIC) {
				t.Errorf("with the stream open: %+v", got)
			}
			if got := acceptor.Stats(); got.BytesIn != 1000 || got.BytesOut != 300 {
				t.Errorf("at the other side: %+v", got)
			}
			_ = conn.Close()
			_ = conn.Close()
			before := totals.Sums()[transport]
			if before.Streams != 0 {
				t.Errorf("with the stream closed: %+v", before)
			}
			opener.CloseWith(tunnel.Reason{Code: tunnel.CodeOK})
			totals.Remove(opener)
			totals.Remove(opener)
			after := totals.Sums()
			if got := after[transport]; got.BytesIn != 300 || got.BytesOut != 1000 || got.RTT != time.Duration(0) || got.PacketsSent < before.PacketsSent {
				t.Errorf("after the session: %+v, before %+v", got, before)
			}
			if _, ok := after[tunnel.TCP]; !ok {
				t.Error("a transport without a session is not there")
			}
		})
	}
}
