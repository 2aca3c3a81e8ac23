package mcp

import (
	"encoding/json"
	"reflect"
	"testing"
)

// FuzzTraceEdits: whatever request an agent may send, it then says our trace context to everybody who reads JSON, and else what it has said.
func FuzzTraceEdits(f *testing.F) {
	for _, seed := range []string{
		`{"jsonrpc":"2.0","id":7,"method":"tools/list"}`, `{"params":{},"jsonrpc":"2.0","id":"a","method":"m"}`,
		`{"jsonrpc":"2.0","id":7,"method":"m","params":{"_meta":{"trace\u0070arent":[{}],"progressToken":"t"},"name":"x"}}`,
		`{"jsonrpc":"2.0","id":7,"method":"m","params":{"_meta":{}}}`, `{"jsonrpc":"2.0","id":7,"method":"m","params":{"_meta":7}}`, `{"id":1,"jsonrpc":"2.0","method":"m","params":{"a":{"_meta":{"tracestate":1}}}}`,
	} {
		f.Add([]byte(seed), "v=1")
		f.Add([]byte(seed), "")
	}
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	f.Fuzz(func(t *testing.T, text []byte, state string) {
		messages, batch, err := Parse(text)
		if err != nil || batch || messages[0].Kind != Request || state != "" && !json.Valid([]byte(`"`+state+`"`)) {
			return
		}
		refs, err := ReadRefs(text)
		if err != nil {
			return
		}
		edits := refs.TraceEdits(parent, state)
		out := Splice(text, edits...)
		var before, after map[string]any
		if err := json.Unmarshal(text, &before); err != nil {
			return // too deep for it
		}
		if _, _, err := Parse(out); err != nil {
			t.Fatalf("%s became %s: %v", text, out, err)
		}
		if err := json.Unmarshal(out, &after); err != nil {
			t.Fatalf("%s became %s: %v", text, out, err)
		}
		params, _ := before["params"].(map[string]any)
		if meta, there := params["_meta"]; there {
			if _, object := meta.(map[string]any); !object {
				if len(edits) != 0 {
					t.Fatalf("%s was edited", text)
				}
				return
			}
		}
		if params == nil {
			params = make(map[string]any)
			before["params"] = params
		}
		meta, _ := params["_meta"].(map[string]any)
		if meta == nil {
			meta = make(map[string]any)
			params["_meta"] = meta
		}
		_, had := meta["tracestate"]
		meta["traceparent"] = parent
		if had || state != "" {
			var decoded string
			if err := json.Unmarshal([]byte(`"`+state+`"`), &decoded); err != nil || decoded != state {
				return // an escape of its own
			}
			meta["tracestate"] = state
		}
		if !reflect.DeepEqual(before, after) {
			t.Fatalf("%s became %s", text, out)
		}
	})
}
