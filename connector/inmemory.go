package connector

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"

	"sallyport.dev/telemetry"
)

// inMemory calls a handler as if it were an upstream: an http.RoundTripper without a connection. What the handler writes is
// read from the response while it is written.
type inMemory struct {
	handler http.Handler
	log     *slog.Logger
}

// RoundTrip implements http.RoundTripper. The handler's context ends when the response's body is closed, which waits for the
// handler to return.
func (m inMemory) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(r.Context())
	read, write := io.Pipe()
	w := &memoryWriter{header: make(http.Header), pipe: write, begun: make(chan struct{})}
	ended := make(chan struct{})
	request := r.WithContext(ctx)
	if request.Body == nil {
		request.Body = http.NoBody
	}
	go func() {
		defer close(ended)
		defer func() {
			if cause := recover(); cause != nil { // net/http would go on too
				m.log.ErrorContext(ctx, "a built-in server failed", telemetry.KeyError, fmt.Sprint(cause))
				w.WriteHeader(http.StatusInternalServerError)
				_ = write.CloseWithError(errUpstream)
			}
		}()
		m.handler.ServeHTTP(w, request)
		w.WriteHeader(http.StatusOK)
		_ = write.Close()
	}()
	end := func() {
		cancel()
		_ = read.Close() // what is still written goes nowhere
		<-ended
	}
	select {
	case <-w.begun:
	case <-ctx.Done():
		end()
		return nil, ctx.Err()
	}
	return &http.Response{
		Status: http.StatusText(w.status), StatusCode: w.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: w.sent, Body: &closing{read, end}, ContentLength: -1, Request: r,
	}, nil
}

// memoryWriter is the handler's side of a response.
type memoryWriter struct {
	header http.Header
	pipe   *io.PipeWriter
	once   sync.Once
	begun  chan struct{} // closed when what follows is set

	status int
	sent   http.Header
}

// Header implements http.ResponseWriter.
func (w *memoryWriter) Header() http.Header { return w.header }

// WriteHeader implements http.ResponseWriter.
func (w *memoryWriter) WriteHeader(status int) {
	w.once.Do(func() {
		w.status, w.sent = status, w.header.Clone()
		close(w.begun)
	})
}

// Write implements http.ResponseWriter.
func (w *memoryWriter) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.pipe.Write(p)
}

// Flush implements http.Flusher: nothing is held back.
func (w *memoryWriter) Flush() { w.WriteHeader(http.StatusOK) }
