package gateway

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sallyport.dev/auth"
	"sallyport.dev/tunnel"
)

func TestAttachRefuses(t *testing.T) {
	names := make([]string, 257)
	for i := range names {
		names[i] = fmt.Sprintf("s%d", i)
	}
	for name, test := range map[string]struct {
		request string
		status  int
		says    string
	}{
		"no token":         {strings.Replace(attachRequest("x", attachBody(t, "one", "wiki")), "Authorization: Bearer x\r\n", "", 1), 401, "no"},
		"wrong token":      {attachRequest(strings.Repeat("w1", 20), attachBody(t, "one", "wiki")), 401, "not one that is configured"},
		"an agent's token": {attachRequest(testAgentToken, attachBody(t, "one", "wiki")), 401, "not one that is configured"},
		"another instance": {attachRequest(testTunnelToken, attachBody(t, "two", "wiki")), 400, "instance"},
		"no server":        {attachRequest(testTunnelToken, attachBody(t, "one")), 400, "1 to 256"},
		"too many servers": {attachRequest(testTunnelToken, attachBody(t, "one", names...)), 400, "1 to 256"},
		"a bad name":       {attachRequest(testTunnelToken, attachBody(t, "one", "wiki", "Wiki")), 400, "name"},
		"a double hyphen":  {attachRequest(testTunnelToken, attachBody(t, "one", "a--b")), 400, "name"},
		"a path for name":  {attachRequest(testTunnelToken, attachBody(t, "one", "../x")), 400, "name"},
		"no JSON":          {attachRequest(testTunnelToken, "canary-of-the-body"), 400, "JSON"},
		"duplicate keys":   {attachRequest(testTunnelToken, `{"instance":"one","instance":"one","servers":["wiki"]}`), 400, "JSON"},
		"a large body":     {attachRequest(testTunnelToken, strings.Repeat(" ", auth.MaxAttachBytes+1)), 404, "all that this stream serves"},
		"another path":     {strings.Replace(attachRequest(testTunnelToken, attachBody(t, "one", "wiki")), auth.AttachPath, "/detach", 1), 404, "all that"},
		"another method":   {strings.Replace(attachRequest(testTunnelToken, attachBody(t, "one", "wiki")), "POST", "PUT", 1), 404, "all that"},
	} {
		t.Run(name, func(t *testing.T) {
			g, log := newGateway(t, nil)
			c := dialGateway(t, g, "one")
			status, answer := c.ask(t, test.request)
			if status != test.status || !strings.Contains(answer, test.says) {
				t.Errorf("%d %q, want %d with %q", status, answer, test.status, test.says)
			}
			for _, canary := range []string{testTunnelToken, testAgentToken, "w1w1", "canary-of-the-body"} {
				if strings.Contains(answer, canary) || strings.Contains(log.String(), canary) {
					t.Errorf("%q is in the answer or the log", canary)
				}
			}
			if n := len(g.sessions.all()); n != 0 {
				t.Errorf("%d sessions are attached", n)
			}
		})
	}
}

func TestRefusedAttachEndsTheSession(t *testing.T) {
	g, _ := newGateway(t, nil)
	c := dialGateway(t, g, "one")
	if status, _ := c.ask(t, attachRequest(strings.Repeat("w1", 20), attachBody(t, "one", "wiki"))); status != http.StatusUnauthorized {
		t.Fatal(status)
	}
	// A second try on the same session is too late, even with the right token.
	if status, answer := c.attach(t, "one", "wiki"); status != http.StatusConflict {
		t.Errorf("%d %s", status, answer)
	}
	select {
	case <-c.Done():
		if codeOf(c.Err()) != tunnel.CodePolicy {
			t.Errorf("ended with %v", c.Err())
		}
	case <-time.After(5 * time.Second):
		t.Error("the session of a stranger stays")
	}
}

func TestAttachAnswer(t *testing.T) {
	g, log := newGateway(t, nil)
	c := dialGateway(t, g, "one")
	status, answer := c.attach(t, "one", "wiki", "docs")
	var got auth.AttachAnswer
	if err := auth.UnmarshalAttach([]byte(answer), &got); status != http.StatusOK || err != nil {
		t.Fatalf("%d %s %v", status, answer, err)
	}
	if got.Tunnel != testTunnel || got.Issuer != testPublicURL || len(got.AssertionKeys) != 1 || !got.AssertionKeys[0].Equal(g.signer.PublicKeys()[0]) ||
		got.URLs["wiki"] != testPublicURL+"/t/acme/wiki/mcp" || len(got.URLs) != 2 {
		t.Errorf("%+v", got)
	}
	if status, _ := c.attach(t, "one", "wiki"); status != http.StatusConflict {
		t.Errorf("attached twice: %d", status)
	}
	if n := len(g.sessions.all()); n != 1 {
		t.Errorf("%d sessions", n)
	}
	c.hangUp()
	if n := len(g.sessions.all()); n != 0 {
		t.Errorf("%d sessions are left behind", n)
	}
	if strings.Contains(log.String(), testTunnelToken) {
		t.Error("the tunnel token is in the log")
	}
}

