package mcp

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"
)

// InspectConfig configures Inspect. Its zero value is complete.
type InspectConfig struct {
	// MaxBody is the largest body in bytes. Default 4 MiB. Optional.
	MaxBody int64
	// BodyTimeout is how long a body may take before MinBodyRate counts. Default 10 s. Optional.
	BodyTimeout time.Duration
	// MinBodyRate is the slowest a body may come, in bytes per second, once BodyTimeout is over. Default 1024. Optional.
	MinBodyRate int64
	// Budget bounds the bytes of bodies that the process holds at once; without room left a call is refused with
	// Overloaded. Default none. Optional.
	Budget Budget
	// Endpoint says where a request came. Default EndpointMCP for all. Optional.
	Endpoint func(*http.Request) Endpoint
	// Refuse answers a refused request; error e carries the ids that are known. Default WriteError. Optional.
	Refuse func(w http.ResponseWriter, r *http.Request, e *Error)
}

// Budget is a count of bytes shared by many requests, safe for concurrent use, such as *semaphore.Weighted of
// golang.org/x/sync.
type Budget interface {
	TryAcquire(n int64) bool
	Release(n int64)
}

// Inspect returns the middleware that reads a request whole, parses it once and strictly, and hands on only what is
// one legal MCP call. The handler behind it gets the inspected bytes as r.Body with their length, no trailers, and the
// Call in the context.
//
// POST is checked in this order: content type and encoding (415), query (400), length and speed (413, 408), Parse
// (400, 404), the Mcp-* headers and whether the revision allows such messages (400). GET and DELETE belong to
// revisions with sessions and have no body. HTTP+SSE has GET at one endpoint and POST, with a session in the query, at
// the other. All else is 405. The caller of Inspect checks Origin, Host, header sizes
// (CheckHeaders) and who is calling before it.
func Inspect(cfg InspectConfig) func(http.Handler) http.Handler {
	if cfg.MaxBody <= 0 {
		cfg.MaxBody = 4 << 20
	}
	if cfg.BodyTimeout <= 0 {
		cfg.BodyTimeout = 10 * time.Second
	}
	if cfg.MinBodyRate <= 0 {
		cfg.MinBodyRate = 1 << 10
	}
	if cfg.Endpoint == nil {
		cfg.Endpoint = func(*http.Request) Endpoint { return EndpointMCP }
	}
	if cfg.Refuse == nil {
		cfg.Refuse = func(w http.ResponseWriter, _ *http.Request, e *Error) { WriteError(w, e, "") }
	}
	return func(next http.Handler) http.Handler {
		return &inspector{cfg: cfg, next: next}
	}
}

// inspector is the handler that Inspect makes.
type inspector struct {
	cfg     InspectConfig
	next    http.Handler
	parsers parsers
}

// ServeHTTP inspects one request.
func (in *inspector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body := bodyReader{cfg: &in.cfg, control: http.NewResponseController(w), src: r.Body, length: r.ContentLength}
	defer body.release()
	if r.ContentLength != 0 {
		// Also when the body will not be read: net/http reads the rest of a refused one to keep the connection.
		body.start()
	}
	call, refused := in.inspect(r, &body)
	if call != nil {
		call.release = body.release
		r = r.WithContext(withCall(r.Context(), call))
	}
	if !body.unfinished() {
		body.finish()
	}
	if refused != nil {
		// A body that was left unread or cut costs HTTP/1.1 its connection; HTTP/2 loses only the stream.
		refused.Close = refused.Close || body.unfinished() && r.ProtoMajor == 1
		in.cfg.Refuse(w, r, refused)
		return
	}
	r.Trailer, r.TransferEncoding = nil, nil
	r.ContentLength = int64(len(call.Body))
	r.Body = http.NoBody
	if len(call.Body) > 0 {
		r.Body = io.NopCloser(bytes.NewReader(call.Body))
	}
	in.next.ServeHTTP(w, r)
}

// inspect returns the call, or why it is refused; both when it was understood and then refused.
func (in *inspector) inspect(r *http.Request, body *bodyReader) (*Call, *Error) {
	call := &Call{Endpoint: in.cfg.Endpoint(r)}
	switch {
	case r.Method == http.MethodPost && call.Endpoint != EndpointSSE:
	case r.Method == http.MethodGet && call.Endpoint != EndpointMessages, r.Method == http.MethodDelete && call.Endpoint == EndpointMCP:
		return call.inspectBodiless(r)
	default:
		return nil, MethodNotAllowed(call.Endpoint.allow())
	}
	if !plainJSON(r.Header) {
		return nil, UnsupportedMedia()
	}
	if refused := call.readQuery(r); refused != nil {
		return nil, refused
	}
	content, refused := body.read()
	if refused != nil {
		return nil, refused
	}
	var err error
	if call.Messages, call.Batch, err = in.parsers.parse(content); err != nil {
		return nil, asError(err)
	}
	call.Body = content
	if refused = call.readHead(r.Header); refused == nil {
		refused = call.checkRevision(r.Header)
	}
	if refused != nil {
		return call, refused.For(call)
	}
	return call, nil
}

// inspectBodiless inspects GET (an event stream) and DELETE (the end of a session).
func (c *Call) inspectBodiless(r *http.Request) (*Call, *Error) {
	if r.ContentLength != 0 {
		return nil, InvalidRequest("a GET or DELETE has a body")
	}
	if refused := c.readQuery(r); refused != nil {
		return nil, refused
	}
	if refused := c.readHead(r.Header); refused != nil {
		return nil, refused
	}
	if !c.Version.Sessionful() {
		return c, MethodNotAllowed(http.MethodPost)
	}
	return c, nil
}

// readQuery reads the session of EndpointMessages; the other endpoints have no query.
func (c *Call) readQuery(r *http.Request) *Error {
	if c.Endpoint != EndpointMessages {
		if r.URL.RawQuery != "" || r.URL.ForceQuery {
			return InvalidRequest("the URL has a query")
		}
		return nil
	}
	var ok bool
	if c.SessionID, ok = ParseMessagesQuery(r.URL.RawQuery); !ok {
		return InvalidRequest("the URL's query is not the one that the endpoint event gave")
	}
	return nil
}

// asError returns the *Error that Parse promises.
func asError(err error) *Error {
	var refused *Error
	if errors.As(err, &refused) {
		return refused
	}
	return Internal(err)
}

// plainJSON reports whether the body is application/json in UTF-8 and in no encoding.
func plainJSON(h http.Header) bool {
	for _, encoding := range h["Content-Encoding"] {
		if encoding != "" && !strings.EqualFold(encoding, "identity") {
			return false
		}
	}
	types := h["Content-Type"]
	if len(types) != 1 {
		return false
	}
	if types[0] == "application/json" {
		return true
	}
	media, params, err := mime.ParseMediaType(types[0])
	if err != nil || media != "application/json" {
		return false
	}
	for key, value := range params {
		if key != "charset" || !strings.EqualFold(value, "utf-8") {
			return false
		}
	}
	return true
}
