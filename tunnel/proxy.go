package tunnel

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"
)

const (
	tcpDialTimeout    = 10 * time.Second
	maxProxyResponse  = 64 << 10 // bytes of a proxy's answer to CONNECT
	proxyReplyTimeout = 10 * time.Second
)

// connectTCP opens a TCP connection to the gateway, through an HTTP proxy if
// one is configured for it.
func (d *Dialer) connectTCP(ctx context.Context) (net.Conn, error) {
	dialer := &net.Dialer{Timeout: tcpDialTimeout}
	if d.Proxy == nil {
		return dialer.DialContext(ctx, "tcp", d.Addr)
	}
	proxy, err := d.Proxy(&url.URL{Scheme: "https", Host: d.Addr})
	if err != nil {
		return nil, fmt.Errorf("choose a proxy: %w", err)
	}
	if proxy == nil {
		return dialer.DialContext(ctx, "tcp", d.Addr)
	}
	if proxy.Scheme != "http" {
		return nil, fmt.Errorf("proxy scheme %q is not supported: use http://host:port", proxy.Scheme)
	}
	host := proxy.Host
	if proxy.Port() == "" {
		host = net.JoinHostPort(proxy.Hostname(), "80")
	}
	conn, err := dialer.DialContext(ctx, "tcp", host)
	if err != nil {
		return nil, fmt.Errorf("reach the proxy: %w", err)
	}
	if err := connect(ctx, conn, d.Addr, proxy.User); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}

// connect asks a proxy for a tunnel to addr (RFC 9110 §9.3.6). The gateway
// speaks second in TLS, so nothing of it can be behind the proxy's answer.
func connect(ctx context.Context, conn net.Conn, addr string, user *url.Userinfo) error {
	_ = conn.SetDeadline(time.Now().Add(proxyReplyTimeout))
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	req := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: addr}, Host: addr, Header: http.Header{}}
	if user != nil {
		password, _ := user.Password()
		pair := base64.StdEncoding.EncodeToString([]byte(user.Username() + ":" + password))
		req.Header.Set("Proxy-Authorization", "Basic "+pair)
	}
	if err := req.Write(conn); err != nil {
		return fmt.Errorf("ask the proxy: %w", err)
	}
	reader := bufio.NewReaderSize(http.MaxBytesReader(nil, conn, maxProxyResponse), 1)
	resp, err := http.ReadResponse(reader, req)
	if err != nil {
		return fmt.Errorf("read the proxy's answer: %w", err)
	}
	defer func() { _ = resp.Body.Close() }() // empty after a 200, and of no interest after anything else
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the proxy refused: %s", cleanText(resp.Status))
	}
	if reader.Buffered() > 0 {
		return errors.New("the proxy sent more than its answer")
	}
	return conn.SetDeadline(time.Time{})
}
