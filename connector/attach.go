package connector

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"sallyport.dev/auth"
	"sallyport.dev/secret"
	"sallyport.dev/tunnel"
)

const attachTimeout = 10 * time.Second // for the gateway's answer to attach

// What a gateway may answer to attach.
var (
	// errRefused is an answer that waiting alone does not change.
	errRefused = errors.New("connector: the gateway refused to attach this connector")
	// errCrowded passes once another connector of the tunnel has gone.
	errCrowded = errors.New("connector: the tunnel has its full number of connectors (one that crashed counts for up to 15 s more): stop one, or raise max_connectors at the gateway")
	// errDraining passes once the gateway has been restarted.
	errDraining = errors.New("connector: the gateway is draining")
)

// attach proves the tunnel to the gateway on a fresh session, and returns the
// checker of the assertions that will come over it.
func (c *Connector) attach(ctx context.Context, s *tunnel.Session) (*auth.Checker, auth.AttachAnswer, error) {
	answer, err := c.introduce(ctx, s, auth.AttachPath)
	if err != nil {
		return nil, answer, fmt.Errorf("attach: %w", err)
	}
	if tunnel := c.cfg.Auth.tunnel(); tunnel != "" && tunnel != answer.Tunnel {
		return nil, answer, fmt.Errorf("%w: the gateway says that the tunnel is %q, and auth.url is of another", errRefused, answer.Tunnel[:min(len(answer.Tunnel), maxTunnelShown)])
	}
	checker, err := auth.NewChecker(auth.CheckerConfig{
		Keys:      answer.AssertionKeys,
		Renew:     func(ctx context.Context) ([]ed25519.PublicKey, error) { return c.askKeys(ctx, s) },
		Issuer:    answer.Issuer,
		Tunnel:    answer.Tunnel,
		Connector: c.instance,
		Leeway:    clockLeeway,
	})
	return checker, answer, err
}

// maxTunnelShown is how much of a tunnel's name is shown that is not the expected one, in bytes.
const maxTunnelShown = 64

// clockLeeway is by how much the gateway's clock may differ from ours.
const clockLeeway = 30 * time.Second

// askKeys asks the gateway of a session for its assertion keys again: it has rotated them.
func (c *Connector) askKeys(ctx context.Context, s *tunnel.Session) ([]ed25519.PublicKey, error) {
	ctx, cancel := context.WithTimeout(ctx, attachTimeout)
	defer cancel()
	raw, err := c.ask(ctx, s, auth.KeysPath, secret.Value{}, nil)
	if err != nil {
		return nil, err
	}
	var answer auth.KeysAnswer
	if err := auth.UnmarshalAttach(raw, &answer); err != nil {
		return nil, err
	}
	c.log.Info("the gateway has new assertion keys", append(c.logFields(s), "keys", len(answer.AssertionKeys))...)
	return answer.AssertionKeys, nil
}

// introduce says who this connector is and what it serves, and returns what the
// gateway tells it.
func (c *Connector) introduce(ctx context.Context, s *tunnel.Session, path string) (auth.AttachAnswer, error) {
	ctx, cancel := context.WithTimeout(ctx, attachTimeout)
	defer cancel()
	var answer auth.AttachAnswer
	now := c.current()
	body, err := auth.MarshalAttach(auth.AttachRequest{Instance: c.instance, Version: c.cfg.Version, Servers: now.names, Bound: now.localNames(), Verifies: c.cfg.VerifyAgents})
	if err != nil {
		return answer, err
	}
	token, err := c.token()
	if err != nil {
		return answer, err
	}
	raw, err := c.ask(ctx, s, path, token, body)
	if err != nil {
		return answer, err
	}
	if err := auth.UnmarshalAttach(raw, &answer); err != nil {
		return answer, fmt.Errorf("read the answer: %w", err)
	}
	return answer, nil
}

// ask sends the request, with a token if there is one, on a stream of its own and returns the answer's body.
func (c *Connector) ask(ctx context.Context, s *tunnel.Session, path string, token secret.Value, body []byte) ([]byte, error) {
	conn, err := s.Open(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://gateway"+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Close = true
	req.Header.Set("Content-Type", "application/json")
	if !token.IsZero() {
		req.Header.Set("Authorization", "Bearer "+token.Reveal())
	}
	var wire bytes.Buffer
	if err := req.Write(&wire); err != nil {
		return nil, err
	}
	if _, err := conn.Write(wire.Bytes()); err != nil {
		return nil, err
	}
	resp, err := http.ReadResponse(bufio.NewReader(io.LimitReader(conn, 2*auth.MaxAttachBytes)), req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, auth.MaxAttachBytes+1))
	if err != nil {
		return nil, err
	}
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusServiceUnavailable:
		return nil, errDraining
	case http.StatusConflict:
		return nil, errCrowded
	default:
		return nil, fmt.Errorf("%w (HTTP %d): %s", errRefused, resp.StatusCode, attachHint(resp.StatusCode, answer))
	}
	return answer, nil
}

// attachHint says what the operator can do about a refusal.
func attachHint(status int, text []byte) string {
	switch status {
	case http.StatusUnauthorized:
		return "it does not know the tunnel token: compare tunnel_token here with the tunnel's at the gateway"
	case http.StatusNotFound:
		return "it does not know this request: update the gateway"
	}
	return strconv.Quote(string(text[:min(len(text), 200)]))
}
