// Package tunnel carries byte streams over one outbound connection: a
// connector dials, a gateway listens, and either side opens streams to the
// other. It does not know what flows on them: no HTTP, no MCP, no identity
// and no secret.
//
// A [Session] is one live connection. It runs over QUIC ([ListenQUIC],
// [Dialer]), over yamux on TLS/TCP ([AcceptTCP], [Dialer]) or, in tests, over
// memory ([Pipe]); the three behave alike and pass the same suite
// (tunnel/tunneltest).
//
// # Streams
//
// A stream is a [net.Conn] whose Close ends both directions. Reading EOF
// before a complete message therefore means that the peer gave up. The opener
// closes a stream, or hands it to [Recycle] once a whole exchange is done; the
// acceptor closes first only to abort, and on QUIC after its answer. Closing
// frees the peer's blocked writer at once on QUIC, and on yamux where that
// peer is reading (else within its close timeout, 5 s).
//
// A Write that makes no progress for 30 s fails with [ErrStalled] and the
// stream is cut. An idle stream is never cut.
//
// # Limits, and their sum
//
//	streams a peer may have open here   Config.AcceptStreams (1,024)
//	stream window                       256 KiB, fixed: initial = maximum
//	connection window (QUIC)            (1,024 + 16 + 1) × 256 KiB = 260.25 MiB
//	control frame                       4 KiB
//
// Windows are never auto-tuned, and the connection window covers every stream
// that can exist at once. So as many stalled readers as the stream limit
// allows cannot stall a sibling, and a session holds at most
// (limit + 1) × 256 KiB of data that nobody reads. Memory is taken only for
// bytes that really wait.
//
// QUIC enforces the stream limit itself. On yamux each hello says how many
// streams its sender accepts; the opener counts, and gives a slot back only once
// the peer's end is known to be over. A peer that opens one stream above the
// limit loses its session ([CodeProtocol]) while all its streams are still in
// use here; streams that this side has just closed, or not accepted yet, count
// up to twice the limit, because neither side can know when the other has seen
// their end. So on yamux a session holds at most twice the sum above.
//
// # Control stream
//
// The dialer's first stream belongs to this package. It carries hello (within
// 10 s of the handshake), heartbeats (every 2 s, both ways, 64 bytes so that a
// restarted gateway answers one with a stateless reset), drain and close. A
// session without a reply for 6 s is suspect ([Session.Suspect]); after 15 s
// it is closed.
//
// # Close reasons
//
// A session ends with a [Reason]. On QUIC it is the CONNECTION_CLOSE code and
// text; on yamux and pipe it is the close frame, after which the sender waits
// up to 1 s for the peer to hang up. [Code.Action] is the one table that says
// what a dialer does next.
package tunnel
