package connector

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"sallyport.dev/credential"
	"sallyport.dev/mcp"
	"sallyport.dev/mcp/stdio"
	"sallyport.dev/telemetry"
)

const (
	discoverTimeout = 5 * time.Second  // for a local server to say whether it knows the revision without sessions; old ones may stay silent
	readyTimeout    = 60 * time.Second // for a local server to list its tools when the connector starts: some download what they are made of first
	readyWait       = 10 * time.Second // for a call without a session to wait for a local server that is starting
	maxListed       = 4 << 20          // bytes of a list of tools
	maxPages        = 16
)

var (
	errNotReady  = errors.New("connector: the command has not yet answered tools/list")
	errNotListed = errors.New("connector: the command did not answer tools/list")
)

// readiness is what is known of a command since it has answered tools/list.
type readiness struct {
	known chan struct{} // closed when it has

	once   sync.Once
	modern bool // it serves calls without a session; set before known is closed
}

func newReadiness() readiness { return readiness{known: make(chan struct{})} }

// is makes known which revision is the newest that the command knows. The first to find out counts.
func (r *readiness) is(revision mcp.Version) {
	r.once.Do(func() {
		r.modern = !revision.Sessionful()
		close(r.known)
	})
}

// speaksModern reports whether the command serves calls without a session, and waits a while to know.
func (r *readiness) speaksModern(ctx context.Context) (bool, error) {
	timer := time.NewTimer(readyWait)
	defer timer.Stop()
	select {
	case <-r.known:
		return r.modern, nil
	case <-timer.C:
		return false, mcp.UpstreamUnreachable(errNotReady)
	case <-ctx.Done():
		return false, context.Cause(ctx)
	}
}

// speaksModern reports whether the command serves calls without a session, and waits a while to know. A command that has
// its callers' own secrets is asked when the first one calls, and by each for himself: another's may be of no use.
func (c *command) speaksModern(ctx context.Context, who patron) (bool, error) {
	if !c.isPersonal() {
		return c.ready.speaksModern(ctx)
	}
	asked := c.asks.DoChan(who.key(), func() (any, error) {
		if !closed(c.ready.known) {
			_, revision, err := c.list(context.WithoutCancel(ctx), who)
			if err != nil {
				return nil, mcp.UpstreamUnreachable(err)
			}
			c.ready.is(revision)
		}
		return nil, nil
	})
	select {
	case result := <-asked:
		if result.Err != nil {
			return false, result.Err
		}
		return c.ready.modern, nil
	case <-ctx.Done():
		return false, context.Cause(ctx)
	}
}

// isPersonal reports whether what the command is given depends on who calls.
func (c *command) isPersonal() bool { return c.cfg.Issuer != "" || namesPrincipal(c.cfg.refs()) }

// getReady asks a command for its tools until it has answered once, with growing pauses, and logs what it has found.
func (c *command) getReady(ctx context.Context) {
	if c.isPersonal() {
		c.children.log.Info("a local server has secrets of its callers, and is started when the first one calls", telemetry.KeyServer, c.name)
		return
	}
	var pause backoff
	for ctx.Err() == nil {
		began := time.Now()
		log := c.children.log.With(telemetry.KeyServer, c.name)
		isolation, err := c.children.probe(ctx, c.spec)
		var tools int
		var revision mcp.Version
		if err == nil {
			tools, revision, err = c.listAsNobody(ctx)
		}
		if err == nil {
			c.ready.is(revision)
			log.Info("a local server is ready", "tools", tools, "revision", string(revision), "isolation", isolation, telemetry.KeyDurationMS, time.Since(began).Milliseconds())
			return
		}
		if ctx.Err() != nil {
			return
		}
		wait := max(pause.next(), time.Second)
		log.Error("a local server is not ready: calls to it will fail", telemetry.KeyError, err, telemetry.KeyRetryInMS, wait.Milliseconds(),
			telemetry.KeyHint, "run its command by hand; see what it says on its standard error, and what read: and env: give it")
		sleep(ctx, wait)
	}
}

// listAsNobody lists the tools of a command that serves all callers alike.
func (c *command) listAsNobody(ctx context.Context) (tools int, revision mcp.Version, err error) {
	env, err := c.environment(ctx, credential.Principal{})
	if err != nil {
		return 0, "", err
	}
	return c.list(ctx, patron{c.name, env})
}

