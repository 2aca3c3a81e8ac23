package attack

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"time"
)

// answer is what an agent got.
type answer struct {
	status int
	header http.Header
	body   []byte
	more   []int  // statuses of further answers
	reset  string // HTTP/2: the error that ended the stream or the connection instead
	cut    bool   // it was aborted behind its head
	closed bool   // the gateway hung up behind the last answer
	all    []byte // every byte of it
	took   time.Duration
}

const patience = 20 * time.Second

// dial makes a TLS connection as an agent does. The certificate is verified for
// the public name, whatever name the handshake sends. The client's certificate is one of r.clients, or none.
func (r *rig) dial(ctx context.Context, server, certificate string, alpn ...string) (*tls.Conn, error) {
	conf := &tls.Config{ServerName: server, RootCAs: r.Roots, NextProtos: alpn, MinVersion: tls.VersionTLS13}
	if certificate != "" {
		conf.GetClientCertificate = r.clients.present(certificate)
	}
	if server != publicName {
		conf.InsecureSkipVerify = true // the name is the attack
	}
	dialer := &tls.Dialer{NetDialer: &net.Dialer{Timeout: patience}, Config: conf}
	conn, err := dialer.DialContext(ctx, "tcp", r.Addr)
	if err != nil {
		return nil, err
	}
	secure, ok := conn.(*tls.Conn)
	if !ok {
		return nil, errors.New("not a TLS connection")
	}
	return secure, secure.SetDeadline(time.Now().Add(patience))
}

// sendH1 writes a request and reads one answer; more only if the request brings
// its own bytes, for which the connection is read to its end.
func (r *rig) sendH1(ctx context.Context, q request) (answer, error) {
	q = q.fill(r.host)
	conn, err := r.dial(ctx, q.server, q.certificate, "http/1.1")
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = conn.Close() }()
	wrote := make(chan struct{})
	defer func() { <-wrote }()
	defer func() { _ = conn.Close() }() // which frees the writer
	start := time.Now()
	go func() {
		defer close(wrote)
		text := []byte(q.encode())
		step := len(text)
		if q.bytewise {
			step = 1
		}
		for len(text) > 0 {
			n, err := conn.Write(text[:min(step, len(text))])
			if err != nil {
				return // refused before all of it was sent
			}
			text = text[n:]
		}
	}()
	var all bytes.Buffer
	a, err := readH1(conn, &all, q.method, q.edit != nil)
	a.all, a.took = all.Bytes(), time.Since(start)
	return a, err
}

// readH1 reads the answers on a connection. It expects the gateway to hang up
// behind anything that net/http itself has refused.
func readH1(conn net.Conn, all *bytes.Buffer, method string, toEnd bool) (answer, error) {
	reader := bufio.NewReader(io.TeeReader(conn, all))
	var a answer
	for first := true; ; first = false {
		resp, err := http.ReadResponse(reader, &http.Request{Method: method})
		if err == nil && resp.StatusCode == http.StatusContinue {
			resp, err = http.ReadResponse(reader, &http.Request{Method: method})
		}
		switch {
		case err != nil && first:
			return a, err
		case err != nil:
			a.closed = errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
			return a, nil
		}
		body, err := io.ReadAll(resp.Body)
		if first && errors.Is(err, io.ErrUnexpectedEOF) {
			a.status, a.header, a.body, a.cut = resp.StatusCode, resp.Header, body, true
			return a, nil
		}
		if err != nil {
			return a, err
		}
		if first {
			a.status, a.header, a.body = resp.StatusCode, resp.Header, body
		} else {
			a.more = append(a.more, resp.StatusCode)
		}
		if resp.Close || toEnd {
			if err := conn.SetReadDeadline(time.Now().Add(2 * time.Second)); err != nil {
				return a, err
			}
			continue // until the end of the connection
		}
		return a, nil
	}
}
