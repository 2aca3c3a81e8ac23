// Package agent calls an MCP server the way an agent does, with mcp-go's client, and turns what fails into a sentence
// that says what to do. It does not know whether a tunnel lies between it and the server.
package agent

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/mark3labs/mcp-go/client"
	"github.com/mark3labs/mcp-go/client/transport"
	"github.com/mark3labs/mcp-go/mcp"

	"sallyport.dev/secret"
)

// Config says whom to call, and as whom.
type Config struct {
	// URL is the server's endpoint. Required.
	URL string
	// Token goes into the Authorization header of every request. Optional.
	Token secret.Value
	// CAFile holds certificates in PEM to trust beside the system's. Optional.
	CAFile string
	// Timeout bounds the handshake, and each request until its answer is complete. Required.
	Timeout time.Duration
	// Version is the version that the client gives of itself.
	Version string
	// Notify gets every notification that the server sends. Optional; it must not block.
	Notify func(mcp.JSONRPCNotification)
	// Wrap goes around the network, to watch what is sent and what comes back. Optional.
	Wrap func(http.RoundTripper) http.RoundTripper
}

// Agent is a connected client. It is not safe for concurrent use.
type Agent struct {
	client  *client.Client
	tap     *tap
	wire    *wire
	network *http.Transport
	timeout time.Duration
}

// Dial introduces itself to the server: by server/discover, and if the server does not know that by initialize. The
// caller closes the agent.
func Dial(ctx context.Context, cfg Config) (*Agent, error) {
	u, err := url.Parse(cfg.URL)
	if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" {
		return nil, fmt.Errorf("%w: write https://host[:port]/t/<tunnel>/<server>/mcp", ErrURL)
	}
	if u.Scheme == "http" && !cfg.Token.IsZero() && !isLoopback(u.Hostname()) {
		return nil, fmt.Errorf("%w: %s is called over http://, where everybody on the way can read it: write https://, or leave the token out", ErrPlaintext, u.Host)
	}
	network, err := newNetwork(cfg.CAFile)
	if err != nil {
		return nil, err
	}
	a := &Agent{network: network, timeout: cfg.Timeout}
	a.wire = &wire{next: network, token: cfg.Token}
	if cfg.Wrap != nil {
		a.wire.next = cfg.Wrap(network)
	}
	http1, err := transport.NewStreamableHTTP(cfg.URL,
		transport.WithHTTPBasicClient(&http.Client{Transport: a.wire, CheckRedirect: neverFollow}),
		transport.WithHTTPLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrURL, err)
	}
	a.tap = &tap{StreamableHTTP: http1}
	a.client = client.NewClient(a.tap, client.WithDiscoverTimeout(cfg.Timeout))
	if cfg.Notify != nil {
		a.client.OnNotification(cfg.Notify)
	}
	ctx, cancel := context.WithTimeout(ctx, cfg.Timeout)
	defer cancel()
	if err := a.client.Start(ctx); err != nil {
		a.Close()
		return nil, a.explain(ctx, err)
	}
	var hello mcp.InitializeRequest
	hello.Params.ClientInfo = mcp.Implementation{Name: "sallyport", Version: cfg.Version}
	if _, err := a.client.Initialize(ctx, hello); err != nil {
		err = a.explain(ctx, err)
		a.Close()
		return nil, err
	}
	return a, nil
}

// isLoopback reports whether what is sent to the host stays on this machine.
func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// neverFollow keeps the token from going where a redirect points.
func neverFollow(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

func newNetwork(caFile string) (*http.Transport, error) {
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	if caFile != "" {
		pem, err := os.ReadFile(caFile)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrCAFile, err)
		}
		if !roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%w: %s holds no certificate in PEM", ErrCAFile, caFile)
		}
	}
	return &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		TLSClientConfig:     &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2:   true,
		TLSHandshakeTimeout: 10 * time.Second,
	}, nil
}

// Close ends the MCP session, if there is one, and the connections.
func (a *Agent) Close() {
	_ = a.client.Close() // says goodbye to the server, which may be gone
	a.network.CloseIdleConnections()
}

// Protocol is the revision of MCP that both sides agreed on.
func (a *Agent) Protocol() string { return a.client.ProtocolVersion() }

// Tools lists the server's tools, all pages of it.
func (a *Agent) Tools(ctx context.Context) ([]mcp.Tool, error) {
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	result, err := a.client.ListTools(ctx, mcp.ListToolsRequest{})
	if err != nil {
		return nil, a.explain(ctx, err)
	}
	return result.Tools, nil
}

// Call is one call of a tool.
type Call struct {
	// Tool is the tool's name.
	Tool string
	// Arguments is a JSON object; its bytes are sent as they are. Optional.
	Arguments RawObject
	// Progress asks the server for progress notifications.
	Progress bool
}

// Call calls a tool. An answer that says isError is no error here.
func (a *Agent) Call(ctx context.Context, call Call) (*mcp.CallToolResult, error) {
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	var r mcp.CallToolRequest
	r.Params.Name, r.Params.Arguments = call.Tool, call.Arguments.orEmpty()
	if call.Progress {
		r.Params.Meta = &mcp.Meta{ProgressToken: "progress-1"}
	}
	result, err := a.client.CallTool(ctx, r)
	if mismatch := (mcp.HeaderMismatchError{}); errors.As(err, &mismatch) {
		// The tool wants arguments repeated in headers (SEP-2243), which the
		// client can do once it knows the tool. The server has not run it.
		if _, listErr := a.client.ListTools(ctx, mcp.ListToolsRequest{}); listErr == nil {
			result, err = a.client.CallTool(ctx, r)
		}
	}
	if err != nil {
		return nil, a.explainCall(ctx, err)
	}
	return result, nil
}

// Raw is the result of the last request as the server wrote it.
func (a *Agent) Raw() []byte { return a.tap.result }
