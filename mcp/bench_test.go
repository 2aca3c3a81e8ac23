package mcp

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// benchBody is a tools/call of about one KiB in the shape that agents send.
func benchBody() []byte {
	var args strings.Builder
	for i := range 12 {
		fmt.Fprintf(&args, `"field_%d":{"text":"some words of a query, number %d","limit":%d,"deep":[1,2.5,true]},`, i, i, i)
	}
	return []byte(`{"jsonrpc":"2.0","id":9007199254740993,"method":"tools/call","params":{"name":"search_documents","arguments":{` +
		strings.TrimSuffix(args.String(), ",") +
		`},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{},"progressToken":7}}}`)
}

// BenchmarkParse is what Inspect pays for a call.
func BenchmarkParse(b *testing.B) {
	benchmarkParse(b, benchBody(), new(parsers).parse)
}

func BenchmarkParseSmall(b *testing.B) {
	benchmarkParse(b, []byte(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"text":"hello"}}}`), new(parsers).parse)
}

// BenchmarkParseAlone is the exported function, which has no parser to use again.
func BenchmarkParseAlone(b *testing.B) {
	benchmarkParse(b, benchBody(), Parse)
}

func benchmarkParse(b *testing.B, body []byte, parse func([]byte) ([]Message, bool, error)) {
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := parse(body); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkInspect(b *testing.B) {
	body := string(benchBody())
	h := Inspect(InspectConfig{})(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	head := http.Header{
		"Content-Type": {"application/json"}, "Accept": {"application/json, text/event-stream"}, "User-Agent": {"agent/1.0"},
		headerVersion: {"2026-07-28"}, headerMethod: {"tools/call"}, headerName: {"search_documents"},
	}
	b.ReportAllocs()
	for b.Loop() {
		r := httptest.NewRequest(http.MethodPost, "/t/acme/wiki/mcp", strings.NewReader(body))
		r.Header = head
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != http.StatusOK {
			b.Fatal(w.Body)
		}
	}
}

func BenchmarkStripRequest(b *testing.B) {
	head := http.Header{
		"Content-Type": {"application/json"}, "Accept": {"application/json, text/event-stream"}, "User-Agent": {"agent/1.0"},
		"Accept-Encoding": {"gzip"}, "Authorization": {"Bearer x"}, "Content-Length": {"100"}, "Connection": {"keep-alive"},
		headerVersion: {"2026-07-28"}, headerMethod: {"tools/call"}, headerName: {"search_documents"}, "Traceparent": {"00-1-2-01"},
	}
	b.ReportAllocs()
	for b.Loop() {
		StripRequest(head.Clone())
	}
}

func BenchmarkEventFilter(b *testing.B) {
	for _, size := range []int{200, 20_000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			event := `event: message
data: {"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"` + strings.Repeat("x", size) + `"}]}}` + "\n\n"
			chunk := []byte(strings.Repeat(event, max(1, 4<<10/len(event))))
			f := EventFilter{Judge: func(e *Event) error {
				if len(e.Messages) != 1 {
					b.Fatal(e)
				}
				return nil
			}}
			b.SetBytes(int64(len(chunk)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := f.Write(chunk); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkListFilter is what a filtered tools/list of 200 tools in 100 KiB costs: in JSON, and in an event.
func BenchmarkListFilter(b *testing.B) {
	var tools strings.Builder
	for i := range 200 {
		fmt.Fprintf(&tools, `,{"name":"tool_%03d","description":"%s","inputSchema":{"type":"object","properties":{"query":{"type":"string","description":"what to look for"},"limit":{"type":"integer","minimum":1}},"required":["query"]}}`,
			i, strings.Repeat("words that say what it does. ", 10))
	}
	text := []byte(`{"jsonrpc":"2.0","id":7,"result":{"tools":[` + tools.String()[1:] + `],"nextCursor":"x","ttlMs":1000,"cacheScope":"public"}}`)
	for name, keep := range map[string]func(string, Element) bool{
		"all":  func(string, Element) bool { return true },
		"half": func(_ string, e Element) bool { return e.Name[len(e.Name)-1]%2 == 0 },
	} {
		b.Run(name, func(b *testing.B) {
			f := NewListFilter(listCall("7", "tools/list"), ListRules{Keep: keep})
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := f.Filter(text); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(text)), "ns/byte")
		})
	}
	b.Run("event", func(b *testing.B) {
		event := []byte("data: " + string(text) + "\n\n")
		f := EventFilter{Judge: func(*Event) error { return nil }, Lists: NewListFilter(listCall("7", "tools/list"), ListRules{Keep: func(string, Element) bool { return false }})}
		b.SetBytes(int64(len(event)))
		b.ReportAllocs()
		for b.Loop() {
			for at := 0; at < len(event); at += 32 << 10 {
				if _, err := f.Write(event[at:min(at+32<<10, len(event))]); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
}
