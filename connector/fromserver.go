package connector

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"time"

	"sallyport.dev/credential"
	"sallyport.dev/credential/watch"
	"sallyport.dev/mcp"
	"sallyport.dev/policy"
	"sallyport.dev/telemetry"
)

// refuseServer is how long it may take to tell a server that the client will not answer it.
const refuseServer = 10 * time.Second

// maxTelling is how many refusals of one answer may be on their way to its server at once. More are not told.
const maxTelling = 16

// mayAsk returns what asks the customer's policy whether a server may make a request of its client.
func (c *Connector) mayAsk(n *note) func(m *mcp.Message, paramsUnknown bool) bool {
	return func(m *mcp.Message, paramsUnknown bool) bool {
		d := n.routes.cfg.Policy.Decide(policy.Request{Principal: n.principal, Server: n.server, FromServer: true, Message: *m, ParamsUnknown: paramsUnknown, Source: n.source, Time: time.Now()})
		c.metrics.decide(judgement{n.server, d.Rule, d.Allow})
		return c.auditAsked(n, m, d) && d.Allow
	}
}

// refuser returns what answers a request of the server in the client's place, so that the server does not wait for ever: by
// a POST of its own in the same MCP session, with the same credentials.
func (c *Connector) refuser(ctx context.Context, n *note, r *http.Request, a *answer) func(m *mcp.Message) {
	session, version, server := n.call.SessionID, n.call.Version, n.server
	telling := make(chan struct{}, maxTelling)
	return func(m *mcp.Message) {
		select {
		case telling <- struct{}{}:
		default: // it asks faster than it listens
			return
		}
		told := func() { <-telling }
		log := c.log.With(telemetry.KeyRequestID, n.requestID, telemetry.KeyServer, server, telemetry.KeyMethod, m.Method, telemetry.KeyPrincipal, n.principal.String())
		log.WarnContext(ctx, "a request of the server to its client was refused by policy")
		body := mcp.ErrorMessage(mcp.Denied(byPolicy), n.requestID, m.ID)
		messages, _, err := mcp.Parse(body)
		if err != nil {
			told()
			return // cannot be: the id has been parsed
		}
		reply := *n
		reply.phases = nil // they are the call's
		reply.call = &mcp.Call{Endpoint: mcp.EndpointMCP, Version: version, SessionID: session, Messages: messages, Body: body}
		target := n.upstream.url
		if n.call.Endpoint != mcp.EndpointMCP {
			if target = a.messages; target == nil {
				told()
				return // a request before the endpoint event stops the stream
			}
			reply.call.Endpoint = mcp.EndpointMessages
		}
		n.upstream.calls.Add(1)
		go func() {
			defer n.upstream.calls.Done()
			defer told()
			if err := c.tellServer(context.WithoutCancel(ctx), &reply, r, target); err != nil {
				log.WarnContext(ctx, "the server was not told that its request was refused", telemetry.KeyError, n.upstream.guard.clean(quoteless(err)))
			}
		}()
	}
}

// byPolicy stands for a rule in what a server gets to see.
const byPolicy = "policy"

// tellServer sends a response to the upstream.
func (c *Connector) tellServer(ctx context.Context, reply *note, r *http.Request, target *url.URL) error {
	ctx, cancel := context.WithTimeout(context.WithValue(ctx, noteKey{}, reply), refuseServer)
	defer cancel()
	ctx = watch.With(ctx, nil) // the call itself may have ended
	request := upstreamRequest(credential.WithPrincipal(ctx, reply.caller()), r, reply.call, target, reply.told)
	request.Method = http.MethodPost
	for _, name := range []string{"Last-Event-Id", "Mcp-Method", "Mcp-Name"} {
		request.Header.Del(name)
	}
	request.Header["Content-Type"] = []string{"application/json"}
	request.Header["Accept"] = []string{"application/json, text/event-stream"}
	response, err := reply.upstream.transport.RoundTrip(request)
	if err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, 64<<10))
	return response.Body.Close()
}
