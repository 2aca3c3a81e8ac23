package mcp

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"sync"

	"github.com/go-json-experiment/json/jsontext"
)

// Bounds of what Parse accepts beyond what JSON itself says.
const (
	maxDepth  = 64       // nesting of objects and arrays; deeper than any real call, shallow enough for every recursive parser behind us
	maxID     = 256      // bytes of an id's raw token; ids are echoed into answers and kept in tables
	maxMethod = 256      // bytes of a method; methods are logged
	maxBatch  = 1000     // messages in one batch
	maxPooled = 64 << 10 // bytes of a body whose parser is used again
)

// Parse reads the JSON-RPC messages of one POST body in a single strict token pass. batch reports that the body was
// an array. A refusal is always a *Error, one of ParseError, InvalidRequest and UnknownMethod.
//
// Strict means that every parser behind the gateway must read the same call as this one: valid UTF-8 without byte
// order mark, one value and nothing after it, no name twice in an object at any depth, nothing nested deeper than
// 64, no NUL in a name, and none of the names that are read here spelled in another case or with escapes.
// The body is neither copied nor changed; the ids, params and arguments returned share its memory.
func Parse(body []byte) (msgs []Message, batch bool, err error) {
	return new(parser).parse(body)
}

// parser walks the tokens of a body. jsontext rejects bad syntax, bad UTF-8 and repeated names; all else is here.
type parser struct {
	dec   jsontext.Decoder
	buf   bytes.Buffer // what dec reads; it lends out the body itself, without a copy
	body  []byte
	depth int
	// shallow says that the body has too few brackets to be nested too deeply and no escaped NUL. Then a value that is
	// not read needs no walk of ours: jsontext checks all else in it, in half the time.
	shallow bool
}

// parsers keeps parsers with the tables of names they have grown, which is most of what a pass would allocate. It is
// ready to use.
type parsers struct{ pool sync.Pool }

// parse is Parse.
func (ps *parsers) parse(body []byte) (msgs []Message, batch bool, err error) {
	p, ok := ps.pool.Get().(*parser)
	if !ok {
		p = new(parser)
	}
	defer func() {
		if len(body) <= maxPooled { // else it may have grown large tables
			p.use(nil)
			ps.pool.Put(p)
		}
	}()
	return p.parse(body)
}

// parse is Parse. A parser may be used again, whatever state it ended in.
func (p *parser) parse(body []byte) (msgs []Message, batch bool, err error) {
	p.use(body)
	if msgs, batch, err = p.document(); err != nil {
		return nil, batch, err
	}
	for i := range msgs {
		if msgs[i].Kind != Response && !wellFormed(msgs[i].Method) {
			refused := UnknownMethod()
			refused.Batch = batch
			for _, id := range requestIDs(msgs) {
				refused.IDs = append(refused.IDs, bytes.Clone(id)) // or they would keep the body
			}
			return nil, batch, refused
		}
	}
	return msgs, batch, nil
}

// use prepares p for a body. A decoder that is reset keeps nothing of the body before.
func (p *parser) use(body []byte) {
	p.body, p.depth = body, 0
	p.shallow = bytes.Count(body, []byte{'{'})+bytes.Count(body, []byte{'['}) <= maxDepth && !bytes.Contains(body, []byte(`\u0000`))
	p.buf = *bytes.NewBuffer(body)
	p.dec.Reset(&p.buf)
}

// document reads the whole body: one message, or a non-empty array of messages.
func (p *parser) document() (msgs []Message, batch bool, err error) {
	kind, _, err := p.next()
	if err != nil {
		return nil, false, err
	}
	switch kind {
	case '{':
		msgs = make([]Message, 1)
		if err := p.message(&msgs[0]); err != nil {
			return nil, false, err
		}
	case '[':
		batch = true
		if msgs, err = p.batch(); err != nil {
			return nil, true, err
		}
	default:
		return nil, false, InvalidRequest("the body is not a JSON-RPC message object")
	}
	if _, err := p.dec.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, batch, ParseError("something follows the first JSON value")
	}
	return msgs, batch, nil
}

