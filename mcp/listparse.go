package mcp

import (
	"bytes"
	"errors"
	"io"

	"github.com/go-json-experiment/json/jsontext"
)

// resultNames are the names that are read in the result of a list, and nextCursor, which a client reads.
var resultNames = []string{"tools", "prompts", "resources", "resourceTemplates", "nextCursor", "cacheScope", "ttlMs"}

// answerMessage is what was read of one message of an answer.
type answerMessage struct {
	version, id             scalar
	method, result, failure jsontext.Kind // zero: absent

	lists [len(lists)]listArray // members of the result
	next  scalar                // its nextCursor
	scope Span                  // the value of its cacheScope
	ttl   int                   // where the name of its ttlMs begins; 0: absent
	alike bool                  // it has a name that is almost one of those that are read
}

// shapes are the lists that the result holds, whatever was asked for.
func (a *answerMessage) shapes() (held []int) {
	for list := range lists {
		if a.lists[list].kind == '[' {
			held = append(held, list)
		}
	}
	return held
}

// listArray is what was read of a list.
type listArray struct {
	kind     jsontext.Kind // of the member; zero: absent
	elements []listElement
	problem  string // with an element, which matters only if the list was asked for
}

// listElement is where an element and the value of its name stand.
type listElement struct {
	Span
	name Span
}

// answers reads a whole answer: one message, or an array of messages.
func (p *parser) answers(text []byte) ([]answerMessage, error) {
	p.use(text)
	kind, _, err := p.next()
	if err != nil {
		return nil, err
	}
	all := make([]answerMessage, 1)
	switch kind {
	case '{':
		err = p.answer(&all[0])
	case '[':
		all, err = p.answerBatch()
	default:
		err = InvalidRequest("it is not a JSON-RPC message object")
	}
	if err != nil {
		return nil, err
	}
	if _, err := p.dec.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, ParseError("something follows the first JSON value")
	}
	return all, nil
}

// answerBatch reads the messages of an array whose '[' has been read.
func (p *parser) answerBatch() (all []answerMessage, err error) {
	for {
		kind, _, err := p.next()
		switch {
		case err != nil:
			return nil, err
		case kind == ']' && len(all) == 0:
			return nil, InvalidRequest("the batch is empty")
		case kind == ']':
			return all, nil
		case kind != '{':
			return nil, InvalidRequest("an element of the batch is not a JSON-RPC message object")
		case len(all) == maxBatch:
			return nil, InvalidRequest("the batch has more than 1000 messages")
		}
		all = append(all, answerMessage{})
		if err := p.answer(&all[len(all)-1]); err != nil {
			return nil, err
		}
	}
}

// answer reads one message whose '{' has been read.
func (p *parser) answer(a *answerMessage) error {
	for {
		name, err := p.name()
		if err != nil || name == nil {
			return err
		}
		switch string(name) {
		case `"jsonrpc"`:
			a.version.kind, a.version.raw, err = p.skim()
		case `"id"`:
			a.id.kind, a.id.raw, err = p.skim()
		case `"method"`:
			a.method, _, err = p.skim()
		case `"params"`:
			_, _, err = p.skim()
		case `"result"`:
			err = p.listResult(a)
		case `"error"`:
			a.failure, _, err = p.skim()
		default:
			err = p.other(name, envelopeNames)
		}
		if err != nil {
			return err
		}
	}
}

// listResult reads the value of the member result.
func (p *parser) listResult(a *answerMessage) error {
	kind, _, err := p.next()
	if err != nil {
		return err
	}
	if a.result = kind; kind != '{' {
		return p.rest(kind)
	}
	for {
		name, err := p.name()
		if err != nil || name == nil {
			return err
		}
		switch string(name) {
		case `"tools"`:
			err = p.list(a, 0)
		case `"prompts"`:
			err = p.list(a, 1)
		case `"resources"`:
			err = p.list(a, 2)
		case `"resourceTemplates"`:
			err = p.list(a, 3)
		case `"cacheScope"`:
			a.scope, err = p.span()
		case `"ttlMs"`:
			a.ttl = p.at() - len(name)
			_, _, err = p.skim()
		case `"nextCursor"`:
			a.next.kind, a.next.raw, err = p.skim()
		default:
			a.alike = a.alike || lookalike(name, resultNames)
			_, _, err = p.skim()
		}
		if err != nil {
			return err
		}
	}
}

// list reads the value of a member that holds a list.
func (p *parser) list(a *answerMessage, which int) error {
	array := &a.lists[which]
	kind, _, err := p.next()
	if err != nil {
		return err
	}
	if array.kind = kind; kind != '[' {
		return p.rest(kind)
	}
	key := []string{lists[which].name}
	for {
		kind, raw, err := p.next()
		if err != nil || kind == ']' {
			return err
		}
		from := p.at() - len(raw)
		if kind != '{' {
			array.problem = "an element is no object"
			if err := p.rest(kind); err != nil {
				return err
			}
			continue
		}
		e, problem, err := p.element(key)
		switch {
		case err != nil:
			return err
		case problem != "":
			array.problem = problem
		case len(array.elements) == maxElements:
			array.problem = "it has more than 65536 elements"
		default:
			e.Span = Span{from, p.at()}
			array.elements = append(array.elements, e)
		}
	}
}

// element reads an element whose '{' has been read, and says what is wrong with it if it is in a list that was asked for.
func (p *parser) element(key []string) (e listElement, problem string, err error) {
	for {
		name, err := p.name()
		if err != nil {
			return e, "", err
		}
		switch {
		case name == nil && problem == "" && e.name.IsZero():
			return e, "an element has no name", nil
		case name == nil:
			return e, problem, nil
		case string(name[1:len(name)-1]) == key[0]:
			if e.name, err = p.span(); err == nil && p.body[e.name.From] != '"' {
				problem = "the name of an element is not a string"
			}
		default:
			if lookalike(name, key) {
				problem = "the name of an element's member differs from one of the protocol only in case or in escapes"
			}
			_, _, err = p.skim()
		}
		if err != nil {
			return e, "", err
		}
	}
}

// at is how many bytes of the text have been read.
func (p *parser) at() int { return int(p.dec.InputOffset()) }

// span reads one whole value and returns where it stands.
func (p *parser) span() (Span, error) {
	_, raw, err := p.skim()
	return Span{p.at() - len(raw), p.at()}, err
}

// skim is value for texts of many brackets, and returns the whole raw value. It leaves a value to jsontext and looks at its
// tokens only if there is reason to: what lies in it could be too deep, or a name could have a NUL.
func (p *parser) skim() (jsontext.Kind, []byte, error) {
	raw, err := p.dec.ReadValue()
	if err != nil {
		return 0, nil, syntaxError(err, false)
	}
	if p.shallow || bytes.Count(raw, []byte{'{'})+bytes.Count(raw, []byte{'['}) <= maxDepth-p.depth && !bytes.Contains(raw, []byte(`\u0000`)) {
		return jsontext.Kind(raw[0]), raw, nil
	}
	var inner parser
	inner.use(raw)
	inner.shallow, inner.depth = false, p.depth
	if _, _, err := inner.value(); err != nil {
		return 0, nil, err
	}
	return jsontext.Kind(raw[0]), raw, nil
}
