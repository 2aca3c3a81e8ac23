package connector

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"

	"sallyport.dev/mcp"
)

// maxInput is how long a result may be that asks something of the client, in bytes: as much as is held of an event.
const maxInput = 64 << 10

var errInput = errors.New("connector: the result asks the client something that policy does not allow, or that cannot be read")

// judgeInput lets a result that asks something of the client pass only if all of it may be asked. It cannot be answered in the
// client's place: the server has ended the call with it.
func judgeInput(message []byte, mayAsk func(m *mcp.Message, paramsUnknown bool) bool) error {
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

// judgeBody does the same for an answer that is no event stream. Its first 64 KiB are read before anything passes; what asks
// something behind them breaks the answer off.
func (u *upstream) judgeBody(ctx context.Context, resp *http.Response, mayAsk func(m *mcp.Message, paramsUnknown bool) bool) *mcp.Error {
	head, err := io.ReadAll(io.LimitReader(resp.Body, maxInput+1))
	if err != nil {
		return upstreamError(ctx, u.guard.clean(err), true)
	}
	scanner := mcp.NewAskScanner()
	asks := scanner.Write(head)
	if scanner.Bad() && resp.StatusCode/100 == 2 && resp.StatusCode != http.StatusAccepted { // clients read these alike, and of 202 nothing
		return mcp.UpstreamInvalid(errInput)
	}
	if len(head) > maxInput {
		if asks {
			return mcp.ResultDenied("", errInput)
		}
		resp.Body = &askGuard{resumedBody{io.MultiReader(bytes.NewReader(head), resp.Body), resp.Body}, scanner, len(head)}
		return nil
	}
	if asks {
		if refused, ok := errors.AsType[*mcp.Error](judgeInput(head, mayAsk)); ok {
			return refused
		}
	}
	resp.Body = &resumedBody{bytes.NewReader(head), resp.Body}
	return nil
}

// askGuard breaks an answer off that asks something of the client behind what has been looked through.
type askGuard struct {
	resumedBody
	scanner *mcp.AskScanner
	seen    int // bytes that are still to come, and have been looked through
}

// Read implements io.Reader.
func (g *askGuard) Read(p []byte) (int, error) {
	n, err := g.resumedBody.Read(p)
	fresh := p[min(n, g.seen):n]
	g.seen -= min(n, g.seen)
	if g.scanner.Write(fresh) || g.scanner.Bad() {
		return 0, mcp.ResultDenied("", errInput)
	}
	return n, err
}
