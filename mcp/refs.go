package mcp

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// metaSubscription is the name in _meta by which messages of a subscription name the request that opened it
// (MCP 2026-07-28, subscriptions/listen).
const metaSubscription = "io.modelcontextprotocol/subscriptionId"

// Span is where a scalar stands in a message, in bytes. The zero Span means that there is none.
type Span struct{ From, To int }

// IsZero reports that there is nothing.
func (s Span) IsZero() bool { return s.To == 0 }

// Of returns the span's bytes in the message that it was read from.
func (s Span) Of(msg []byte) []byte { return msg[s.From:s.To] }

// Refs are the places in one JSON-RPC message at which requests are named: what has to be rewritten where several peers
// share one channel.
type Refs struct {
	// Kind is the message's form.
	Kind Kind
	// Method is the decoded method, or "" for a response.
	Method string
	// Failed says that a response is an error; Code is its code.
	Failed bool
	Code   int
	// ID is the member id.
	ID Span
	// MetaToken is params._meta.progressToken, by which a request asks for progress.
	MetaToken Span
	// Token is params.progressToken, by which notifications/progress says whose progress it is.
	Token Span
	// RequestID is params.requestId, by which notifications/cancelled says what is cancelled.
	RequestID Span
	// Subscription is the subscription id in params._meta or result._meta.
	Subscription Span

	params, meta open // of the message's params
	// The values of what is called traceparent and tracestate in params._meta, whatever they are.
	traceParent, traceState []Span
}

// open is where the members of an object begin, right behind its brace.
type open struct {
	at    int // 0: there is no such object
	empty bool
}

// closed reports that something else stands where the object would.
func (o open) closed() bool { return o.at == 0 && o.empty }

// TraceEdits are the edits that make a request part of a trace, by params._meta, in place of what it says of one itself
// (SEP-414). There are none for a message that has no place for that.
func (r *Refs) TraceEdits(parent, state string) (edits []Edit) {
	if r.Kind != Request || r.params.closed() || r.meta.closed() {
		return nil
	}
	var added []byte
	for _, field := range []struct {
		name, value string
		at          []Span
	}{{"traceparent", parent, r.traceParent}, {"tracestate", state, r.traceState}} {
		value, err := jsontext.AppendQuote(nil, field.value)
		switch {
		case err != nil:
			return nil
		case len(field.at) > 0:
			for _, span := range field.at {
				edits = append(edits, Edit{Span: span, With: value})
			}
		case field.value != "":
			if len(added) > 0 {
				added = append(added, ',')
			}
			added = append(append(append(added, '"'), field.name+`":`...), value...)
		}
	}
	if len(added) == 0 {
		return edits
	}
	put := func(at int, before string, after string) {
		edits = append(edits, Edit{Span: Span{at, at}, With: []byte(before + string(added) + after)})
	}
	comma := func(o open) string {
		if o.empty {
			return ""
		}
		return ","
	}
	switch {
	case r.meta.at > 0:
		put(r.meta.at, "", comma(r.meta))
	case r.params.at > 0:
		put(r.params.at, `"_meta":{`, "}"+comma(r.params))
	default:
		put(r.ID.To, `,"params":{"_meta":{`, "}}")
	}
	return edits
}

// errNoMessage is a text that is not one JSON-RPC message. It quotes nothing.
var errNoMessage = errors.New("mcp: not one JSON-RPC message")

