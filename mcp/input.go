package mcp

import (
	"errors"
	"io"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// maxInputRequests is how many things one result may ask of the client.
const maxInputRequests = 100

var errInput = errors.New("mcp: what a result asks of the client cannot be read")

// InputRequests reads what a response asks of the client: the members of result.inputRequests (MCP 2026-07-28,
// InputRequiredResult). Each has a method, such as elicitation/create, and params. What tolerant readers could read in another
// way is an error, which quotes nothing.
func InputRequests(message []byte) ([]Message, error) {
	result, err := memberOf(message, "result")
	if err != nil || result == nil {
		return nil, err
	}
	asked, err := memberOf(result, "inputRequests")
	if err != nil || asked == nil {
		return nil, err
	}
	value, err := Value(asked)
	if err != nil {
		return nil, errInput
	}
	members, ok := value.(map[string]any)
	if !ok || len(members) > maxInputRequests {
		return nil, errInput
	}
	var requests []Message
	for name := range members {
		raw, err := memberOf(asked, name)
		if err != nil {
			return nil, err
		}
		method, err := memberOf(raw, "method")
		if err != nil || len(method) < 2 || method[0] != '"' {
			return nil, errInput
		}
		params, err := memberOf(raw, "params")
		if err != nil {
			return nil, err
		}
		m := Message{Kind: Request, Method: unquote(method), Params: params}
		if !wellFormed(m.Method) {
			return nil, errInput
		}
		requests = append(requests, m)
	}
	slices.SortFunc(requests, func(a, b Message) int { return strings.Compare(a.Method, b.Method) })
	return requests, nil
}

// memberOf returns the raw value of an object's member, or nil if it has none. A name that is almost the same, or twice, is
// an error.
func memberOf(object []byte, name string) (value []byte, err error) {
	d := jsontext.NewDecoder(strings.NewReader(string(object)))
	if token, err := d.ReadToken(); err != nil || token.Kind() != '{' {
		return nil, errInput
	}
	for d.PeekKind() != '}' {
		raw, err := d.ReadValue()
		if err != nil || len(raw) == 0 || raw[0] != '"' {
			return nil, errInput
		}
		exact := string(raw) == `"`+name+`"`
		if !exact && lookalike(raw, []string{name}) {
			return nil, errInput
		}
		member, err := d.ReadValue()
		if err != nil {
			return nil, errInput
		}
		if exact {
			value = slices.Clone(member)
		}
	}
	if _, err := d.ReadToken(); err != nil {
		return nil, errInput
	}
	if _, err := d.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, errInput
	}
	return value, nil
}

// AskScanner looks through a JSON text that comes in pieces for a result that asks something of the client. Its memory does
// not grow with the text. The zero AskScanner is not ready: see [NewAskScanner].
type AskScanner struct{ scan messageScanner }

// NewAskScanner returns one for one text.
func NewAskScanner() *AskScanner {
	return &AskScanner{messageScanner{list: listScan{wanted: true}}}
}

// Bad reports whether the text is no JSON-RPC message, or one that readers take for different ones.
func (s *AskScanner) Bad() bool { return s.scan.bad }

// Write reads the next piece, and reports whether the text asks something so far.
func (s *AskScanner) Write(p []byte) (asks bool) {
	s.scan.write(p)
	return s.scan.list.asks
}
