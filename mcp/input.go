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

// urlElicitation is what an entry of an error's elicitations asks for.
const urlElicitation = "elicitation/create"

// InputRequests reads what a response asks of the client: the members of result.inputRequests (MCP 2026-07-28,
// InputRequiredResult), or the entries of error.data.elicitations (MCP 2025-11-25, URLElicitationRequiredError), each of which
// are the params of an elicitation/create. Each has a method and params. What tolerant readers could read in another way is an
// error, which quotes nothing.
func InputRequests(message []byte) ([]Message, error) {
	result, err := memberOf(message, "result")
	switch {
	case err != nil:
		return nil, err
	case result == nil:
		return elicitations(message)
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

// elicitations reads the URLs that an error has the client visit. The code of the error does not matter: who knows it reads them,
// and who does not know it may read them too.
func elicitations(message []byte) ([]Message, error) {
	failure, err := memberOf(message, "error")
	if err != nil || failure == nil || failure[0] != '{' {
		return nil, err
	}
	data, err := memberOf(failure, "data")
	if err != nil || data == nil || data[0] != '{' {
		return nil, err
	}
	asked, err := memberOf(data, "elicitations")
	if err != nil || asked == nil {
		return nil, err
	}
	value, err := Value(asked)
	entries, ok := value.([]any)
	if err != nil || !ok || len(entries) > maxInputRequests {
		return nil, errInput
	}
	raw, err := Elements(asked)
	if err != nil || len(raw) != len(entries) {
		return nil, errInput
	}
	var requests []Message
	for i, entry := range entries {
		if _, ok := entry.(map[string]any); !ok {
			return nil, errInput
		}
		requests = append(requests, Message{Kind: Request, Method: urlElicitation, Params: raw[i]})
	}
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
