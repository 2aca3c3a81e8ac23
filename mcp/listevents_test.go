package mcp

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// filtered feeds a stream in pieces of a size and returns what passes.
func filtered(f *EventFilter, stream string, size int) (string, error) {
	var out strings.Builder
	for rest := stream; rest != ""; {
		n := min(size, len(rest))
		p, err := f.Write([]byte(rest[:n]))
		if out.Write(p); err != nil {
			return out.String(), err
		}
		rest = rest[n:]
	}
	p, err := f.End()
	out.Write(p)
	return out.String(), err
}

// TestListsInEvents: of a stream only the answer to the list changes, whatever the pieces it comes in.
func TestListsInEvents(t *testing.T) {
	const (
		start = `{"jsonrpc":"2.0","id":7,"result":{"tools":[`
		note  = "event: message\ndata: {\"method\":\"notifications/message\",\"params\":{\"tools\":[{\"name\":\"a\"}]}}\n\n"
	)
	shape := new(Call)
	for name, test := range map[string]struct {
		call    *Call // default tools/list
		stream  string
		dropped int
	}{
		"one line":                     {stream: note + "id: 1\nevent: message\ndata: " + start + "⟦{\"name\":\"a\"},⟧{\"name\":\"b\"}]}}\n\n" + note, dropped: 1},
		"without a space":              {stream: "data:" + start + "⟦{\"name\":\"a\"}⟧]}}\n\n", dropped: 1},
		"the id behind it":             {stream: "data: {\"result\":{\"tools\":[⟦{\"name\":\"a\"}⟧]},\"id\":7,\"jsonrpc\":\"2.0\"}\nid: 1\nretry: 9\n\n", dropped: 1},
		"an error":                     {stream: "data: {\"jsonrpc\":\"2.0\",\"id\":7,\"error\":{\"data\":[{\"name\":\"a\"}]}}\n\n"},
		"nothing refused":              {stream: note + "data: " + start + "{\"name\":\"b\"}]}}\n\n: x\n\n"},
		"cacheScope":                   {stream: "data: " + start + "],\ndata: \"cacheScope\": ⟦\"public\"⟧⟪\"private\"⟫}}\n\n"},
		"cacheScope in two lines":      {stream: "data: " + start + "],\"cacheScope\":⟦{⟧⟪\"private\"⟫\ndata:⟦}⟧}}\n\n"},
		"ttlMs":                        {stream: "data: " + start + "],\ndata:⟪\"cacheScope\":\"private\",⟫\"ttlMs\":1}}\n\n"},
		"lines between elements":       {stream: "data: " + start + "\ndata: ⟦{\"name\":\"a\"},⟧\ndata: {\"name\":\"b\"}\ndata: ]}}\n\n", dropped: 1},
		"lines inside an element":      {stream: "data: " + start + "{\"name\":\"b\"} ⟦,⟧ ⟦{⟧\nid: 4\ndata: ⟦\"name\"⟧\n: c\nevent: message\ndata:⟦:⟧\ndata: ⟦ \"a\"}⟧ ]}}\n\n", dropped: 1},
		"empty lines of data":          {stream: "data\ndata: " + start + "\ndata\ndata:\ndata:⟦{\"name\":\"a\"}⟧]}}\ndata\n\n", dropped: 1},
		"no empty line at the end":     {stream: "data: " + start + "⟦{\"name\":\"a\"}⟧]}}\n", dropped: 1},
		"no end":                       {stream: "data: " + start + "⟦{\"name\":\"a\"}⟧]}}", dropped: 1},
		"a byte order mark":            {stream: "\xef\xbb\xbfdata: " + start + "⟦{\"name\":\"a\"}⟧]}}\n\n", dropped: 1},
		"long":                         {stream: note + "data: " + start + "⟦{\"name\":\"a\",\"x\":\"" + strings.Repeat("x", 100<<10) + "\"},⟧{\"name\":\"b\"}]}}\n\n" + note, dropped: 1},
		"long, with many lines":        {stream: "data: " + start + "⟦{\"name\":\"a\"," + strings.Repeat("⟧\ndata:⟦", 20<<10) + "\"x\":1},⟧{\"name\":\"b\"}]}}\n\n", dropped: 1},
		"another response":             {call: &Call{Messages: []Message{{Kind: Request, ID: []byte("7"), Method: "tools/call"}, {Kind: Request, ID: []byte("8"), Method: "tools/list"}}}, stream: "data: {\"id\":7,\"result\":{\"tools\":[{\"name\":\"a\",\"a\":1,\"a\":2}]}}\n\n"},
		"a batch":                      {stream: "data: [" + note[len("event: message\ndata: "):len(note)-2] + ",\ndata: " + start + "⟦{\"name\":\"a\"}⟧]}}]\n\n", dropped: 1},
		"by shape":                     {call: shape, stream: note + "data: {\"jsonrpc\":\"2.0\",\"result\":{\"_meta\":{\"resources\":[{\"uri\":\"a\"}]},\"resources\": [⟦{\"uri\":\"a\"}⟧]},\"id\":\"q\"}\n\n" + note, dropped: 1},
		"by shape, twice":              {call: shape, stream: "data: " + start + "⟦{\"name\":\"a\"}⟧]}}\n\ndata: " + start + "⟦{\"name\":\"a\"}⟧]}}\n\n", dropped: 2},
		"by shape, a list behind much": {call: shape, stream: "data: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"x\":\"" + strings.Repeat("x", 60<<10) + "\",\"tools\":[⟦{\"name\":\"a\"}⟧]}}\n\n", dropped: 1},
		"by shape, something else":     {call: shape, stream: "data: {\"id\":1,\"result\":{\"content\":[{\"tools\":[{\"name\":\"a\",\"a\":1,\"a\":2}]}],\"tools\":{\"name\":\"a\"}}}\n\n"},
		"by shape, a member's value":   {call: shape, stream: "data: {\"id\":1,\"result\":{\"x\":\"tools\",\"y\":[\"tools\",[{\"name\":\"a\"}]]}}\n\n"},
	} {
		if test.call == nil {
			test.call = listCall("7", "tools/list")
		}
		for _, end := range []string{"\n", "\r\n"} {
			stream, want := unmark(strings.ReplaceAll(test.stream, "\n", end))
			sizes := []int{1, 2, 3, 7, 16, 100, 512, 4096, 32 << 10, len(stream)}
			if len(stream) > 10_000 {
				sizes = sizes[6:]
			}
			for _, size := range sizes {
				f := &EventFilter{Lists: NewListFilter(test.call, ListRules{Keep: not("a")}), Judge: func(*Event) error { return nil }}
				out, err := filtered(f, stream, size)
				if err != nil || out != want || f.Lists.Dropped() != test.dropped || len(f.held) > 0 || f.lines != nil {
					t.Fatalf("%s, pieces of %d: %v, dropped %d\ngot  %.300q\nwant %.300q", name, size, err, f.Lists.Dropped(), out, want)
				}
			}
		}
	}
}

