package connector

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"sallyport.dev/mcp"
)

// beatEvery is how often a caller hears that its message still waits.
const beatEvery = 10 * time.Second

// beating returns what tells a caller that its message waits: progress, if it gave a token for that and takes event streams
// (MCP 2025-11-25, "Progress"; 2026-07-28 likewise). The first of them begins the answer, which is an event stream then,
// whatever the upstream answers with.
func (n *note) beating(w http.ResponseWriter, r *http.Request) func() {
	refs, err := mcp.ReadRefs(n.call.Body)
	if err != nil || refs.MetaToken.IsZero() || n.call.Batch || n.call.Endpoint != mcp.EndpointMCP || !takesEvents(r.Header) {
		return func() {}
	}
	token, beats := string(refs.MetaToken.Of(n.call.Body)), 0
	return func() {
		if !n.streaming {
			n.streaming = true
			h := w.Header()
			h["Content-Type"] = []string{"text/event-stream"}
			h["Cache-Control"] = []string{"no-store"}
			h["Date"] = nil
			w.WriteHeader(http.StatusOK)
		}
		beats++
		_, _ = fmt.Fprintf(w, "event: message\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{\"progressToken\":%s,\"progress\":%d,\"message\":\"waiting for approval\"}}\n\n", token, beats)
		_ = http.NewResponseController(w).Flush() // that the caller has left shows in its context
	}
}

// takesEvents reports whether a caller accepts event streams.
func takesEvents(h http.Header) bool {
	for _, value := range h["Accept"] {
		if strings.Contains(strings.ToLower(value), "text/event-stream") {
			return true
		}
	}
	return false
}

// asEvents makes an event stream of an answer that is one JSON text or empty.
func asEvents(resp *http.Response) {
	resp.Header["Content-Type"] = []string{"text/event-stream"}
	resp.ContentLength = -1
	resp.Body = &eventBody{ReadCloser: resp.Body}
}

// eventBody is a body as the data of one event. The line breaks of JSON are white space, and may be breaks between lines of
// data as well.
type eventBody struct {
	io.ReadCloser
	begun, ended bool
	ready        []byte // to be read next
}

// Read implements io.Reader.
func (b *eventBody) Read(p []byte) (int, error) {
	for len(b.ready) == 0 {
		if b.ended {
			return 0, io.EOF
		}
		chunk := make([]byte, 4<<10)
		n, err := b.ReadCloser.Read(chunk)
		for _, c := range chunk[:n] {
			if !b.begun {
				b.begun = true
				b.ready = append(b.ready, "event: message\ndata: "...)
			}
			switch c {
			case '\n':
				b.ready = append(b.ready, "\ndata: "...)
			case '\r':
			default:
				b.ready = append(b.ready, c)
			}
		}
		if err == io.EOF {
			if b.ended = true; b.begun {
				b.ready = append(b.ready, "\n\n"...)
			}
		} else if err != nil {
			return 0, err
		}
	}
	n := copy(p, b.ready)
	b.ready = b.ready[n:]
	return n, nil
}
