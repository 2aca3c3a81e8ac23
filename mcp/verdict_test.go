package mcp

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"
)

func TestVerdicts(t *testing.T) {
	for text, want := range map[string]Verdict{
		`{"jsonrpc":"2.0","id":1,"result":{"content":[],"isError":true}}`:                              {ToolError: true},
		`{"jsonrpc":"2.0","id":1,"result":{"isError":false,"content":[{"isError":true}]}}`:             {OK: true},
		`{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"\"isError\":true}\\"}]}}`: {OK: true},
		`{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"no","data":{"code":1}}}`:            {Code: "-32602"},
		" {\n\"error\" : { \"message\":\"\\\\\", \"code\" : 7 } , \"id\":null }\r\n":                   {Code: "7"},
		`{"jsonrpc":"2.0","id":1,"error":{"code":"-1"}}`:                                               {},
		`{"jsonrpc":"2.0","id":1,"error":{"code":1.5}}`:                                                {},
		`{"jsonrpc":"2.0","id":1,"error":{"code":123456789012}}`:                                       {},
		`[{"id":1,"result":{}},{"id":2,"error":{"code":-32000}}]`:                                      {Code: "-32000"},
		`[{"id":1,"result":{"a":[{"b":"]"}]}} , {"id":2,"result":{"isError":true}}]`:                   {ToolError: true},
		`{"result":{"nested":{"isError":true}}}`:                                                       {OK: true}, `{"result":7}`: {OK: true}, `[{"result":{}},{"result":[1]}]`: {OK: true}, `{"result":{}`: {}, `{"result":{},"a"`: {},
		`{"method":"x","params":{"isError":true,"error":{"code":1}}}`: {},
		`{"result":"isError"}`: {OK: true}, `{"error":null}`: {}, `[]`: {}, `[[{"error":{"code":1}}]]`: {}, `{}`: {}, `null`: {}, ``: {}, `{"error":{"code":`: {}, `{"error":{"code":1`: {Code: "1"},
		`{"result":{"isError":true`: {ToolError: true}, `{"a"`: {}, `{"a":"`: {}, `{"a":"\`: {}, `{"error":{"code":-}}`: {},
	} {
		if got := JudgeResponse([]byte(text)); got != want {
			t.Errorf("%s: %+v, want %+v", text, got, want)
		}
	}
}

// FuzzVerdict: what is JSON is read as encoding/json reads it, and nothing makes it fail or loop.
func FuzzVerdict(f *testing.F) {
	for _, seed := range []string{`{"result":{"isError":true}}`, `{"error":{"code":-32602}}`, `[{"error":{"code":1}}]`, `{"a":"\\\"","error":{"code":2}}`, `{"result":{"a":[{}],"isError":true}}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		got := JudgeResponse(text)
		var all map[string]json.RawMessage
		if len(text) == 0 || text[0] != '{' || strings.Contains(string(text), `\`) || json.Unmarshal(text, &all) != nil || repeats(text) {
			return
		}
		code := ""
		if raw := all["error"]; len(raw) > 0 && raw[0] == '{' {
			var members map[string]json.RawMessage
			_ = json.Unmarshal(raw, &members)
			if _, err := strconv.ParseInt(string(members["code"]), 10, 64); err == nil && len(members["code"]) <= maxCode {
				code = string(members["code"])
			}
		}
		failed := false
		if raw := all["result"]; len(raw) > 0 && raw[0] == '{' {
			var members map[string]json.RawMessage
			_ = json.Unmarshal(raw, &members)
			failed = string(members["isError"]) == "true"
		}
		if _, has := all["result"]; got.Code != code || got.ToolError != failed || got.OK != (has && code == "" && !failed) {
			t.Errorf("%q: %+v, want %q, %v", text, got, code, failed)
		}
	})
}

// repeats reports whether one of the names that matter may be there twice.
func repeats(text []byte) bool {
	for _, name := range []string{`"error"`, `"result"`, `"code"`, `"isError"`} {
		if strings.Count(string(text), name) > 1 {
			return true
		}
	}
	return false
}

func BenchmarkVerdict(b *testing.B) {
	for name, text := range map[string]string{
		"small": `{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"hello"}],"isError":false}}`,
		"64KiB": `{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"` + strings.Repeat("some words of an answer ", 2700) + `"}],"isError":false}}`,
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			message := []byte(text)
			for b.Loop() {
				if JudgeResponse(message).Failed() {
					b.Fatal("it has not failed")
				}
			}
		})
	}
}
