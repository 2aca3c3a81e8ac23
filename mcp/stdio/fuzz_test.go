package stdio

import (
	"bytes"
	"io"
	"testing"
	"time"

	"sallyport.dev/mcp"
)

// FuzzTake: whatever a command writes, each agent gets whole messages, its own id on each answer, and no answer but to what
// it has asked; and what it asked is answered at most once.
func FuzzTake(f *testing.F) {
	f.Add([]byte(`{"jsonrpc":"2.0","id":1,"result":{}}`), byte(Session))
	f.Add([]byte("banner\n"+`[{"jsonrpc":"2.0","id":"2","result":{}},{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1}}]`), byte(Stateless))
	f.Add([]byte(`{"jsonrpc":"2.0","id":5,"method":"ping"}`+"\n"+`{"jsonrpc":"2.0","id":1e0,"error":{"code":-32601}}`), byte(Legacy))
	f.Add([]byte(`{"jsonrpc":"2.0","method":"n","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":2}}}`), byte(Stateless))
	f.Fuzz(func(t *testing.T, output []byte, kind byte) {
		c := New(Config{In: nopWriter{}, Out: io.NopCloser(bytes.NewReader(nil)), Kind: Kind(kind%3) + Session, CallTimeout: time.Hour})
		var streams []*stream
		for range 2 {
			s := c.newStream(false)
			if _, refused := c.enter([][]byte{[]byte(`{"jsonrpc":"2.0","id":"mine","method":"tools/call","params":{"_meta":{"progressToken":"my token"}}}`)}, s, nil); refused != nil {
				t.Fatal(refused)
			}
			s.watch(t.Context())
			streams = append(streams, s)
		}
		in := newLines(bytes.NewReader(append(output, '\n')))
		for {
			line, err := in.next()
			if err != nil || len(line) > 0 && c.take(line) != nil {
				break
			}
		}
		for _, s := range streams {
			answers := 0
			for _, m := range s.queue {
				refs, err := mcp.ReadRefs(m.data)
				if err != nil || bytes.ContainsAny(m.data, "\r\n") {
					t.Fatalf("the agent gets %q: %v", m.data, err)
				}
				if refs.Kind == mcp.Response {
					if answers++; string(refs.ID.Of(m.data)) != `"mine"` {
						t.Fatalf("the agent gets an answer with the id %s", refs.ID.Of(m.data))
					}
				}
				if refs.Method == "notifications/progress" && !refs.Token.IsZero() && string(refs.Token.Of(m.data)) != `"my token"` {
					t.Fatalf("the agent gets progress for %s", refs.Token.Of(m.data))
				}
			}
			if answers > 1 {
				t.Fatalf("%d answers to one request", answers)
			}
			_ = s.Close()
		}
		c.end(io.EOF)
	})
}

// nopWriter takes everything.
type nopWriter struct{}

func (nopWriter) Write(p []byte) (int, error) { return len(p), nil }
func (nopWriter) Close() error                { return nil }