// ReadRefs reads one message that a local server wrote, or that [Parse] has accepted. It is strict about the members that
// it reads: one that is there twice, or spelled almost like an envelope's, is an error. What lies deeper only has to be
// JSON, because servers in use repeat names there.
func ReadRefs(msg []byte) (Refs, error) {
	r := refReader{msg: msg}
	r.buf = *bytes.NewBuffer(msg)
	r.dec.Reset(&r.buf, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	if err := r.message(); err != nil {
		return Refs{}, errNoMessage
	}
	return r.refs, nil
}

// Elements returns the messages of a batch, or the one message itself.
func Elements(text []byte) ([][]byte, error) {
	text = bytes.TrimLeft(text, " \t\r\n")
	if len(text) == 0 || text[0] != '[' {
		return [][]byte{text}, nil
	}
	dec := jsontext.NewDecoder(bytes.NewBuffer(text), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	if _, err := dec.ReadToken(); err != nil {
		return nil, errNoMessage
	}
	var all [][]byte
	for dec.PeekKind() != ']' {
		value, err := dec.ReadValue()
		if err != nil || len(all) == maxBatch {
			return nil, errNoMessage
		}
		all = append(all, bytes.Clone(value))
	}
	return all, nil
}

// refReader walks the tokens of a message.
type refReader struct {
	msg  []byte
	dec  jsontext.Decoder
	buf  bytes.Buffer
	refs Refs

	hasID, hasMethod, hasParams, hasMeta, hasResult, hasError, hasVersion bool
}

func (r *refReader) message() error {
	if err := r.members(r.envelope); err != nil {
		return err
	}
	if len(bytes.TrimLeft(r.msg[r.dec.InputOffset():], " \t\r\n")) > 0 {
		return errNoMessage
	}
	answers := r.hasResult || r.hasError
	switch {
	case !r.hasVersion, r.hasMethod && answers, r.hasResult && r.hasError, answers && !r.hasID:
		return errNoMessage
	case r.hasMethod && r.hasID:
		if kind := r.refs.ID.Of(r.msg)[0]; kind == 'n' || kind == 't' || kind == 'f' { // null, true and false name nothing
			return errNoMessage
		}
		r.refs.Kind = Request
	case r.hasMethod:
		r.refs.Kind = Notification
	case answers:
		r.refs.Kind, r.refs.Failed = Response, r.hasError
	default:
		return errNoMessage
	}
	return nil
}

// members reads an object and calls each for every name, which reads the value.
func (r *refReader) members(each func(name string, raw []byte) error) error {
	return r.membersFrom(func() {}, each)
}

// membersFrom is members, and calls begun behind the brace.
func (r *refReader) membersFrom(begun func(), each func(name string, raw []byte) error) error {
	if token, err := r.dec.ReadToken(); err != nil || token.Kind() != '{' {
		return errNoMessage
	}
	begun()
	for r.dec.PeekKind() == '"' {
		raw, err := r.dec.ReadValue()
		if err != nil {
			return err
		}
		if err := each(unquote(raw), raw); err != nil {
			return err
		}
	}
	_, err := r.dec.ReadToken() // the '}', or what is wrong
	return err
}

func (r *refReader) envelope(name string, raw []byte) error {
	switch name {
	case "jsonrpc":
		value, err := r.dec.ReadValue()
		if err != nil || r.hasVersion || string(value) != `"2.0"` {
			return errNoMessage
		}
		r.hasVersion = true
		return nil
	case "id":
		if r.hasID {
			return errNoMessage
		}
		r.hasID = true
		return r.scalar(&r.refs.ID)
	case "method":
		value, err := r.dec.ReadValue()
		if err != nil || r.hasMethod || value.Kind() != '"' || len(value) > maxMethod {
			return errNoMessage
		}
		r.hasMethod, r.refs.Method = true, methodName(value)
		return nil
	case "params":
		if r.hasParams {
			return errNoMessage
		}
		r.hasParams = true
		r.refs.params.empty = true // unless it is an object with members
		return r.opened(&r.refs.params, r.params)
	case "result":
		if r.hasResult {
			return errNoMessage
		}
		r.hasResult = true
		return r.object(r.result)
	case "error":
		if r.hasError {
			return errNoMessage
		}
		r.hasError = true
		return r.object(r.failure)
	}
	if lookalike(raw, envelopeNames) {
		return errNoMessage
	}
	return r.dec.SkipValue()
}

func (r *refReader) params(name string, _ []byte) error {
	switch name {
	case "progressToken":
		return r.scalar(&r.refs.Token)
	case "requestId":
		return r.scalar(&r.refs.RequestID)
	case "_meta":
		r.refs.meta.empty = true // likewise
		return r.metaOnce(&r.refs.meta)
	}
	return r.dec.SkipValue()
}

func (r *refReader) metaOnce(into *open) error {
	if r.hasMeta {
		return errNoMessage
	}
	r.hasMeta = true
	return r.opened(into, r.meta)
}

// opened is object, and notes where the members begin.
func (r *refReader) opened(into *open, each func(name string, raw []byte) error) error {
	if r.dec.PeekKind() != '{' {
		return r.dec.SkipValue()
	}
	*into = open{empty: true}
	return r.membersFrom(func() { into.at = int(r.dec.InputOffset()) }, func(name string, raw []byte) error {
		into.empty = false
		return each(name, raw)
	})
}

func (r *refReader) result(name string, _ []byte) error {
	if name == "_meta" {
		var answers open
		return r.metaOnce(&answers)
	}
	return r.dec.SkipValue()
}

func (r *refReader) meta(name string, _ []byte) error {
	switch name {
	case "progressToken":
		return r.scalar(&r.refs.MetaToken)
	case metaSubscription:
		return r.scalar(&r.refs.Subscription)
	case "traceparent":
		return r.whole(&r.refs.traceParent)
	case "tracestate":
		return r.whole(&r.refs.traceState)
	}
	return r.dec.SkipValue()
}

// whole notes where a value of whatever kind stands.
func (r *refReader) whole(into *[]Span) error {
	value, err := r.dec.ReadValue()
	if err != nil {
		return err
	}
	to := int(r.dec.InputOffset())
	*into = append(*into, Span{to - len(value), to})
	return nil
}

func (r *refReader) failure(name string, _ []byte) error {
	if name != "code" {
		return r.dec.SkipValue()
	}
	value, err := r.dec.ReadValue()
	if err == nil {
		r.refs.Code, _ = strconv.Atoi(string(value)) // what is no code is none of those that matter
	}
	return err
}

// object reads a value that may be an object; any other is passed over.
func (r *refReader) object(each func(name string, raw []byte) error) error {
	if r.dec.PeekKind() != '{' {
		return r.dec.SkipValue()
	}
	return r.members(each)
}

// scalar notes where a string or a number stands.
func (r *refReader) scalar(into *Span) error {
	value, err := r.dec.ReadValue()
	if err != nil || !into.IsZero() || len(value) > maxID {
		return errNoMessage
	}
	if kind := value.Kind(); kind == '{' || kind == '[' {
		return errNoMessage
	}
	to := int(r.dec.InputOffset())
	*into = Span{to - len(value), to}
	return nil
}

// Edit puts other bytes in the place of a span.
type Edit struct {
	Span
	With []byte
}

// Splice returns a copy of a message with the edits made, which must not overlap. All else stays byte for byte. The copy has
// room for one byte more, such as a line's end.
func Splice(msg []byte, edits ...Edit) []byte {
	slices.SortFunc(edits, func(a, b Edit) int { return a.From - b.From })
	size := len(msg) + 1
	for _, e := range edits {
		size += len(e.With) - (e.To - e.From)
	}
	out, at := make([]byte, 0, size), 0
	for _, e := range edits {
		out = append(out, msg[at:e.From]...)
		out = append(out, e.With...)
		at = e.To
	}
	return append(out, msg[at:]...)
}

// SameID reports whether two raw ids are one as clients compare them.
func SameID(a, b []byte) bool { return sameID(a, b) }

// String describes the span for a failed test.
func (s Span) String() string { return fmt.Sprintf("%d-%d", s.From, s.To) }
