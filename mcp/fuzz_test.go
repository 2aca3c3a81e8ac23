package mcp

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzParse holds the parser to encoding/json, the most tolerant reader that is likely behind us: what we accept must
// mean the same there. It also holds the short way through values to the walk of every token.
func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":{"x":[1,{"y":"\u0000"}]},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}`))
	f.Add([]byte(`[{"jsonrpc":"2.0","id":"x","result":{}},{"jsonrpc":"2.0","method":"resources\/read","params":{"uri":"\ud83d\ude00"}}]`))
	f.Add([]byte(`{"jsonrpc":"2.0","id":-0.5e+7,"method":"tasks/get","params":{"taskId":"t"}} `))
	f.Add([]byte(`{"jsonrpc":"2.0","method":"ping","param` + "ſ" + `":{"a":1,"a":2}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		kept := bytes.Clone(body)
		msgs, batch, err := Parse(body)
		if !bytes.Equal(body, kept) {
			t.Fatal("the body was changed")
		}
		walk := new(parser)
		walk.use(body)
		walk.shallow = false
		walked, _, walkErr := walk.document()
		if err == nil && (walkErr != nil || fmt.Sprint(walked) != fmt.Sprint(msgs)) {
			t.Fatalf("short way %+v; walk %+v, %v", msgs, walked, walkErr)
		}
		if err != nil {
			var refused *Error
			if !errors.As(err, &refused) || msgs != nil || refused.Delivered != DeliveredNo || refused.Err != nil {
				t.Fatalf("refused with %#v and %v", err, msgs)
			}
			if refused.Code != -32601 && walkErr == nil {
				t.Fatalf("short way %v; walk passed %+v", refused.Message, walked)
			}
			return
		}
		if !json.Valid(body) {
			t.Fatal("encoding/json finds the body invalid")
		}
		elements := []json.RawMessage{body}
		if batch {
			elements = nil
			if err := json.Unmarshal(body, &elements); err != nil {
				t.Fatal(err)
			}
		}
		if len(elements) != len(msgs) || len(msgs) == 0 {
			t.Fatalf("%d messages of %d", len(msgs), len(elements))
		}
		for i, element := range elements {
			compare(t, element, &msgs[i])
		}
	})
}

// compare reads one message as a careless Go program would, into a struct, which folds case and lets the last win.
func compare(t *testing.T, element []byte, m *Message) {
	t.Helper()
	var careless struct {
		JSONRPC string          `json:"jsonrpc"`
		ID      json.RawMessage `json:"id"`
		Method  *string         `json:"method"`
		Params  struct {
			Name   any            `json:"name"`
			URI    any            `json:"uri"`
			TaskID any            `json:"taskId"`
			Meta   map[string]any `json:"_meta"`
		} `json:"params"`
		Result, Error json.RawMessage
	}
	// An id such as 1e999 or a _meta that is no object is no error of ours: only the fields that were read count.
	_ = json.Unmarshal(element, &careless)
	if careless.JSONRPC != "2.0" || !bytes.Equal(careless.ID, m.ID) {
		t.Fatalf("envelope %+v, read %+v", careless, m)
	}
	if (careless.Method == nil) != (m.Kind == Response) || careless.Method != nil && *careless.Method != m.Method {
		t.Fatalf("method %v, read %+v", careless.Method, m)
	}
	if m.Kind == Response {
		return
	}
	want := map[string]any{"tools/call": careless.Params.Name, "prompts/get": careless.Params.Name, "resources/read": careless.Params.URI,
		"resources/subscribe": careless.Params.URI, "resources/unsubscribe": careless.Params.URI}[m.Method]
	if strings.HasPrefix(m.Method, "tasks/") {
		want = careless.Params.TaskID
	}
	if want == nil {
		want = ""
	}
	if want != m.Name {
		t.Fatalf("name %v, read %+v", want, m)
	}
	version, _ := careless.Params.Meta[metaVersion].(string)
	if version != m.Version {
		t.Fatalf("version %q, read %+v", version, m)
	}
}

// FuzzMcpName checks that a header value stands for at most one text, and a text for at most two values: itself and
// its one encoding.
func FuzzMcpName(f *testing.F) {
	for _, seed := range []string{"echo", "=?base64?ZWNobw==?=", "=?BASE64?ZWNobw==?=", "=?base64?ZWNobw=?=", "=?base64?=", "=?base64??=", "=?base64?YQpi?=", " padded ", "ä", "=?base64?ZWN\r\nobw==?=", "=?base64?/w==?="} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		text, ok := decodeName(value)
		encoded := sentinelPrefix + base64.StdEncoding.EncodeToString([]byte(value)) + sentinelSuffix
		if back, ok := decodeName(encoded); ok != utf8.ValidString(value) || ok && back != value {
			t.Fatalf("%q came back as %q, %v", value, back, ok)
		}
		if !ok {
			return
		}
		if !utf8.ValidString(text) {
			t.Fatalf("%q decodes to invalid UTF-8", value)
		}
		again := sentinelPrefix + base64.StdEncoding.EncodeToString([]byte(text)) + sentinelSuffix
		wrapped := strings.HasPrefix(value, sentinelPrefix) && strings.HasSuffix(value, sentinelSuffix)
		if wrapped && value != again {
			t.Fatalf("%q is a second encoding of %q", value, text)
		}
		if !wrapped && (value != text || strings.ContainsAny(value, "\r\n\x00\x7f")) {
			t.Fatalf("%q decodes to %q", value, text)
		}
	})
}

// naive says of a whole stream so far what EventTracker must say, by the words of the specification: take off the byte
// order mark, make all line ends alike, split, and look at each line.
func naive(stream []byte) (between, sawID bool) {
	text := strings.TrimPrefix(string(stream), byteOrderMark)
	text = strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\r", "\n")
	lines := strings.Split(text, "\n")
	inEvent := false
	for _, line := range lines[:len(lines)-1] {
		field, _, _ := strings.Cut(line, ":")
		switch {
		case line == "":
			inEvent = false
		case field == "":
		default:
			inEvent = true
			sawID = sawID || field == "id"
		}
	}
	return !inEvent && lines[len(lines)-1] == "", sawID
}

// FuzzEventTracker feeds a stream in two chunks and then byte by byte and compares with naive at every chunk's end.
func FuzzEventTracker(f *testing.F) {
	for _, seed := range []string{"event: message\ndata: {}\n\n", "data: a\r\n\r\n: ping\r\n", "\xef\xbb\xbfid\r\rdata:x\r\r", "\xef\xbb", "id: 1\nid\n\n", "idx: 1\n:id\n id: 2\n", "\n\r\n\r\r\n", ":\xef\xbb\xbf\n"} {
		f.Add([]byte(seed), uint(len(seed)/2))
	}
	f.Fuzz(func(t *testing.T, stream []byte, cut uint) {
		stream = stream[:min(len(stream), 400)] // the comparison is quadratic
		at := int(cut % uint(len(stream)+1))
		var whole, single EventTracker
		follow(t, &whole, nil, stream[:at])
		follow(t, &whole, stream[:at], stream[at:])
		for i := range stream {
			follow(t, &single, stream[:i], stream[i:i+1])
		}
	})
}

// follow writes one chunk and compares.
func follow(t *testing.T, tracker *EventTracker, before, chunk []byte) {
	t.Helper()
	boundary := tracker.Write(chunk)
	want := -1
	for i := range len(chunk) + 1 {
		prefix := append(bytes.Clone(before), chunk[:i]...)
		if between, _ := naive(prefix); between {
			want = i
		}
	}
	between, sawID := naive(append(bytes.Clone(before), chunk...))
	if tracker.Between() != between || tracker.SawID() != sawID || boundary != want {
		t.Fatalf("%q then %q: between %v, id %v, boundary %d; want %v, %v, %d", before, chunk, tracker.Between(), tracker.SawID(), boundary, between, sawID, want)
	}
}
