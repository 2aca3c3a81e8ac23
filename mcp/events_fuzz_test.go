package mcp

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// naiveEvent is what a whole stream holds between two empty lines, by the words of the specification.
type naiveEvent struct {
	name, data     string
	hasID, hasData bool
	from, end      int // where the event's bytes begin, and where its empty line does
}

// naive reads a whole stream as the specification has it: take off the byte order mark, make all line ends alike, split,
// and look at each line. An event that the stream's end cuts short is the last one.
func naive(stream []byte) (events []naiveEvent) {
	var e naiveEvent
	var data []string
	open := false
	at := 0
	if bytes.HasPrefix(stream, []byte(byteOrderMark)) {
		at = len(byteOrderMark)
	}
	flush := func(end int) {
		if open {
			e.data, e.end = strings.Join(data, "\n"), end
			events = append(events, e)
		}
		e, data, open = naiveEvent{}, nil, false
	}
	for at < len(stream) {
		end := at + bytes.IndexAny(stream[at:], "\r\n")
		if end < at {
			end = len(stream)
		}
		line, begin := string(stream[at:end]), at
		if at = end; at < len(stream) {
			if at++; stream[end] == '\r' && at < len(stream) && stream[at] == '\n' {
				at++
			}
		}
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		if line != "" && field != "" && !open {
			open, e.from = true, begin
		}
		switch {
		case line == "":
			flush(begin)
		case field == "event":
			e.name = value[:min(len(value), maxEventName)]
		case field == "id":
			e.hasID = true
		case field == "data":
			data = append(data, value)
			e.hasData = e.hasData || value != ""
		}
	}
	flush(len(stream) + 1)
	return events
}

// FuzzEventFilter feeds a stream in two pieces and then byte by byte, and compares the events and what passed with naive.
func FuzzEventFilter(f *testing.F) {
	for _, seed := range []string{"event: message\ndata: {}\n\n", "data: a\r\n\r\n: ping\r\n", "\xef\xbb\xbfid\r\rdata:x\r\r", "\xef\xbb", "id: 1\nid\n\n", "idx: 1\n:id\n id: 2\n", "\n\r\n\r\r\n", ":\xef\xbb\xbf\n",
		"data: {\"jsonrpc\":\"2.0\",\ndata: \"id\":1,\"result\":{}}\n\n", "event: endpoint\ndata: /messages?x\n\n", "data\n\ndata:\n\ndata: \n\n"} {
		f.Add([]byte(seed), uint(len(seed)/2))
	}
	f.Fuzz(func(t *testing.T, stream []byte, cut uint) {
		at := int(cut % uint(len(stream)+1))
		filterIn(t, stream, [][]byte{stream[:at], stream[at:]}, 0)
		var single [][]byte
		for i := range stream {
			single = append(single, stream[i:i+1])
		}
		filterIn(t, stream, single, 0)
		filterIn(t, stream, single, 1+int(cut%16))
	})
}

// loneCR is where the first CR stands that another byte than a LF follows, or -1.
func loneCR(stream []byte) int {
	for i := range len(stream) - 1 {
		if stream[i] == '\r' && stream[i+1] != '\n' {
			return i
		}
	}
	return -1
}

// filterIn filters a stream that comes in pieces, and holds back so many bytes of an event.
func filterIn(t *testing.T, stream []byte, pieces [][]byte, hold int) {
	t.Helper()
	want := naive(stream)
	seen := 0
	var out []byte
	lone := loneCR(stream)
	f := EventFilter{hold: hold, Judge: func(e *Event) error {
		if seen == len(want) {
			t.Fatalf("%q: an event more than %d", stream, len(want))
		}
		w := want[seen]
		if e.Name != w.name || e.HasID != w.hasID || e.HasData != w.hasData {
			t.Fatalf("%q: event %d is %+v, want %+v", stream, seen, e, w)
		}
		if e.data != nil && string(e.data) != w.data {
			t.Fatalf("%q: event %d has the data %q, want %q", stream, seen, e.data, w.data)
		}
		checkScan(t, []byte(w.data), e.Messages)
		if len(out) > w.end || hold == 0 && len(out) > w.from {
			t.Fatalf("%q: event %d has passed before it was judged: %q", stream, seen, out)
		}
		seen++
		return nil
	}}
	add := func(p []byte, err error) {
		if err != nil {
			t.Fatalf("%q: %v", stream, err)
		}
		out = append(out, p...)
	}
	read := 0
	for _, piece := range pieces {
		if read += len(piece); lone >= 0 && read > lone+1 {
			p, err := f.Write(bytes.Clone(piece))
			if out = append(out, p...); !errors.Is(err, ErrEventStream) || len(out) > lone+1 || !bytes.HasPrefix(stream, out) {
				t.Fatalf("%q: %v, passed %q", stream, err, out)
			}
			return
		}
		add(f.Write(bytes.Clone(piece)))
	}
	add(f.End())
	if seen != len(want) || !bytes.Equal(out, stream) {
		t.Fatalf("%q: %d events, want %d; passed %q", stream, seen, len(want), out)
	}
}