// TestListsStopAStream: of an answer that cannot be filtered nothing passes, and nothing behind it.
func TestListsStopAStream(t *testing.T) {
	const start = `{"jsonrpc":"2.0","id":7,"result":{"tools":[`
	const before = "data: {\"method\":\"x\"}\n\n"
	long := strings.Repeat("x", MaxList)
	for name, test := range map[string]struct {
		shape  bool
		stream string
		begins bool // the beginning of the event passes, its end does not
	}{
		"a bad element":              {stream: "data: " + start + "{\"name\":\"c4n4ry\"},1]}}\n\n"},
		"no JSON":                    {stream: "data: " + start + "{\"name\":\"c4n4ry\"}],}}\n\n"},
		"a line end in a string":     {stream: "data: " + start + "{\"name\":\"c4n\ndata: 4ry\"}]}}\n\n"},
		"a result of no request":     {stream: "data: {\"jsonrpc\":\"2.0\",\"id\":null,\"result\":{\"tools\":[]}}\n\n"},
		"no end":                     {stream: "data: " + start + "{\"name\":\"c4n4ry\"},1]}}"},
		"too long":                   {stream: "data: " + start + "{\"name\":\"c4n4ry\",\"x\":\"" + long + "\"}]}}\n\n"},
		"too long, id last":          {stream: "data: {\"result\":{\"tools\":[{\"name\":\"c4n4ry\",\"x\":\"" + long + "\"}]},\"jsonrpc\":\"2.0\",\"id\":7}\n\n"},
		"too long, in lines":         {stream: "data: " + start + strings.Repeat("\ndata", MaxList/5+20_000) + "]}}\n\n"},
		"too long, without an end":   {stream: "data: " + start + long + long},
		"by shape":                   {shape: true, stream: "data: " + start + "1]}}\n\n"},
		"by shape, escaped":          {shape: true, stream: "data: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"\\u0072\\u0065\\u0073\\u006f\\u0075\\u0072\\u0063\\u0065\\u0054\\u0065\\u006d\\u0070\\u006c\\u0061\\u0074\\u0065\\u0073\":[]}}\n\n"},
		"by shape, a Tools":          {shape: true, stream: "data: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"Tools\" : [{\"name\":\"c4n4ry\"}]}}\n\n"},
		"by shape, too long":         {shape: true, stream: "data: " + start + "{\"name\":\"c4n4ry\",\"x\":\"" + long + "\"}]}}\n\n"},
		"by shape, behind too much":  {shape: true, begins: true, stream: "data: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"x\":\"" + strings.Repeat("x", 100<<10) + "\",\"tools\":[{\"name\":\"c4n4ry\"}]}}\n\n"},
		"data behind too much":       {begins: true, stream: "id: " + strings.Repeat("x", 100<<10) + "\ndata: " + start + "{\"name\":\"c4n4ry\"}]}}\n\n"},
		"by shape, twice the result": {shape: true, begins: true, stream: "data: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{},\"x\":\"" + strings.Repeat("x", 100<<10) + "\",\"result\":{\"tools\":[{\"name\":\"c4n4ry\"}]}}\n\n"},
	} {
		for _, size := range []int{1, 700, 4096, 32 << 10, 5 << 20} {
			if size < 32<<10 && len(test.stream) > 200<<10 || size == 5<<20 && test.begins {
				continue
			}
			call := listCall("7", "tools/list")
			if test.shape {
				call = new(Call)
			}
			judged := 0
			f := &EventFilter{Lists: NewListFilter(call, ListRules{Keep: not("a")}), Judge: func(e *Event) error {
				if judged++; e.Messages == nil {
					return ErrEventStream // as the connector does
				}
				return nil
			}}
			out, err := filtered(f, before+test.stream+before, size)
			if !errors.Is(err, ErrEventStream) || f.Lists.Dropped() != 0 || !test.begins && out != before || test.begins && !strings.HasPrefix(before+test.stream, out+"\n") {
				t.Errorf("%s, pieces of %d: %v, passed %d bytes %.100q", name, size, err, len(out), out)
			}
			if strings.Contains(fmt.Sprint(err), "c4n4ry") {
				t.Errorf("%s: %v", name, err)
			}
			if f.Between() == test.begins {
				t.Errorf("%s: between two events %v", name, f.Between())
			}
		}
	}
}

