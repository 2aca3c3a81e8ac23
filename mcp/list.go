package mcp

import (
	"bytes"
	"errors"
	"fmt"
)

// MaxList is how long an answer with a list may be to be filtered, in bytes of its JSON text.
const MaxList = 4 << 20

// maxElements is how many elements a list may have to be filtered. Real pages have some hundred.
const maxElements = 1 << 16

// lists are the methods that list something: the member of the result that holds the elements, and the member of an
// element that names it (MCP 2026-07-28, schema.ts: ListToolsResult and its like; the same in all revisions).
var lists = [...]struct{ method, member, name string }{
	{"tools/list", "tools", "name"},
	{"prompts/list", "prompts", "name"},
	{"resources/list", "resources", "uri"},
	{"resources/templates/list", "resourceTemplates", "uriTemplate"},
}

// noList stands for a method that lists nothing, in place of an index of lists.
const noList = -1

// errList is an answer from which nothing can be taken out for sure, so that it must not pass. It quotes nothing.
var errList = errors.New("mcp: the list cannot be filtered")

// Element is one element of a list.
type Element struct {
	// Name is what calls name it by, decoded: name of a tool or a prompt, uri of a resource, uriTemplate of a template.
	Name string
	// Raw is the whole element exactly as it was sent. It shares memory with the answer.
	Raw []byte
}

// ListPage is a whole result with a list.
type ListPage struct {
	// Method is that of the request, such as tools/list.
	Method string
	// Elements are all that the server sent, in their order.
	Elements []Element
	// Cursor is that of the request, "" for the first page. Known is false where the request is not known.
	Cursor string
	Known  bool
	// Next is the result's nextCursor, "" at the end of the list.
	Next string
}

// ListRules say what becomes of lists.
type ListRules struct {
	// Keep reports whether an element stays. Nil: all do.
	Keep func(method string, e Element) bool
	// Page sees each page before Keep sees its elements, and says which of them stay; nil for all. Nil: nobody looks.
	Page func(p ListPage) []bool
	// Answer sees each whole response, of lists and of all else, before anything of it passes. Its error stops it. Nil: nobody
	// looks.
	Answer func(message []byte) error
	// Tolerant lets pass what cannot be read for sure, or is too long. Only for those who look and take nothing out.
	Tolerant bool
}

// ListFilter takes out of the answers to one call what its caller may not use: the elements of tools/list, prompts/list,
// resources/list and resources/templates/list that keep refuses. It is presentation: whoever knows a name may still ask, and
// is judged then. An answer that tolerant readers could read in another way than this one is an error, never a guess: the text
// has to be as strict as [Parse] wants a request. It is not safe for concurrent use.
//
// What is taken out is the element's bytes and one comma. All other bytes stay, nextCursor among them, so that a page may
// become empty and still have a next one. Only cacheScope changes, to "private", since the list now depends on who asks (MCP
// 2026-07-28, "Caching"). Revisions before that have none, so it is not added, but for one case: beside ttlMs. That revision
// requires both; where a server leaves cacheScope out, readers in use take that for "public". Without ttlMs nothing is kept.
type ListFilter struct {
	rules   ListRules
	asked   []asked
	shape   bool // there are no requests to go by
	dropped int
}

// asked is a request of the call.
type asked struct {
	id     []byte // raw
	list   int    // index of lists, or noList
	cursor string
}

// NewListFilter makes the filter for the answers to c, or nil, which passes all, if there is nothing to filter: nobody
// looks, or c asks for no list. It keeps nothing of the call's body.
//
// A call without messages opens a stream on which answers to the requests of other calls may come: HTTP+SSE's, or one that is
// resumed. Their ids are not known here, so they are judged by shape: whatever result has the member of a list, as an array,
// is that list.
func NewListFilter(c *Call, rules ListRules) *ListFilter {
	if rules.Keep == nil && rules.Page == nil && rules.Answer == nil {
		return nil
	}
	f := &ListFilter{rules: rules, shape: len(c.Messages) == 0}
	lists := f.shape
	for i := range c.Messages {
		if m := &c.Messages[i]; m.Kind == Request {
			a := asked{id: bytes.Clone(m.ID), list: listOf(m.Method)}
			if a.list != noList {
				a.cursor = cursorOf(m.Params)
			}
			f.asked = append(f.asked, a)
			lists = lists || a.list != noList || rules.Answer != nil
		}
	}
	if !lists {
		return nil
	}
	return f
}

