package gateway

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"sallyport.dev/mcp"
	"sallyport.dev/tunnel"
)

const (
	openTimeout     = 5 * time.Second // for a stream of the session that was chosen
	writePiece      = 64 << 10        // above this the answer is read while the request is written
	maxResponseHead = 64 << 10        // bytes of the head of a connector's answer
	maxInformal     = 8               // 1xx answers that are skipped before one is an error
)

var (
	errNotDelivered = errors.New("gateway: the connector did not get the whole request")
	errBadResponse  = errors.New("gateway: the connector's answer breaks HTTP/1.1")
	errAssertion    = errors.New("gateway: the connector does not accept this gateway's assertion: compare the clocks of both machines")
)

// exchange is one request and its answer on one stream.
type exchange struct {
	conn    net.Conn
	reader  *bufio.Reader
	head    *headLimit
	resp    *http.Response
	reuses  bool       // the transport lets a stream serve several exchanges
	writing chan error // of a request that is written while the answer is read; else nil
	wrote   error
	buffers *buffers
	release func() bool // stops watching the caller's context
}

// send opens a stream, writes the request and reads the head of the answer.
// An error that wraps errNotDelivered is safe to retry: Open failed, or part of
// the request was never handed to Write. Any other leaves the outcome unknown.
func (g *Gateway) send(ctx context.Context, s *attached, r *http.Request, call *mcp.Call, header http.Header) (*exchange, error) {
	open, cancel := context.WithTimeout(ctx, openTimeout)
	conn, err := s.Open(open)
	cancel()
	if err != nil {
		return nil, fmt.Errorf("%w: open a stream: %w", errNotDelivered, err)
	}
	n := noteFrom(ctx)
	n.opened = time.Now()
	reuses := s.Peer().Transport.Reuses()
	out := &http.Request{
		Method: r.Method,
		URL:    &url.URL{Scheme: "http", Host: s.tunnel, Path: routeFrom(r.Context()).path()},
		Header: header,
		Close:  !reuses,
	}
	if call.Endpoint == mcp.EndpointMessages {
		out.URL.RawQuery = mcp.MessagesQuery(n.original)
	}
	if len(call.Body) > 0 {
		out.ContentLength = int64(len(call.Body))
		out.Body = io.NopCloser(bytes.NewReader(call.Body))
	}
	buf := g.buffers.requests.Get().(*bytes.Buffer)
	buf.Reset()
	if err := out.Write(buf); err != nil { // into memory: only a header that net/http itself let in could fail
		_ = conn.Close()
		return nil, fmt.Errorf("%w: encode the request: %w", errNotDelivered, err)
	}
	x := &exchange{conn: conn, reuses: reuses, buffers: g.buffers, head: &headLimit{r: conn, left: maxResponseHead}}
	x.reader = g.buffers.readers.Get().(*bufio.Reader)
	x.reader.Reset(x.head)
	x.release = context.AfterFunc(ctx, func() { _ = conn.Close() })
	x.write(buf)
	if err := x.readHead(out); err != nil {
		x.abort()
		if errors.Is(x.wrote, errNotDelivered) {
			return nil, x.wrote
		}
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	n.head = time.Now()
	return x, nil
}

// write hands a small request to the stream in one Write. A large one goes out
// in pieces in the background, because the connector may answer before it has
// taken all of it. A failed Write never keeps the answer from being read.
func (x *exchange) write(buf *bytes.Buffer) {
	if buf.Len() <= writePiece {
		_, x.wrote = x.conn.Write(buf.Bytes())
		x.buffers.requests.Put(buf)
		return
	}
	x.writing = make(chan error, 1)
	go func() { x.writing <- writePieces(x.conn, buf) }()
}

// writePieces writes a large request. The piece with the last byte decides: an
// error before it means that the connector cannot have the whole request.
func writePieces(conn net.Conn, buf *bytes.Buffer) error {
	for buf.Len() > 0 {
		piece := buf.Next(writePiece)
		_, err := conn.Write(piece)
		if err != nil && buf.Len() > 0 {
			return fmt.Errorf("%w: %w", errNotDelivered, err)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// readHead reads the head of the final answer, past informal ones.
func (x *exchange) readHead(req *http.Request) error {
	for range maxInformal {
		resp, err := http.ReadResponse(x.reader, req) //nolint:bodyclose // it is read to its end, or the stream is closed
		if err != nil {
			if x.writing != nil {
				_ = x.conn.Close()
				x.wrote = <-x.writing
				x.writing = nil
			}
			return x.cause()
		}
		if resp.StatusCode >= 200 {
			if resp.ContentLength < 0 && len(resp.TransferEncoding) == 0 && resp.Body != http.NoBody {
				return fmt.Errorf("%w: neither a length nor chunks", errBadResponse)
			}
			x.head.lift()
			x.resp = resp
			return nil
		}
		if resp.StatusCode < 100 {
			return fmt.Errorf("%w: its status is below 100", errBadResponse)
		}
		if resp.StatusCode == http.StatusSwitchingProtocols {
			return fmt.Errorf("%w: it switches protocols", errBadResponse)
		}
	}
	return fmt.Errorf("%w: too many informal answers", errBadResponse)
}

// cause says why reading the answer failed. The errors of net/http quote what
// they could not parse, which may be a piece of a body; these quote nothing.
func (x *exchange) cause() error {
	switch err := x.head.err; {
	case err == nil:
		return fmt.Errorf("%w: it cannot be parsed", errBadResponse)
	case errors.Is(err, io.EOF):
		return io.ErrUnexpectedEOF
	default:
		return err
	}
}

// finish gives the stream back for another exchange after the whole answer has
// been read, or closes it if anything was left open.
func (x *exchange) finish() {
	clean := x.release()
	if x.writing != nil {
		select {
		case x.wrote = <-x.writing:
			x.writing = nil
		default:
			clean = false // answered early: the request is still being written
		}
	}
	if !clean || x.wrote != nil || x.reader.Buffered() > 0 || (x.reuses && x.resp.Close) {
		x.close()
		return
	}
	x.putReader()
	tunnel.Recycle(x.conn)
}

// abort gives the exchange up; the connector sees it and cancels the upstream.
func (x *exchange) abort() {
	x.release()
	x.close()
}

func (x *exchange) close() {
	_ = x.conn.Close()
	if x.writing != nil {
		x.wrote = <-x.writing // Close has freed it
		x.writing = nil
	}
	x.putReader()
}

func (x *exchange) putReader() {
	x.reader.Reset(nil)
	x.buffers.readers.Put(x.reader)
}

// headLimit bounds what net/http reads, without a bound of its own, until the
// head of a response is complete, and remembers why reading failed.
type headLimit struct {
	r      io.Reader
	left   int
	lifted bool
	err    error // of r, or that the limit was reached
}

func (l *headLimit) lift() { l.lifted = true }

func (l *headLimit) Read(p []byte) (int, error) {
	if !l.lifted {
		if l.left <= 0 {
			l.err = fmt.Errorf("%w: its head is too large", errBadResponse)
			return 0, l.err
		}
		p = p[:min(len(p), l.left)]
	}
	n, err := l.r.Read(p)
	l.left -= n
	if err != nil {
		l.err = err
	}
	return n, err
}