// TestOnlyListsAreHeld: what cannot be the answer to a list flows as if there were no filter.
func TestOnlyListsAreHeld(t *testing.T) {
	long := strings.Repeat("x", 100<<10)
	for name, test := range map[string]struct {
		shape, held bool
		stream      string
	}{
		"a request to the client":     {stream: `data: {"jsonrpc":"2.0","method":"x","params":"` + long},
		"a response to another":       {stream: `data: {"jsonrpc":"2.0","id":8,"result":"` + long},
		"a response to the list":      {stream: `data: {"jsonrpc":"2.0","id":7,"result":"` + long, held: true},
		"a response with its id last": {stream: `data: {"jsonrpc":"2.0","result":"` + long, held: true},
		"a batch":                     {stream: `data: [{"jsonrpc":"2.0","id":8,"result":"` + long, held: true},
		"by shape, a response":        {shape: true, stream: `data: {"jsonrpc":"2.0","id":7,"result":{"content":["` + long},
		"by shape, a list":            {shape: true, stream: `data: {"jsonrpc":"2.0","id":7,"result":{"tools":["` + long, held: true},
		"a comment":                   {stream: ": " + long},
	} {
		call := listCall("7", "tools/list")
		if test.shape {
			call = new(Call)
		}
		f := &EventFilter{Lists: NewListFilter(call, ListRules{Keep: not("a")}), Judge: func(*Event) error { return nil }}
		passed := 0
		for at := 0; at < len(test.stream); at += 512 {
			p, err := f.Write([]byte(test.stream[at:min(at+512, len(test.stream))]))
			if err != nil {
				t.Fatal(err)
			}
			passed += len(p)
		}
		if (passed == 0) != test.held {
			t.Errorf("%s: %d bytes passed", name, passed)
		}
	}
}

