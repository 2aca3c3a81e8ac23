package e2e_test

import (
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"sallyport.dev/connector"
	"sallyport.dev/test/stack"
	"sallyport.dev/tunnel"
)

func echoes(t *testing.T) string {
	t.Helper()
	return serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(io.LimitReader(r.Body, 16<<20))
		_, _ = w.Write(stack.Echo(body))
	}).URL
}

// A connector keeps two sessions, and the gateway knows both as one instance.
func TestTwoSessionsAreKept(t *testing.T) {
	url := echoes(t)
	eachTransport(t, func(t *testing.T, transport tunnel.Transport) {
		s := stack.New(t, stack.Options{Transport: transport, Servers: one("echo", url)})
		attached(t, s, 2)
		pause(t, 300*time.Millisecond)
		sessions, instances := make(map[any]bool), make(map[any]bool)
		lines := records(s, "connector attached")
		for _, line := range lines {
			sessions[line["session"]] = true
			instances[line["instance"]] = true
		}
		if len(lines) != 2 || len(sessions) != 2 || len(instances) != 1 || !instances[s.Connector.Instance()] {
			t.Errorf("%d attached: sessions %v, instances %v", len(lines), sessions, instances)
		}
	})
}

// Without a connector a call is answered within two seconds that it was not
// delivered; so is one after the connector has gone.
func TestOfflineConnector(t *testing.T) {
	url := echoes(t)
	eachTransport(t, func(t *testing.T, transport tunnel.Transport) {
		t.Parallel()
		s := stack.New(t, stack.Options{Transport: transport, NoConnector: true, Servers: one("echo", url)})
		offline := func(t *testing.T, agent *http.Client) {
			t.Helper()
			start := time.Now()
			got := post(t, s, agent, "echo", pingBody)
			if took := time.Since(start); took > 4*time.Second {
				t.Errorf("answered after %s", took)
			}
			mustRefuse(t, got, 503, -32010, "no")
			if got.header.Get("Retry-After") == "" {
				t.Error("no Retry-After")
			}
		}
		bothVersions(t, func(t *testing.T, h2 bool) { offline(t, s.Agent(t, h2)) })
		agent := s.Agent(t, true)

		// A call that waits when the connector comes is served.
		served := make(chan answer, 1)
		r, err := s.Post(t.Context(), "echo", pingBody)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			got, err := whole(agent, r)
			if err != nil {
				got.err = err
			}
			served <- got
		}()
		pause(t, 200*time.Millisecond)
		s.StartConnector(t)
		if got := <-served; got.err != nil || got.status != http.StatusOK {
			t.Errorf("the call that waited: status %d, %v, %s", got.status, got.err, got.body)
		}
		s.StopConnector()
		offline(t, agent)
	})
}

// When the gateway has been stopped and started on its port, the connector
// comes back by itself and calls work again.
func TestGatewayRestarts(t *testing.T) {
	url := echoes(t)
	for _, transport := range []tunnel.Transport{tunnel.TCP, tunnel.QUIC} { // in memory there is no port to come back to
		t.Run(string(transport), func(t *testing.T) {
			s := stack.New(t, stack.Options{Transport: transport, Servers: one("echo", url)})
			attached(t, s, 2)
			if got := post(t, s, s.Agent(t, true), "echo", pingBody); got.status != http.StatusOK {
				t.Fatalf("status %d", got.status)
			}
			start := time.Now()
			s.RestartGateway(t)
			attached(t, s, 4)
			t.Logf("both sessions are back after %s", time.Since(start))
			bothVersions(t, func(t *testing.T, h2 bool) {
				if got := post(t, s, s.Agent(t, h2), "echo", pingBody); got.status != http.StatusOK || string(got.body) != string(stack.Echo([]byte(pingBody))) {
					t.Errorf("status %d, body %s", got.status, got.body)
				}
			})
		})
	}
}

// A connector's UDP socket answers its gateway and nobody else.
func TestConnectorAnswersNobodyElse(t *testing.T) {
	s := stack.New(t, stack.Options{Transport: tunnel.QUIC, Servers: one("echo", echoes(t)), Connector: func(c *connector.Config) { c.Connections = 1 }})
	attached(t, s, 1)
	if n := probe(t, s.Addr); n == 0 {
		t.Error("not even the gateway answers the probe, so that silence means nothing")
	}
	address, _ := records(s, "connector attached")[0]["remote"].(string)
	if n := probe(t, address); n > 0 {
		t.Errorf("the connector's socket at %s sent %d packets to a stranger", address, n)
	}
	if got := post(t, s, s.Agent(t, false), "echo", pingBody); got.status != http.StatusOK {
		t.Errorf("after the probe: status %d, %s", got.status, got.body)
	}
}

// probe sends what makes a QUIC endpoint answer, and more, to a UDP address
// from a socket of its own, and counts the packets that come back.
func probe(t *testing.T, address string) (answers int) {
	t.Helper()
	conn, err := net.Dial("udp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	long := func(version string) []byte { // a long header of RFC 9000 §17.2 with two connection ids of 8 bytes
		return append([]byte("\xc0"+version+"\x08abcdefgh\x08ijklmnop\x00"), make([]byte, 1200)...)
	}
	for _, packet := range [][]byte{
		long("\x0a\x0a\x0a\x0a"),                             // an unknown version, which wants Version Negotiation
		long("\x00\x00\x00\x01"),                             // a broken Initial
		append([]byte("\x40abcdefgh"), make([]byte, 200)...), // a short header, which wants a stateless reset
		[]byte("hello?"),
	} {
		if _, err := conn.Write(packet); err != nil {
			t.Fatal(err)
		}
	}
	_ = conn.SetReadDeadline(time.Now().Add(time.Second))
	for buf := make([]byte, 2048); ; answers++ {
		if _, err := conn.Read(buf); err != nil {
			return answers
		}
	}
}
