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
	f.Add([]byte(`{"jsonrpc":"2.0","id":1,"method":"completion/complete","params":{"ref":{"type":"ref/resource","uri":"a{b}","name":1},"argument":{"name":"b","value":""}}}`))
	f.Add([]byte(`{"params" : { "arguments" : [ {"a":"\u0000"} ] , "name":"p" } ,"jsonrpc":"2.0","id":1,"method":"prompts/get"}`))
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
			Ref    struct {
				Type, Name, URI any
			} `json:"ref"`
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
	if m.Method == "completion/complete" {
		want = map[any]any{RefPrompt: careless.Params.Ref.Name, RefResource: careless.Params.Ref.URI}[careless.Params.Ref.Type]
		if ref, _ := careless.Params.Ref.Type.(string); ref != m.Ref {
			t.Fatalf("ref %v, read %+v", ref, m)
		}
	}
	compareRaw(t, element, m)
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

// compareRaw looks for the raw values that a policy gets in the same careless way.
func compareRaw(t *testing.T, element []byte, m *Message) {
	t.Helper()
	var outer struct{ Params json.RawMessage }
	var inner struct{ Arguments json.RawMessage }
	if err := json.Unmarshal(element, &outer); err != nil {
		t.Fatal(err)
	}
	if outer.Params != nil {
		if err := json.Unmarshal(outer.Params, &inner); err != nil {
			t.Fatal(err)
		}
	}
	if m.Method != "tools/call" && m.Method != "prompts/get" {
		inner.Arguments = nil
	}
	if !bytes.Equal(outer.Params, m.Params) || !bytes.Equal(inner.Arguments, m.Arguments) {
		t.Fatalf("params %q, arguments %q, read %+v", outer.Params, inner.Arguments, m)
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