// FuzzListEvents puts an answer into an event of several lines, cuts the stream at will and compares what comes out with what
// Filter makes of the answer.
func FuzzListEvents(f *testing.F) {
	f.Add("{\"jsonrpc\":\"2.0\",\n\"id\":1,\"result\":{\"tools\":[{\"name\":\"a\"}\n,\n{\"name\":\"b\"}],\"cacheScope\":\"public\"}}", byte(255), uint(3), true)
	f.Add("[{\"jsonrpc\":\"2.0\",\"id\":2,\"result\":{\"prompts\":\n[{\"name\":\n\"a\"}],\"ttlMs\":3\n}}]", byte(2), uint(1), false)
	f.Fuzz(func(t *testing.T, text string, mask byte, cut uint, shape bool) {
		if strings.ContainsRune(text, '\r') {
			return
		}
		call, keep := fuzzCall(), fuzzKeep(mask)
		if shape {
			call = new(Call)
		}
		lists := func() *ListFilter {
			return NewListFilter(call, ListRules{Keep: func(_ string, e Element) bool { return keep(e.Name) }})
		}
		want, wantErr := lists().Filter([]byte(text))
		end := "\n"
		if cut%2 == 1 {
			end = "\r\n"
		}
		stream := "id: 1" + end + "event: message" + end
		for i, line := range strings.Split(text, "\n") {
			stream += "data:" + []string{" ", " ", "  "}[(int(mask)+i)%3] + line + end
			if i%3 == 1 {
				stream += ":" + end
			}
		}
		stream += "retry: 5" + end + end
		var first string
		for i, size := range []int{len(stream), 1, 1 + int(cut%uint(len(stream)))} {
			f := &EventFilter{Lists: lists(), Judge: func(e *Event) error {
				if e.Messages == nil {
					return ErrEventStream
				}
				return nil
			}}
			out, err := filtered(f, stream, size)
			if i > 0 && out != first {
				t.Fatalf("%q in pieces of %d: %q, whole %q", stream, size, out, first)
			}
			if first = out; err != nil {
				if out != "" {
					t.Fatalf("%q: %v, passed %q", stream, err, out)
				}
				continue
			}
			events := naive([]byte(out))
			if len(events) != 1 || strings.Count(out, end) != strings.Count(stream, end) || !events[0].hasID || events[0].name != "message" {
				t.Fatalf("%q became %q", stream, out)
			}
			tolerant(t, []byte(events[0].data), keep, shape)
			if wantErr != nil { // it was no answer to be filtered, and is looked at less strictly
				if out != stream {
					t.Fatalf("%q became %q, and Filter says %v", stream, out, wantErr)
				}
				continue
			}
			if got := decode(t, []byte(events[0].data)); !reflect.DeepEqual(got, decode(t, want)) {
				t.Fatalf("%q became %q, Filter makes %q", stream, out, want)
			}
		}
	})
}
