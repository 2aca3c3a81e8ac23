package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"

	"github.com/mark3labs/mcp-go/client/transport"
	"github.com/mark3labs/mcp-go/mcp"

	strict "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"sallyport.dev/secret"
)

// maxErrorBody is how much of a refusal is read to learn its reason, in bytes.
const maxErrorBody = 64 << 10

// wire adds the token to every request, and keeps what the last refusal said, which the library drops.
type wire struct {
	next    http.RoundTripper
	token   secret.Value
	refusal *Failure    // of the last response; nil if it was none
	cause   error       // of the last request that got no response
	sent    atomic.Bool // the last request had a connection to go out on
}

// RoundTrip implements http.RoundTripper for one request at a time.
func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	w.sent.Store(false)
	r = r.Clone(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { w.sent.Store(true) }}))
	if !w.token.IsZero() {
		r.Header.Set("Authorization", "Bearer "+w.token.Reveal())
	}
	w.refusal, w.cause = nil, nil
	resp, err := w.next.RoundTrip(r)
	if err != nil {
		w.cause = err
		return nil, err
	}
	if resp.StatusCode < http.StatusMultipleChoices {
		return resp, nil
	}
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody)) // what came is all there is to tell
	resp.Body = readCloser{io.MultiReader(bytes.NewReader(body), resp.Body), resp.Body}
	w.refusal = readRefusal(resp.StatusCode, body)
	return resp, nil
}

type readCloser struct {
	io.Reader
	io.Closer
}

// readRefusal understands the two forms of our own refusals; of others it keeps the status.
func readRefusal(status int, body []byte) *Failure {
	var answer struct {
		Error struct {
			Code    int    `json:"code"`
			Message string `json:"message"`
			Reason  string `json:"reason"`
			Data    struct {
				Reason    string `json:"reason"`
				RequestID string `json:"request_id"`
			} `json:"data"`
		} `json:"error"`
	}
	f := &Failure{Status: status}
	if strict.Unmarshal(body, &answer) != nil {
		return f
	}
	f.Code, f.Message, f.Reason, f.RequestID = answer.Error.Code, answer.Error.Message, answer.Error.Data.Reason, answer.Error.Data.RequestID
	if f.Reason == "" {
		f.Reason = answer.Error.Reason
	}
	return f
}

// tap stands between the library's client and its transport, to keep the bytes of results and errors.
type tap struct {
	*transport.StreamableHTTP
	result json.RawMessage
	failed *mcp.JSONRPCErrorDetails
}

// SendRequest implements transport.Interface.
func (t *tap) SendRequest(ctx context.Context, r transport.JSONRPCRequest) (*transport.JSONRPCResponse, error) {
	t.result, t.failed = nil, nil
	resp, err := t.StreamableHTTP.SendRequest(ctx, r)
	if err == nil && resp != nil {
		t.result, t.failed = resp.Result, resp.Error
	}
	return resp, err
}

// RawObject is the text of a JSON object.
type RawObject []byte

// ErrArguments means that a tool's arguments are not one JSON object.
var ErrArguments = errors.New("agent: the arguments are not a JSON object")

// ParseObject checks that text is one strict JSON object; empty counts as {}.
func ParseObject(text []byte) (RawObject, error) {
	if len(bytes.TrimSpace(text)) == 0 {
		return nil, nil
	}
	var members map[string]jsontext.Value
	if err := strict.Unmarshal(text, &members); err != nil || members == nil {
		return nil, ErrArguments
	}
	return RawObject(text), nil
}

func (o RawObject) orEmpty() json.RawMessage {
	if len(o) == 0 {
		return json.RawMessage("{}")
	}
	return json.RawMessage(o)
}
