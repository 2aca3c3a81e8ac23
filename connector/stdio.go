package connector

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"sallyport.dev/mcp"
	"sallyport.dev/mcp/stdio"
	"sallyport.dev/telemetry"
)

const headerMCPSession = "Mcp-Session-Id"

// RoundTrip answers a call as an MCP server over HTTP would: it finds or starts the process that serves the caller and
// nobody else, and hands it the call. The request's context has the call's note. An error is a *mcp.Error, or that of the
// context.
func (c *command) RoundTrip(r *http.Request) (*http.Response, error) {
	n := noteFrom(r.Context())
	if c.cfg.TraceMeta {
		r = r.WithContext(stdio.WithTrace(r.Context(), telemetry.Traceparent(n.client.Context), n.client.Context.TraceState().String()))
	}
	env, err := c.environment(r.Context(), n.caller())
	if err != nil {
		return nil, mcp.CredentialUnavailable(err)
	}
	self := patron{string(owner(c.name, n.principal)), env}
	switch call := n.call; {
	case call.Endpoint == mcp.EndpointSSE:
		return c.openLegacy(r.Context(), self)
	case call.Endpoint == mcp.EndpointMessages:
		child, release := c.children.find(self.key(), r.URL.Query().Get("session"))
		if child == nil {
			return nil, mcp.SessionNotFound()
		}
		return held(release)(child.orGone(child.conn.Do(r.Context(), call)))
	case !call.Version.Sessionful():
		return c.callShared(r.Context(), self, call)
	case call.SessionID != "":
		child, release := c.children.find(self.key(), call.SessionID)
		if child == nil {
			return nil, mcp.SessionNotFound()
		}
		return held(release)(child.orGone(c.inSession(r, child, call)))
	case r.Method == http.MethodPost && len(call.IDs()) == 1 && call.Method() == "initialize":
		return c.openSession(r.Context(), self, call)
	}
	return nil, mcp.InvalidRequest("it is in no MCP session, and this server's sessions begin with initialize")
}

// patron is whom a process serves, and nobody else: a principal with the secrets that are his now. Once one of them has
// changed, the processes that have the old one are another patron's, and end when they have been idle.
type patron struct {
	name string
	environment
}

// key is the patron's, in one way for each.
func (p patron) key() string {
	if len(p.secrets) == 0 {
		return p.name
	}
	return fmt.Sprintf("%s\x00%x", p.name, p.version)
}

// held keeps a process from being idle until the response's body has been closed, or at once if there is none.
func held(release func()) func(*http.Response, error) (*http.Response, error) {
	return func(resp *http.Response, err error) (*http.Response, error) {
		if err != nil {
			release()
			return nil, err
		}
		resp.Body = &closing{resp.Body, release}
		return resp, nil
	}
}

// closing calls a function when a body is closed.
type closing struct {
	io.ReadCloser
	then func()
}

// Close implements io.Closer.
func (c *closing) Close() error {
	defer c.then()
	return c.ReadCloser.Close()
}

// orGone says of a message that a process in its last moments has not got what it says of all that come later: that the
// session has ended.
func (c *child) orGone(resp *http.Response, err error) (*http.Response, error) {
	var e *mcp.Error
	if errors.As(err, &e) && e.Delivered == mcp.DeliveredNo && c.conn.Err() != nil {
		gone := mcp.SessionNotFound()
		gone.Err = e
		return nil, gone
	}
	return resp, err
}

// openLegacy begins an MCP session over HTTP+SSE, which lasts as long as its stream.
func (c *command) openLegacy(ctx context.Context, owner patron) (*http.Response, error) {
	session := rand.Text()
	began := time.Now()
	child, err := c.children.start(ctx, c, owner, session, stdio.Legacy)
	noteFrom(ctx).started(began)
	if err != nil {
		return nil, err
	}
	place := url.URL{Path: "/messages", RawQuery: url.Values{"session": {session}}.Encode()}
	resp, err := child.conn.Listen(ctx, []byte("event: endpoint\ndata: "+place.String()+"\n\n"))
	if err != nil {
		c.children.end(child)
		return nil, err
	}
	c.children.name(child)
	release := child.hold()
	resp.Body = &closing{resp.Body, func() {
		release()
		c.children.end(child)
	}}
	return resp, nil
}

// openSession begins an MCP session, with a process of its own.
func (c *command) openSession(ctx context.Context, owner patron, call *mcp.Call) (*http.Response, error) {
	session := rand.Text()
	began := time.Now()
	child, err := c.children.start(ctx, c, owner, session, stdio.Session)
	noteFrom(ctx).started(began)
	if err != nil {
		return nil, err
	}
	resp, err := held(child.hold())(child.conn.Do(ctx, call))
	if err != nil {
		c.children.end(child)
		return nil, child.because(ctx, err)
	}
	if !mcp.IsEventStream(resp.Header) && !child.conn.Greeted() { // refused, for example for its revision
		c.children.end(child)
		return resp, nil
	}
	c.children.name(child)
	resp.Header.Set(headerMCPSession, session)
	return resp, nil
}

// because says why a process that has just been started did not answer, if it is known that it has got nothing done.
func (c *child) because(ctx context.Context, err error) error {
	var e *mcp.Error
	if !errors.As(err, &e) || ctx.Err() != nil {
		return err
	}
	select {
	case <-c.done:
	case <-ctx.Done():
		return err
	}
	if cause := c.process.Err(); cause != nil {
		e.Err = errors.Join(e.Err, cause)
	}
	return e
}

// inSession serves a request within an MCP session.
func (c *command) inSession(r *http.Request, child *child, call *mcp.Call) (*http.Response, error) {
	switch r.Method {
	case http.MethodGet:
		return child.conn.Listen(r.Context(), nil)
	case http.MethodDelete:
		c.children.end(child)
		return &http.Response{StatusCode: http.StatusNoContent, Body: http.NoBody, Header: http.Header{}}, nil
	}
	return child.conn.Do(r.Context(), call)
}

// callShared serves a call without a session, by the one process that the owner's calls share.
func (c *command) callShared(ctx context.Context, owner patron, call *mcp.Call) (*http.Response, error) {
	modern, err := c.speaksModern(ctx, owner)
	switch {
	case err != nil:
		return nil, err
	case !modern:
		return nil, mcp.UnsupportedRevision()
	}
	child, release := c.children.sharedBy(owner.key())
	if child == nil {
		began := time.Now()
		child, err = c.share(ctx, owner)
		noteFrom(ctx).started(began)
		if err != nil {
			return nil, err
		}
		release = child.hold()
	}
	return held(release)(child.conn.Do(ctx, call))
}

// share starts the process that an owner's calls share, once however many ask at the same time.
func (c *command) share(ctx context.Context, owner patron) (*child, error) {
	started := c.starts.DoChan(owner.key(), func() (any, error) {
		if child, release := c.children.sharedBy(owner.key()); child != nil { // since we looked
			release()
			return child, nil
		}
		child, err := c.children.start(context.WithoutCancel(ctx), c, owner, "", stdio.Stateless)
		if err == nil {
			c.children.name(child)
		}
		return child, err
	})
	select {
	case result := <-started:
		child, _ := result.Val.(*child)
		return child, result.Err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}