// cursorOf is the cursor in the params of a request for a list, or "".
func cursorOf(params []byte) string {
	if params == nil {
		return ""
	}
	value, err := Value(params)
	if err != nil {
		return ""
	}
	members, _ := value.(map[string]any)
	cursor, _ := members["cursor"].(string)
	return cursor
}

// listOf is the index of a method in lists, or noList.
func listOf(method string) int {
	for i := range lists {
		if lists[i].method == method {
			return i
		}
	}
	return noList
}

// Checks reports whether somebody looks at every response.
func (f *ListFilter) Checks() bool { return f.rules.Answer != nil }

// Tolerant reports whether what cannot be read passes as it is.
func (f *ListFilter) Tolerant() bool { return f.rules.Tolerant }

// Dropped is how many elements have been taken out so far.
func (f *ListFilter) Dropped() int {
	if f == nil {
		return 0
	}
	return f.dropped
}

// Filter returns a whole answer, a message or a batch of them, without the elements that are refused. It is text itself where
// nothing changes. Answers that are errors, and those to other requests of the call, pass unchanged. With an error nothing of
// the answer may pass.
func (f *ListFilter) Filter(text []byte) ([]byte, error) {
	edits, dropped, err := f.edits(text)
	if err != nil && f.rules.Tolerant {
		return text, nil
	}
	if err != nil {
		return nil, err
	}
	f.dropped += dropped
	if len(edits) == 0 {
		return text, nil
	}
	return Splice(text, edits...), nil
}

// edits finds what has to change in an answer. It asks keep only once all of the answer has been read.
func (f *ListFilter) edits(text []byte) (edits []Edit, dropped int, err error) {
	if len(text) > MaxList {
		return nil, 0, fmt.Errorf("%w: it is longer than 4 MiB", errList)
	}
	answers, err := new(parser).answers(text)
	if err != nil {
		return nil, 0, unlisted(err)
	}
	if err := f.show(text, answers); err != nil {
		return nil, 0, err
	}
	for i := range answers {
		more, n, err := f.judge(text, &answers[i])
		if err != nil {
			return nil, 0, err
		}
		edits, dropped = append(edits, more...), dropped+n
	}
	return edits, dropped, nil
}

