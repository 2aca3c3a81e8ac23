package connector

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"

	"sallyport.dev/mcp"
	"sallyport.dev/telemetry"
)

// maxInput is how much of an answer is read before any of it passes, in bytes, and how long one may be that asks something of
// the client: as much as is held of an event.
const maxInput = 64 << 10

var errInput = errors.New("connector: the answer asks the client something that policy does not allow, or that cannot be read")

// asking is what of an answer is looked through for what it asks of the client.
type asking struct{ results, errors bool }

// judgeInput lets an answer that asks something of the client pass only if all of it may be asked. It cannot be answered in the
// client's place: the server has ended the call with it.
func judgeInput(message []byte, mayAsk func(m *mcp.Message, paramsUnknown bool) bool) *mcp.Error {
	if message == nil { // longer than maxInput, or over several lines
		return mcp.ResultDenied("", errInput)
	}
	requests, err := mcp.InputRequests(message)
	if err != nil {
		return mcp.ResultDenied("", errInput)
	}
	for i := range requests {
		if !mayAsk(&requests[i], false) {
			return mcp.ResultDenied("", errInput)
		}
	}
	return nil
}

// judgeBody holds an answer that is no event stream to what an event of one may be, and to what may be asked of the client. Its
// first 64 KiB are read by buf before anything passes; what is wrong behind them breaks the answer off.
func (u *upstream) judgeBody(ctx context.Context, resp *http.Response, buf []byte, call *mcp.Call, asks asking, mayAsk func(m *mcp.Message, paramsUnknown bool) bool) *mcp.Error {
	if resp.Body == http.NoBody || resp.ContentLength == 0 {
		return nil
	}
	json, utf8 := jsonType(resp.Header)
	scanner := mcp.NewAnswerScanner(call, mcp.AnswerRules{JSON: json, Failed: resp.StatusCode/100 != 2, Asks: asks.results, Elicits: asks.errors})
	head, err := readAhead(resp.Body, buf, scanner)
	whole := len(head) <= maxInput
	if n := noteFrom(ctx); n != nil && whole && len(call.Messages) > 0 {
		n.judged(mcp.JudgeResponse(head))
	}
	if err == nil && whole {
		err = scanner.End()
	}
	switch {
	case errors.Is(err, mcp.ErrAnswer) && resp.StatusCode/100 == 2 && len(call.Messages) > 0 && len(call.IDs()) == 0:
		u.guard.log.WarnContext(ctx, "what a server has answered to a message that wants no answer was dropped", telemetry.KeyReason, err)
		dropBody(resp)
		return nil
	case errors.Is(err, mcp.ErrAnswer):
		return invalidAnswer(err)
	case err != nil:
		return upstreamError(ctx, u.guard.clean(err), true)
	case json && !utf8 && bytes.IndexByte(head, '{') >= 0:
		return invalidAnswer(errCharset)
	case scanner.Asks() && !whole:
		return mcp.ResultDenied("", errInput)
	case scanner.Asks():
		if refused := judgeInput(head, mayAsk); refused != nil {
			return refused
		}
	}
	if whole {
		resp.Body = &resumedBody{bytes.NewReader(head), resp.Body}
	} else {
		resp.Body = &answerGuard{resumedBody{io.MultiReader(bytes.NewReader(head), resp.Body), resp.Body}, scanner, len(head)}
	}
	return nil
}

// dropBody lets only the head of an answer pass. Servers in use answer a notification as they would a request; clients read nothing
// there.
func dropBody(resp *http.Response) {
	_ = resp.Body.Close()
	resp.Body, resp.ContentLength = http.NoBody, 0
	for _, name := range []string{"Content-Type", "Content-Length", "Etag", "Content-Md5", "Digest", "Content-Digest", "Repr-Digest"} {
		resp.Header.Del(name)
	}
}

var errCharset = fmt.Errorf("%w: JSON in a charset that is no UTF-8", mcp.ErrAnswer)

// invalidAnswer is an answer that leaves the protocol.
func invalidAnswer(err error) *mcp.Error {
	return mcp.UpstreamInvalid(fmt.Errorf("%w: %w", errAnswer, err))
}

// readAhead reads a body by buf, up to one byte behind maxInput or to what the scanner does not let pass.
func readAhead(body io.Reader, buf []byte, scanner *mcp.AnswerScanner) (head []byte, err error) {
	for len(head) <= maxInput {
		n, err := body.Read(buf[:min(len(buf), maxInput+1-len(head))])
		if broken := scanner.Write(buf[:n]); broken != nil {
			return nil, broken
		}
		head = append(head, buf[:n]...)
		switch {
		case errors.Is(err, io.EOF):
			return head, nil
		case err != nil:
			return nil, err
		}
	}
	return head, nil
}

// jsonType reports whether an answer says that it is JSON, and whether what marks JSON's tokens is in the place where UTF-8 has it:
// a charset with bytes of its own could hide a quote.
func jsonType(h http.Header) (json, utf8 bool) {
	types := h["Content-Type"]
	if len(types) == 1 && types[0] == "application/json" {
		return true, true
	}
	utf8 = true
	for _, one := range types {
		json = json || strings.Contains(strings.ToLower(one), "json")
		_, params, err := mime.ParseMediaType(one)
		charset, ok := params["charset"]
		switch strings.ToLower(charset) {
		case "utf-8", "utf8", "us-ascii", "iso-8859-1":
		default:
			utf8 = utf8 && err == nil && !ok
		}
	}
	return json, utf8
}

// answerGuard breaks an answer off that leaves the protocol, or asks something of the client, behind what has been read ahead.
type answerGuard struct {
	resumedBody
	scanner *mcp.AnswerScanner
	seen    int // bytes that are still to come, and have been looked through
}

// Read implements io.Reader.
func (g *answerGuard) Read(p []byte) (int, error) {
	n, err := g.resumedBody.Read(p)
	fresh := p[min(n, g.seen):n]
	g.seen -= min(n, g.seen)
	broken := g.scanner.Write(fresh)
	if broken == nil && errors.Is(err, io.EOF) {
		broken = g.scanner.End()
	}
	switch {
	case broken != nil:
		return 0, invalidAnswer(broken)
	case g.scanner.Asks():
		return 0, mcp.ResultDenied("", errInput)
	}
	return n, err
}
