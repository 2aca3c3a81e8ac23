package stdio

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"os"
	"sync"
	"testing"
	"time"

	"sallyport.dev/mcp"
)

// BenchmarkDo is one call through the bridge, many at once, to a command that answers at once: what the bridge adds to it.
func BenchmarkDo(b *testing.B) {
	inR, inW, err := os.Pipe()
	if err != nil {
		b.Fatal(err)
	}
	outR, outW, err := os.Pipe()
	if err != nil {
		b.Fatal(err)
	}
	var crew sync.WaitGroup
	crew.Go(func() { // the command
		defer outW.Close()
		for lines := bufio.NewReader(inR); ; {
			line, err := lines.ReadSlice('\n')
			if err != nil {
				return
			}
			_, rest, _ := bytes.Cut(line, []byte(`"id":`))
			id, _, _ := bytes.Cut(rest, []byte(","))
			answer := append(append([]byte(`{"jsonrpc":"2.0","id":`), id...), `,"result":{"content":[{"type":"text","text":"an answer of some length"}]}}`+"\n"...)
			if _, err := outW.Write(answer); err != nil {
				return
			}
		}
	})
	conn := New(Config{In: inW, Out: outR, Kind: Session, CallTimeout: time.Minute})
	ctx, cancel := context.WithCancel(b.Context())
	crew.Go(func() { _ = conn.Run(ctx) })
	defer crew.Wait()
	defer cancel()
	body := []byte(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"lookup","arguments":{"key":"a-key"}}}`)
	msgs, _, err := mcp.Parse(body)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.SetParallelism(16)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			call := mcp.Call{Messages: msgs, Body: body}
			resp, err := conn.Do(ctx, &call)
			if err != nil {
				b.Error(err)
				return
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
		}
	})
}