// checkScan holds what the scanner found in a text to a strict parser: of a text that is JSON-RPC it must find the same,
// and it must find nothing where a strict parser reads something else.
func checkScan(t *testing.T, text []byte, got []Message) {
	t.Helper()
	raw := jsontext.Value(bytes.Clone(text))
	if !raw.IsValid(jsontext.AllowInvalidUTF8(true)) {
		return // a reader refuses it, whatever was found
	}
	objects := []jsontext.Value{raw}
	if len(bytes.TrimLeft(text, " \t\r\n")) > 0 && bytes.TrimLeft(text, " \t\r\n")[0] == '[' {
		if err := json.Unmarshal(raw, &objects, jsontext.AllowInvalidUTF8(true)); err != nil {
			t.Fatal(err)
		}
	}
	if len(got) == 0 {
		return
	}
	if len(got) != len(objects) {
		t.Fatalf("%q: %d messages, want %d", text, len(got), len(objects))
	}
	for i, object := range objects {
		var m struct {
			ID     jsontext.Value `json:"id"`
			Method jsontext.Value `json:"method"`
			Result jsontext.Value `json:"result"`
			Error  jsontext.Value `json:"error"`
		}
		if err := json.Unmarshal(object, &m, jsontext.AllowInvalidUTF8(true)); err != nil {
			t.Fatalf("%q: found %+v, and a parser says %v", text, got[i], err)
		}
		kind := Notification
		switch {
		case m.Method == nil:
			kind = Response
		case m.ID != nil:
			kind = Request
		}
		if got[i].Kind != kind || !bytes.Equal(got[i].ID, m.ID) || kind == Response && (m.Result == nil) == (m.Error == nil) || kind != Response && got[i].Method != unquote(m.Method) {
			t.Fatalf("%q: found %+v, want %+v", text, got[i], m)
		}
	}
}

// FuzzMessageScanner gives a text to the scanner whole and byte by byte, and compares it with a strict parser.
func FuzzMessageScanner(f *testing.F) {
	for _, seed := range []string{
		`{"jsonrpc":"2.0","id":1,"result":{"a":[{"id":2},"}",{}]}}`, `[{"jsonrpc":"2.0","method":"x/y","params":{}},{"id":"a\"b","error":{}}]`, `{"id":1,"ID":2,"result":1}`,
		`{"id":1,"id":2,"result":1}`, `{"result":"\\","id":null}`, `{"method":"a\u0062","id":-1.5e3}`, `{}`, `[]`, `{"id":1,"result":}`, `{"id":1,"result":2} x`, ` { "id" : 1 , "result" : true } `,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var whole, single messageScanner
		whole.write(text)
		for i := range text {
			single.write(text[i : i+1])
		}
		got, ok := whole.result()
		again, okAgain := single.result()
		if ok != okAgain || len(got) != len(again) {
			t.Fatalf("%q: whole %v %+v, byte by byte %v %+v", text, ok, got, okAgain, again)
		}
		for i := range got {
			if got[i].Kind != again[i].Kind || !bytes.Equal(got[i].ID, again[i].ID) || got[i].Method != again[i].Method {
				t.Fatalf("%q: whole %+v, byte by byte %+v", text, got, again)
			}
		}
		checkScan(t, text, got)
		if msgs, batch, err := Parse(text); err == nil && (!ok || len(msgs) != len(got) || batch != whole.batch) {
			t.Fatalf("%q: a strict parser reads %d messages, the scanner %d, %v", text, len(msgs), len(got), ok)
		}
	})
}
