package connector

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/go-json-experiment/json"

	"sallyport.dev/telemetry"
)

// controlSocket is the name of the Unix socket in state_dir on which a running connector answers its operator.
const controlSocket = "connector.sock"

// maxSocketPath is the longest path of a Unix socket that every system takes, in bytes (unix(7)).
const maxSocketPath = 103

const (
	controlTimeout = 10 * time.Second // for a request of the operator's
	maxControlHead = 8 << 10
)

var errInUse = errors.New("connector: another connector answers there")

// ControlSocket is where the connector of a configuration answers its operator; "" without a state_dir.
func (c *Config) ControlSocket() string {
	if c.StateDir == "" {
		return ""
	}
	return filepath.Join(c.StateDir, controlSocket)
}

// control answers the operator on the Unix socket until the returned function is called. That it cannot is logged, and
// nothing else: calls do not depend on it.
func (c *Connector) control(ctx context.Context) (stop func()) {
	path := c.cfg.ControlSocket()
	if path == "" {
		return func() {}
	}
	listener, err := listenControl(ctx, path)
	if err != nil {
		c.log.Warn("status cannot be asked for", telemetry.KeyPath, path, telemetry.KeyError, err,
			telemetry.KeyHint, "state_dir must be writable, of one connector alone, and its path at most 88 bytes long")
		return func() {}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/status", c.serveStatus)
	mux.HandleFunc("GET /v1/metrics", c.serveMetrics)
	mux.HandleFunc("GET /v1/approvals", c.serveApprovals)
	mux.HandleFunc("POST /v1/approvals/{id}/{answer}", c.serveAnswer)
	server := &http.Server{
		Handler: mux, ReadTimeout: controlTimeout, WriteTimeout: controlTimeout, IdleTimeout: controlTimeout, MaxHeaderBytes: maxControlHead, ErrorLog: c.httpLog,
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(listener) // ends with the server
	}()
	return func() {
		_ = server.Close()
		<-done
	}
}

// listenControl makes the socket, for its owner alone. One that nobody answers on is left over, and replaced.
func listenControl(ctx context.Context, path string) (net.Listener, error) {
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("connector: its path has more than %d bytes", maxSocketPath)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	if info, err := os.Lstat(path); err == nil {
		if info.Mode().Type() != os.ModeSocket {
			return nil, errors.New("connector: something else is there")
		}
		conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "unix", path)
		if err == nil {
			_ = conn.Close()
			return nil, errInUse
		}
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	}
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		_ = listener.Close()
		return nil, err
	}
	return ownersOnly(listener), nil
}

// serveStatus answers with the status.
func (c *Connector) serveStatus(w http.ResponseWriter, _ *http.Request) { serveJSON(w, c.Status()) }

// serveMetrics answers with the metrics, in Prometheus' text format.
func (c *Connector) serveMetrics(w http.ResponseWriter, r *http.Request) {
	if c.cfg.Metrics == nil {
		http.Error(w, "connector: it measures nothing: telemetry is off (OTEL_SDK_DISABLED)", http.StatusNotFound)
		return
	}
	c.cfg.Metrics.ServeHTTP(w, r)
}

// serveApprovals answers with what waits for a human.
func (c *Connector) serveApprovals(w http.ResponseWriter, _ *http.Request) {
	serveJSON(w, c.approvals.list())
}

// serveAnswer takes an answer for what waits, and gives back what it was for.
func (c *Connector) serveAnswer(w http.ResponseWriter, r *http.Request) {
	answer := r.PathValue("answer")
	if answer != "allow" && answer != "deny" {
		http.Error(w, "the answer is allow or deny", http.StatusNotFound)
		return
	}
	answered, err := c.approvals.answer(r.PathValue("id"), answer == "allow", "operator")
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	serveJSON(w, answered)
}

func serveJSON(w http.ResponseWriter, v any) {
	text, err := json.Marshal(v)
	if err != nil {
		http.Error(w, "the answer cannot be written", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(text)
}