// batch reads the messages of an array whose '[' has been read.
func (p *parser) batch() ([]Message, error) {
	var msgs []Message
	for {
		kind, _, err := p.next()
		if err != nil {
			return nil, err
		}
		switch {
		case kind == ']' && len(msgs) == 0:
			return nil, InvalidRequest("the batch is empty")
		case kind == ']':
			return msgs, nil
		case kind != '{':
			return nil, InvalidRequest("an element of the batch is not a JSON-RPC message object")
		case len(msgs) == maxBatch:
			return nil, InvalidRequest("the batch has more than 1000 messages")
		}
		msgs = append(msgs, Message{})
		if err := p.message(&msgs[len(msgs)-1]); err != nil {
			return nil, err
		}
	}
}

// next returns the kind and the raw bytes of the next token, and keeps count of the depth.
func (p *parser) next() (jsontext.Kind, []byte, error) {
	start := p.dec.InputOffset()
	if _, err := p.dec.ReadToken(); err != nil {
		return 0, nil, syntaxError(err, len(p.body) == 0)
	}
	// Between two tokens there is only white space and at most one delimiter.
	raw := p.body[start:p.dec.InputOffset()]
	for raw[0] == ' ' || raw[0] == ',' || raw[0] == ':' || raw[0] == '\n' || raw[0] == '\r' || raw[0] == '\t' {
		raw = raw[1:]
	}
	kind := jsontext.Kind(raw[0])
	switch kind {
	case '{', '[':
		if p.depth++; p.depth > maxDepth {
			return 0, nil, ParseError("it is nested deeper than 64 levels")
		}
	case '}', ']':
		p.depth--
	}
	return kind, raw, nil
}

// name reads the next name of the object that is open, or nil at its end.
func (p *parser) name() ([]byte, error) {
	kind, raw, err := p.next()
	if err != nil || kind == '}' {
		return nil, err
	}
	if bytes.IndexByte(raw, '\\') >= 0 && strings.IndexByte(unquote(raw), 0) >= 0 {
		return nil, InvalidRequest("the name of a member contains a NUL character")
	}
	return raw, nil
}

// value reads one whole value and returns the kind of its first token and, for a scalar, its raw bytes.
func (p *parser) value() (jsontext.Kind, []byte, error) {
	if p.shallow {
		raw, err := p.dec.ReadValue()
		if err != nil {
			return 0, nil, syntaxError(err, false)
		}
		return jsontext.Kind(raw[0]), raw, nil
	}
	kind, raw, err := p.next()
	if err != nil {
		return 0, nil, err
	}
	return kind, raw, p.rest(kind)
}

// whole reads one whole value and returns all of its raw bytes.
func (p *parser) whole() ([]byte, error) {
	if p.shallow {
		_, raw, err := p.value()
		return raw, err
	}
	kind, first, err := p.next()
	if err != nil {
		return nil, err
	}
	from := p.dec.InputOffset() - int64(len(first))
	err = p.rest(kind)
	return p.body[from:p.dec.InputOffset()], err
}

// rest reads what remains of a value whose first token was of the given kind. Its recursion is bounded by maxDepth.
func (p *parser) rest(kind jsontext.Kind) error {
	switch kind {
	case '{':
		for {
			name, err := p.name()
			if err != nil || name == nil {
				return err
			}
			if _, _, err := p.value(); err != nil {
				return err
			}
		}
	case '[':
		for {
			kind, _, err := p.next()
			if err != nil || kind == ']' {
				return err
			}
			if err := p.rest(kind); err != nil {
				return err
			}
		}
	}
	return nil
}

// syntaxError turns an error of jsontext, whose text quotes the body, into one that does not.
func syntaxError(err error, empty bool) *Error {
	switch {
	case empty:
		return ParseError("it is empty")
	case errors.Is(err, jsontext.ErrDuplicateName):
		return ParseError("an object in it has the same name twice")
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return ParseError("it ends before its JSON value does")
	}
	return ParseError("it is not strict JSON in UTF-8")
}

// unquote decodes a raw string token that jsontext has accepted.
func unquote(raw []byte) string {
	if bytes.IndexByte(raw, '\\') < 0 {
		return string(raw[1 : len(raw)-1])
	}
	text, err := jsontext.AppendUnquote(nil, raw)
	if err != nil { // cannot happen: the decoder has validated the token
		return "\x00"
	}
	return string(text)
}
