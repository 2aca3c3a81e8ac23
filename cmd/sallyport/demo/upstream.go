package demo

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"time"

	"sallyport.dev/mcp/diag"
)

// upstream is one private MCP server on a loopback port, and what has reached it.
type upstream struct {
	listener net.Listener
	server   *http.Server
	mux      *http.ServeMux
	reached  chan reached // by requests that have ended; in a demo that stays up nobody takes them
}

// maxReached bounds how many requests are remembered.
const maxReached = 64

// reached is one request as it came in.
type reached struct {
	authorization string
	header        string // all of it, as it stands on the wire
	took          time.Duration
}

func diagServer(version string) http.Handler {
	return diag.New(diag.Config{Name: diagName, Version: version})
}

func (d *Demo) newUpstream(handler http.Handler) (*upstream, error) {
	var config net.ListenConfig
	l, err := config.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("open a port for a private server: %w", err)
	}
	d.sockets = append(d.sockets, l)
	u := &upstream{listener: l, mux: http.NewServeMux(), reached: make(chan reached, maxReached)}
	u.mux.Handle("/mcp", u.note(handler))
	u.server = &http.Server{Handler: u.mux, ReadHeaderTimeout: 10 * time.Second, ErrorLog: log.New(io.Discard, "", 0)}
	return u, nil
}

// serve serves until the returned function is called, which waits for the end.
func (u *upstream) serve() (stop func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = u.server.Serve(u.listener) // ends with Close
	}()
	return func() {
		_ = u.server.Close()
		<-done
	}
}

func (u *upstream) url() string { return u.at("/mcp") }

func (u *upstream) at(path string) string { return "http://" + u.listener.Addr().String() + path }

// note tells what the request looked like when it arrived, and how long it took.
func (u *upstream) note(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var header strings.Builder
		_ = r.Header.Write(&header) // a Builder takes everything
		start := time.Now()
		defer func() {
			select {
			case u.reached <- reached{r.Header.Get("Authorization"), header.String(), time.Since(start)}:
			default: // nobody looks
			}
		}()
		next.ServeHTTP(w, r)
	})
}

// next waits for the next request to end.
func (u *upstream) next(ctx context.Context) (reached, error) {
	ctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	select {
	case one := <-u.reached:
		return one, nil
	case <-ctx.Done():
		return reached{}, fmt.Errorf("%w: the server has not seen the call", ErrProof)
	}
}
