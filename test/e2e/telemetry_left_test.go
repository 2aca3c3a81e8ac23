package e2e_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	traces "go.opentelemetry.io/proto/otlp/trace/v1"

	"sallyport.dev/telemetry"
	"sallyport.dev/test/backends"
	"sallyport.dev/test/stack"
	"sallyport.dev/tunnel"
)

// An agent that has left before there was an answer is nobody's failure: not the gateway's, not the connector's, and not the server's.
func TestAgentsThatLeave(t *testing.T) {
	t.Parallel()
	for _, over := range []tunnel.Transport{tunnel.Memory, tunnel.TCP, tunnel.QUIC} {
		t.Run(string(over), func(t *testing.T) {
			t.Parallel()
			agentLeaves(t, over)
		})
	}
}

func agentLeaves(t *testing.T, over tunnel.Transport) {
	t.Helper()
	receiver := backends.StartReceiver(t)
	asked := make(chan struct{}, 1)
	slow := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		asked <- struct{}{}
		<-r.Context().Done()
	}))
	t.Cleanup(slow.Close)
	s := observe(t, stack.Options{Transport: over, Servers: one("slow", slow.URL)}, collector(receiver.URL))
	ctx, leave := context.WithCancel(t.Context())
	r, err := s.Post(ctx, "slow", toolCall("wait", `{}`))
	if err != nil {
		t.Fatal(err)
	}
	left := make(chan error, 1)
	go func() {
		_, err := whole(s.Agent(t, true), r)
		left <- err
	}()
	<-asked
	leave()
	if err := <-left; err == nil {
		t.Error("the agent has got an answer")
	}
	until(t, patience, "both have told of the call", func() bool { return len(records(s.Stack, "call")) == 2 })
	for _, line := range records(s.Stack, "call") {
		if line["error_type"] != "cancelled" || line["level"] != "INFO" || line["outcome"] != "agent_left" && line["outcome"] != "caller_left" {
			t.Errorf("%v", line)
		}
	}
	for name, role := range map[string]*telemetry.Telemetry{"gateway": s.gateway, "connector": s.connector} {
		text := shown(t, role)
		if !strings.Contains(text, `error_type="cancelled"`) || strings.Contains(text, `error_type="-320`) || strings.Contains(text, "sallyport_refusals_total{") {
			t.Errorf("the %s measures %s", name, text)
		}
	}
	if status := s.Connector.Status().Servers[0]; status.Failed != 0 || status.Failure != "" {
		t.Errorf("%+v", status)
	}
	calls := func() []*traces.Span { // without those of phases that took long
		return slices.DeleteFunc(slices.Clone(receiver.Spans()), func(s *traces.Span) bool { return s.GetKind() == traces.Span_SPAN_KIND_INTERNAL })
	}
	until(t, patience, "three spans", func() bool { return len(calls()) == 3 })
	for _, span := range calls() {
		got := make(map[string]string)
		for _, a := range span.GetAttributes() {
			got[a.GetKey()] = a.GetValue().GetStringValue()
		}
		for key, want := range map[attribute.Key]string{telemetry.AttrErrorType: "cancelled", telemetry.AttrRPCStatus: "", telemetry.AttrHTTPStatus: "none"} {
			_, there := got[string(key)]
			if want == "none" && there || want != "none" && got[string(key)] != want {
				t.Errorf("%s: %s is %q (%v), want %q", span.GetName(), key, got[string(key)], there, want)
			}
		}
	}
}
