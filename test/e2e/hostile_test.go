package e2e_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sallyport.dev/connector"
	"sallyport.dev/credential/inject"
	"sallyport.dev/test/stack"
	"sallyport.dev/tunnel"
)

// A line of 100 MiB is cut at 64: nobody holds it, and the agent's stream does
// not end as if it were whole.
func TestAnEndlessLineIsCut(t *testing.T) {
	t.Parallel()
	upstream := serve(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, notice+`data: {"result":"`)
		piece := []byte(strings.Repeat("x", 1<<20))
		for range 100 {
			if _, err := w.Write(piece); err != nil {
				return
			}
		}
	})
	eachTransport(t, func(t *testing.T, transport tunnel.Transport) {
		s := stack.New(t, stack.Options{Transport: transport, Servers: one("long", upstream.URL)})
		r, err := s.Post(t.Context(), "long", pingBody)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := s.Agent(t, transport == tunnel.QUIC).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		n, err := io.Copy(io.Discard, resp.Body)
		if err == nil || n > 65<<20 || n < 60<<20 {
			t.Errorf("%d bytes came, and then %v", n, err)
		}
	})
}

// A stream without a word lives: comments come every 15 s, and the event after
// 35 s arrives, over each transport and version of HTTP. (Hours of it pass in
// tunnel and connector, where time can be made to fly.)
func TestASilentStreamLives(t *testing.T) {
	t.Parallel()
	upstream := serve(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "text/event-stream")
		_ = http.NewResponseController(w).Flush()
		select {
		case <-time.After(35 * time.Second):
			_, _ = io.WriteString(w, notice)
		case <-r.Context().Done():
		}
	})
	var crew sync.WaitGroup
	for _, transport := range []tunnel.Transport{tunnel.TCP, tunnel.QUIC} {
		s := stack.New(t, stack.Options{Transport: transport, Servers: one("silent", upstream.URL)})
		for _, h2 := range []bool{false, true} {
			agent := s.Agent(t, h2)
			for _, method := range []string{http.MethodGet, http.MethodPost} {
				r, err := s.Post(t.Context(), "silent", pingBody)
				if err != nil {
					t.Fatal(err)
				}
				if r.Method = method; method == http.MethodGet {
					r.Body, r.ContentLength = nil, 0
					r.Header.Del("Content-Type")
				}
				crew.Go(func() { // all at once: it takes its time
					got, err := whole(agent, r)
					if want := strings.Repeat(": keep-alive\n\n", 2) + notice; err != nil || got.err != nil || string(got.body) != want {
						t.Errorf("%s, HTTP/2 %v, %s: %v, %v, %q", transport, h2, method, err, got.err, got.body)
					}
				})
			}
		}
	}
	crew.Wait()
}

// An upstream that cannot prove its name gets no call and no credential.
func TestUpstreamCertificates(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	issue := func(name string, template x509.Certificate) (tls.Certificate, string) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		template.SerialNumber = big.NewInt(1)
		template.IsCA, template.BasicConstraintsValid = true, true
		template.NotBefore = time.Now().Add(-48 * time.Hour)
		der, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, name+".crt")
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, path
	}
	loopback := []net.IP{net.IPv4(127, 0, 0, 1)}
	later, earlier := time.Now().Add(time.Hour), time.Now().Add(-time.Hour)
	good, goodFile := issue("good", x509.Certificate{IPAddresses: loopback, NotAfter: later})
	expired, expiredFile := issue("expired", x509.Certificate{IPAddresses: loopback, NotAfter: earlier})
	other, otherFile := issue("other", x509.Certificate{DNSNames: []string{"other.internal"}, NotAfter: later})
	for name, test := range map[string]struct {
		cert   tls.Certificate
		ca     string
		status int
	}{
		"good":       {good, goodFile, 200},
		"expired":    {expired, expiredFile, 502},
		"wrong name": {other, otherFile, 502},
		"unknown CA": {good, otherFile, 502},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var requests atomic.Int64
			upstream := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				requests.Add(1)
				body, _ := io.ReadAll(io.LimitReader(r.Body, 1<<20))
				_, _ = w.Write(stack.Echo(body))
			}))
			upstream.Config.ErrorLog = nil
			upstream.TLS = &tls.Config{Certificates: []tls.Certificate{test.cert}, MinVersion: tls.VersionTLS12}
			upstream.StartTLS()
			t.Cleanup(upstream.Close)
			s := stack.New(t, stack.Options{Servers: map[string]connector.Server{"secure": {URL: upstream.URL, CAFile: test.ca, Credentials: []connector.Credential{{
				Header: &inject.Header{Name: "Authorization", Template: "Bearer {secret}"}, Secret: stack.SecretFile(t, t.TempDir(), "key", "the-secret-of-the-upstream"),
			}}}}})
			got := post(t, s, s.Agent(t, true), "secure", pingBody)
			if test.status == http.StatusOK {
				if got.status != http.StatusOK || requests.Load() != 1 {
					t.Errorf("status %d, %s", got.status, got.body)
				}
				return
			}
			mustRefuse(t, got, 502, -32013, "no")
			if n := requests.Load(); n != 0 {
				t.Errorf("%d requests came behind the handshake", n)
			}
		})
	}
}