func TestThirdConnectorIsRefused(t *testing.T) {
	g, _ := newGateway(t, nil)
	for _, instance := range []string{"one", "two"} {
		if status, answer := dialGateway(t, g, instance).attach(t, instance, "wiki"); status != http.StatusOK {
			t.Fatalf("%s: %d %s", instance, status, answer)
		}
	}
	if status, answer := dialGateway(t, g, "three").attach(t, "three", "wiki"); status != http.StatusConflict || !strings.Contains(answer, "full number") {
		t.Errorf("%d %s", status, answer)
	}
	if status, answer := dialGateway(t, g, "two").attach(t, "two", "wiki"); status != http.StatusOK {
		t.Errorf("a second session of a connector that is there: %d %s", status, answer)
	}
}

func TestNoAttachWithinTenSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, _ := newGateway(t, nil)
		start := time.Now()
		c := dialGateway(t, g, "silent")
		<-c.Done()
		took := time.Since(start)
		if codeOf(c.Err()) != tunnel.CodeProtocol || took < attachTimeout || took > attachTimeout+time.Second {
			t.Errorf("ended after %s with %v", took, c.Err())
		}
		c.hangUp()
	})
}

func TestDrainingGatewayRefusesAttach(t *testing.T) {
	g, _ := newGateway(t, nil)
	g.drain()
	if status, _ := dialGateway(t, g, "one").attach(t, "one", "wiki"); status != http.StatusServiceUnavailable {
		t.Errorf("status %d", status)
	}
	if w := call(t, g, "wiki", listTools); w.Code != http.StatusServiceUnavailable || w.Header().Get("Connection") != "close" {
		t.Errorf("a call: %d %v", w.Code, w.Header())
	} else if word, delivered := reason(w.Body.Bytes()); word != "draining" || delivered != "no" {
		t.Errorf("a call: %s", w.Body)
	}
}

// TestSessionThatEndsWhileItAttaches: whatever the order, nothing of it stays.
func TestSessionThatEndsWhileItAttaches(t *testing.T) {
	g, _ := newGateway(t, nil)
	for range 50 {
		c := dialGateway(t, g, "one")
		conn, err := c.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write([]byte(attachRequest(testTunnelToken, attachBody(t, "one", "wiki")))); err != nil {
			t.Fatal(err)
		}
		c.hangUp()
	}
	deadline := time.Now().Add(2 * time.Second)
	for len(g.sessions.all()) > 0 && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}
	if n := len(g.sessions.all()); n != 0 {
		t.Errorf("%d sessions are left behind", n)
	}
}

// TestLateJoinIsRefused pins the order that the test above meets by chance.
func TestLateJoinIsRefused(t *testing.T) {
	g, _ := newGateway(t, nil)
	a, _ := pipeSession(t, "one", "wiki")
	at := &attachment{gateway: g, session: a.Session}
	if got := at.finish(); got != nil {
		t.Errorf("took over %v", got)
	}
	if err := at.join(a, 0); err == nil || len(g.sessions.all()) != 0 {
		t.Errorf("joined after the end: %v", err)
	}
}

// TestDrainedSessionIsClosedByTheGateway: it alone knows that it has read the
// last answer.
func TestDrainedSessionIsClosedByTheGateway(t *testing.T) {
	g, _ := newGateway(t, nil)
	c := dialGateway(t, g, "one")
	if status, answer := c.attach(t, "one", "wiki"); status != http.StatusOK {
		t.Fatalf("%d %s", status, answer)
	}
	a := g.sessions.all()[0]
	a.inFlight.Add(1)
	if err := c.Drain(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-c.Done():
		t.Fatal("closed with a call in flight")
	case <-time.After(5 * drainedLook):
	}
	a.inFlight.Add(-1)
	select {
	case <-c.Done():
	case <-time.After(5 * time.Second):
		t.Fatal("not closed when no call was left")
	}
	if codeOf(c.Err()) != tunnel.CodeOK {
		t.Errorf("ended with %v", c.Err())
	}
}

func codeOf(err error) tunnel.Code {
	var ended *tunnel.CloseError
	if errors.As(err, &ended) {
		return ended.Code
	}
	return tunnel.CodeLost
}