// show shows the responses to whoever looks at all of them.
func (f *ListFilter) show(text []byte, answers []answerMessage) error {
	if f.rules.Answer == nil {
		return nil
	}
	messages, err := Elements(text)
	if err != nil || len(messages) != len(answers) {
		return errList
	}
	for i := range answers {
		if answers[i].method == 0 {
			if err := f.rules.Answer(messages[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// unlisted turns an error of the parser, which speaks of a request, into one of a list.
func unlisted(err error) error {
	if refused := asError(err); refused.problem != "" {
		return fmt.Errorf("%w: %s", errList, refused.problem)
	}
	return errList
}

// judge finds what has to change in one message of an answer.
func (f *ListFilter) judge(text []byte, a *answerMessage) ([]Edit, int, error) {
	answers := a.result != 0 || a.failure != 0
	switch {
	case a.method != 0 && !answers:
		return nil, 0, nil // a request or a notification
	case a.method != 0, !answers, a.result != 0 && a.failure != 0:
		return nil, 0, fmt.Errorf("%w: a message of the answer is no response", errList)
	case string(a.version.raw) != `"2.0"`:
		return nil, 0, fmt.Errorf(`%w: the member jsonrpc is not "2.0"`, errList)
	case a.failure != 0:
		return nil, 0, nil
	case a.id.kind != '"' && a.id.kind != '-' && (a.id.kind < '0' || a.id.kind > '9'):
		return nil, 0, fmt.Errorf("%w: the id is neither a string nor a number", errList)
	}
	if f.shape {
		return f.change(text, a, a.shapes(), nil)
	}
	list, request, err := f.answered(a.id.raw)
	if err != nil || list == noList {
		return nil, 0, err
	}
	if a.lists[list].kind != '[' {
		return nil, 0, fmt.Errorf("%w: the result has no list", errList)
	}
	return f.change(text, a, []int{list}, request)
}

// answered is the list that the request with a raw id has asked for. Two requests of a batch with one id, of which only one
// asks for a list, cannot be told apart.
func (f *ListFilter) answered(id []byte) (list int, request *asked, err error) {
	list, found := noList, false
	for i := range f.asked {
		switch a := &f.asked[i]; {
		case !sameID(a.id, id):
		case found && a.list != list:
			return noList, nil, fmt.Errorf("%w: two requests have one id", errList)
		default:
			list, request, found = a.list, a, true
		}
	}
	if !found {
		return noList, nil, fmt.Errorf("%w: no request of the call has the id", errList)
	}
	return list, request, nil
}

// change finds what has to change in a result that holds these lists. request is nil where it is not known.
func (f *ListFilter) change(text []byte, a *answerMessage, held []int, request *asked) (edits []Edit, dropped int, err error) {
	if a.alike {
		return nil, 0, fmt.Errorf("%w: the name of a member differs from a name of the protocol only in case or in escapes", errList)
	}
	for _, list := range held {
		array := &a.lists[list]
		if array.problem != "" {
			return nil, 0, fmt.Errorf("%w: %s", errList, array.problem)
		}
		page := pageOf(text, a, list, request)
		var stay []bool
		if f.rules.Page != nil {
			stay = f.rules.Page(page)
		}
		refused := make([]bool, len(array.elements))
		last := -1 // the last one that stays
		for i, e := range page.Elements {
			if (stay == nil || stay[i]) && (f.rules.Keep == nil || f.rules.Keep(page.Method, e)) {
				last = i
				continue
			}
			refused[i] = true
			dropped++
		}
		edits = cut(edits, text, array.elements, refused, last)
	}
	switch {
	case len(held) == 0, f.rules.Keep == nil: // which does not depend on who asks
	case !a.scope.IsZero() && string(a.scope.Of(text)) != private:
		edits = append(edits, Edit{a.scope, []byte(private)})
	case a.scope.IsZero() && a.ttl > 0:
		edits = append(edits, Edit{Span{a.ttl, a.ttl}, []byte(`"cacheScope":` + private + `,`)})
	}
	return edits, dropped, nil
}

// pageOf is what was read of a list.
func pageOf(text []byte, a *answerMessage, list int, request *asked) ListPage {
	page := ListPage{Method: lists[list].method, Elements: make([]Element, 0, len(a.lists[list].elements))}
	for _, e := range a.lists[list].elements {
		raw := e.Of(text)
		page.Elements = append(page.Elements, Element{Name: unquote(e.name.Of(text)), Raw: raw[:len(raw):len(raw)]})
	}
	if request != nil {
		page.Cursor, page.Known = request.cursor, true
	}
	if a.next.kind == '"' {
		page.Next = unquote(a.next.raw)
	}
	return page
}

// private is the raw value of a cacheScope that no two callers share.
const private = `"private"`

// cut deletes the refused elements: those before the last one that stays with the comma behind them, the others with the comma
// before them, which the first does not have.
func cut(edits []Edit, text []byte, elements []listElement, refused []bool, last int) []Edit {
	remove := func(s Span) {
		if n := len(edits); n > 0 && edits[n-1].To == s.From {
			edits[n-1].To = s.To
			return
		}
		edits = append(edits, Edit{Span: s})
	}
	for i, gone := range refused {
		if !gone {
			continue
		}
		if i > last && i > 0 {
			remove(comma(text, elements[i-1].To))
		}
		remove(elements[i].Span)
		if i < last {
			remove(comma(text, elements[i].To))
		}
	}
	return edits
}

// comma is where the comma stands between two elements, behind the end of the first. There is only white space beside it.
func comma(text []byte, end int) Span {
	at := end + bytes.IndexByte(text[end:], ',')
	return Span{at, at + 1}
}