// list starts a process for nobody's calls, and counts its tools. The revision is the newest that it knows.
func (c *command) list(ctx context.Context, as patron) (tools int, revision mcp.Version, err error) {
	as.name += "\x00\x00" // no owner of calls has such a name
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	child, err := c.children.start(ctx, c, as, "", stdio.Stateless)
	if err != nil {
		return 0, "", err
	}
	defer func() {
		c.children.end(child)
		<-child.done
		if cause := child.process.Err(); err != nil && cause != nil {
			err = fmt.Errorf("%w; %w", err, cause)
		}
	}()
	const meta = `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{},"io.modelcontextprotocol/clientInfo":{"name":"sallyport","version":"1"}}`
	discovering, stop := context.WithTimeout(ctx, discoverTimeout)
	_, err = ask(discovering, child.conn, `{"jsonrpc":"2.0","id":1,"method":"server/discover","params":{`+meta+`}}`)
	stop()
	if err == nil {
		tools, err = countTools(ctx, child.conn, meta)
		return tools, mcp.V20260728, err
	}
	if err := ctx.Err(); err != nil {
		return 0, "", err
	}
	result, err := ask(ctx, child.conn, `{"jsonrpc":"2.0","id":2,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"sallyport","version":"1"}}}`)
	if err != nil {
		return 0, "", fmt.Errorf("initialize: %w", err)
	}
	var hello struct {
		ProtocolVersion mcp.Version `json:"protocolVersion"`
	}
	if err := json.Unmarshal(result, &hello); err != nil || !hello.ProtocolVersion.Sessionful() {
		return 0, "", fmt.Errorf("%w: it answers initialize without a protocol version", errNotListed)
	}
	accepted, err := child.conn.Do(ctx, request(`{"jsonrpc":"2.0","method":"notifications/initialized"}`))
	if err != nil {
		return 0, "", err
	}
	_ = accepted.Body.Close() // empty
	tools, err = countTools(ctx, child.conn, "")
	return tools, hello.ProtocolVersion, err
}

// countTools lists the tools, page by page. A server that has none may refuse to.
func countTools(ctx context.Context, conn *stdio.Conn, meta string) (n int, err error) {
	cursor := ""
	for range maxPages {
		params := meta
		if cursor != "" {
			quoted, err := jsontext.AppendQuote(nil, cursor)
			if err != nil {
				return 0, fmt.Errorf("%w: its cursor is no text", errNotListed)
			}
			if params != "" {
				params += ","
			}
			params += `"cursor":` + string(quoted)
		}
		result, err := ask(ctx, conn, `{"jsonrpc":"2.0","id":3,"method":"tools/list","params":{`+params+`}}`)
		var refused refusal
		switch {
		case errors.As(err, &refused) && refused.code == -32601:
			return n, nil
		case err != nil:
			return 0, fmt.Errorf("%w: %w", errNotListed, err)
		}
		var page struct {
			Tools      []jsontext.Value `json:"tools"`
			NextCursor string           `json:"nextCursor"`
		}
		if json.Unmarshal(result, &page) != nil { // its text would quote the answer
			return 0, fmt.Errorf("%w: what it answers is no list", errNotListed)
		}
		if n, cursor = n+len(page.Tools), page.NextCursor; cursor == "" {
			break
		}
	}
	return n, nil
}

// refusal is an error that a command has answered.
type refusal struct{ code int }

// Error implements error.
func (r refusal) Error() string { return fmt.Sprintf("it answers with the error %d", r.code) }

// request makes a call of ours.
func request(body string) *mcp.Call {
	msgs, _, _ := mcp.Parse([]byte(body)) // a constant, but for a quoted cursor
	return &mcp.Call{Messages: msgs, Body: []byte(body)}
}

// ask makes a request of ours and returns the result.
func ask(ctx context.Context, conn *stdio.Conn, body string) (jsontext.Value, error) {
	resp, err := conn.Do(ctx, request(body))
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxListed))
	if err != nil {
		return nil, err
	}
	if mcp.IsEventStream(resp.Header) {
		text = lastMessage(text)
	}
	var answer struct {
		Result jsontext.Value `json:"result"`
		Error  *struct {
			Code int `json:"code"`
		} `json:"error"`
	}
	if json.Unmarshal(text, &answer, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)) != nil {
		return nil, fmt.Errorf("%w: what it answers is no message, or too long", errNotListed)
	}
	if answer.Error != nil {
		return nil, refusal{answer.Error.Code}
	}
	return answer.Result, nil
}

// lastMessage is the data of a stream's last event, as [stdio.Conn] writes it.
func lastMessage(stream []byte) []byte {
	stream = bytes.TrimSpace(stream)
	_, data, _ := bytes.Cut(stream[bytes.LastIndexByte(stream, '\n')+1:], []byte(": "))
	return data
}

// getReady makes all commands ready, each by itself.
func (c *Connector) getReady(ctx context.Context) {
	var crew sync.WaitGroup
	now := c.current()
	for _, name := range now.localNames() {
		crew.Go(func() { now.servers[name].command.getReady(ctx) })
	}
	crew.Wait()
}
