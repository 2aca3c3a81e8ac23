package tunnel_test

import (
	"context"
	"io"
	"net"
	"testing"

	"sallyport.dev/tunnel"
	"sallyport.dev/tunnel/tunneltest"
)

// BenchmarkExchange is one 300-byte message there and back, a stream each or a
// recycled one as the transport has it.
func BenchmarkExchange(b *testing.B) {
	const size = 300
	for _, transport := range tunneltest.Transports() {
		b.Run(string(transport), func(b *testing.B) {
			connector, gateway := tunneltest.Pair(b, transport, tunnel.Config{Instance: "c"}, tunnel.Config{Instance: "g"})
			wait := tunneltest.Serve(connector, func(conn net.Conn) {
				buf := make([]byte, size)
				for {
					if _, err := io.ReadFull(conn, buf); err != nil {
						return
					}
					if _, err := conn.Write(buf); err != nil || !transport.Reuses() {
						return
					}
				}
			})
			message, answer := make([]byte, size), make([]byte, size)
			b.ReportAllocs()
			for b.Loop() {
				conn, err := gateway.Open(context.Background())
				if err != nil {
					b.Fatal(err)
				}
				if _, err := conn.Write(message); err != nil {
					b.Fatal(err)
				}
				if _, err := io.ReadFull(conn, answer); err != nil {
					b.Fatal(err)
				}
				tunnel.Recycle(conn)
			}
			gateway.CloseWith(tunnel.Reason{})
			wait()
		})
	}
}
