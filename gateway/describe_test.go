package gateway

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sallyport.dev/auth"
	"sallyport.dev/tunnel"
)

// describeRequest is an attach request that only asks.
func describeRequest(token, body string) string {
	return strings.Replace(attachRequest(token, body), auth.AttachPath, auth.DescribePath, 1)
}

func TestDescribeAnswersAsAttachAndAttachesNothing(t *testing.T) {
	g, log := newGateway(t, nil)
	for _, instance := range []string{"one", "two"} { // as many as may attach
		if status, answer := dialGateway(t, g, instance).attach(t, instance, "wiki"); status != http.StatusOK {
			t.Fatalf("%s: %d %s", instance, status, answer)
		}
	}
	c := dialGateway(t, g, "asker")
	status, answer := c.ask(t, describeRequest(testTunnelToken, attachBody(t, "asker", "wiki", "docs")))
	var got auth.AttachAnswer
	if err := auth.UnmarshalAttach([]byte(answer), &got); status != http.StatusOK || err != nil {
		t.Fatalf("%d %s %v", status, answer, err)
	}
	if got.Tunnel != testTunnel || got.Issuer != testPublicURL || len(got.AssertionKeys) != 1 || !got.AssertionKeys[0].Equal(g.signer.PublicKeys()[0]) ||
		got.URLs["docs"] != testPublicURL+"/t/acme/docs/mcp" || len(got.URLs) != 2 {
		t.Errorf("%+v", got)
	}
	if n := len(g.sessions.all()); n != 2 {
		t.Errorf("%d sessions are attached", n)
	}
	if w := call(t, g, "docs", listTools); w.Code != http.StatusNotFound {
		t.Errorf("a server that was only asked about: %d", w.Code)
	}
	c.hangUp()
	if strings.Contains(log.String(), testTunnelToken) || strings.Contains(log.String(), "refused") {
		t.Errorf("the log is %s", log)
	}
}

func TestDescribeRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		request string
		status  int
		says    string
	}{
		"no token":         {strings.Replace(describeRequest("x", attachBody(t, "one", "wiki")), "Authorization: Bearer x\r\n", "", 1), 401, "no"},
		"wrong token":      {describeRequest(strings.Repeat("w1", 20), attachBody(t, "one", "wiki")), 401, "not one that is configured"},
		"an agent's token": {describeRequest(testAgentToken, attachBody(t, "one", "wiki")), 401, "not one that is configured"},
		"another instance": {describeRequest(testTunnelToken, attachBody(t, "two", "wiki")), 400, "instance"},
		"no server":        {describeRequest(testTunnelToken, attachBody(t, "one")), 400, "1 to 256"},
		"a bad name":       {describeRequest(testTunnelToken, attachBody(t, "one", "../x")), 400, "name"},
		"another method":   {strings.Replace(describeRequest(testTunnelToken, attachBody(t, "one", "wiki")), "POST", "GET", 1), 404, "all that"},
	} {
		t.Run(name, func(t *testing.T) {
			g, log := newGateway(t, nil)
			status, answer := dialGateway(t, g, "one").ask(t, test.request)
			if status != test.status || !strings.Contains(answer, test.says) {
				t.Errorf("%d %q, want %d with %q", status, answer, test.status, test.says)
			}
			if strings.Contains(answer+log.String(), testTunnelToken) || strings.Contains(answer+log.String(), "w1w1") || len(g.sessions.all()) != 0 {
				t.Errorf("%q, the log is %s", answer, log)
			}
		})
	}
}

// TestOneRequestASession: who has asked does not attach, and who has attached
// does not ask.
func TestOneRequestASession(t *testing.T) {
	g, _ := newGateway(t, nil)
	attach, describe := attachRequest(testTunnelToken, attachBody(t, "one", "wiki")), describeRequest(testTunnelToken, attachBody(t, "one", "wiki"))
	for name, requests := range map[string][2]string{"attach after describe": {describe, attach}, "describe after attach": {attach, describe}} {
		c := dialGateway(t, g, "one")
		if status, answer := c.ask(t, requests[0]); status != http.StatusOK {
			t.Fatalf("%s: %d %s", name, status, answer)
		}
		if status, answer := c.ask(t, requests[1]); status != http.StatusConflict {
			t.Errorf("%s: %d %s", name, status, answer)
		}
		c.hangUp()
		if n := len(g.sessions.all()); n != 0 {
			t.Errorf("%s: %d sessions are left behind", name, n)
		}
	}
}

// TestDescribedSessionStaysNoLongerThanAnAttachMayTake, and holds its place
// among the sessions that have not attached.
func TestDescribedSessionStaysNoLongerThanAnAttachMayTake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, _ := newGateway(t, nil)
		start := time.Now()
		c := dialGateway(t, g, "lingers")
		if status, answer := c.ask(t, describeRequest(testTunnelToken, attachBody(t, "lingers", "wiki"))); status != http.StatusOK {
			t.Fatalf("%d %s", status, answer)
		}
		synctest.Wait()
		if g.unattached.TryAcquire(maxUnattached) {
			t.Error("it does not count as a session that has not attached")
		}
		<-c.Done()
		if took := time.Since(start); codeOf(c.Err()) != tunnel.CodeOK || took < attachTimeout || took > attachTimeout+time.Second {
			t.Errorf("ended after %s with %v", took, c.Err())
		}
		c.hangUp()
		if !g.unattached.TryAcquire(maxUnattached) {
			t.Error("its place is not free again")
		}
	})
}

func TestDrainingGatewayDescribesNothing(t *testing.T) {
	g, _ := newGateway(t, nil)
	g.drain()
	if status, _ := dialGateway(t, g, "one").ask(t, describeRequest(testTunnelToken, attachBody(t, "one", "wiki"))); status != http.StatusServiceUnavailable {
		t.Errorf("status %d", status)
	}
}
