package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// firstWord is the event by which a silent stream shows that it is open.
const firstWord = `data: {"jsonrpc":"2.0","method":"notifications/message","params":{}}` + "\n\n"

// listening is the GET that opens the event stream of a server, ready for the wire.
func listening(host, path string) []byte {
	return fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: %s\r\nAccept: text/event-stream\r\nMCP-Protocol-Version: 2025-11-25\r\n"+
		"User-Agent: figures/1\r\nAuthorization: Bearer %s\r\n\r\n", path, host, agentToken)
}

// silence answers with one event, and then with nothing for as long as the stream is open.
func silence(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	_, _ = io.WriteString(w, firstWord)
	_ = http.NewResponseController(w).Flush()
	<-r.Context().Done()
}

// settled is how long streams are left alone before memory is looked at: past the first keep-alive comment.
const settled = 17 * time.Second

// measureIdle opens all silent streams at once, each on a connection of its own, and returns what each child holds for one.
func (p plan) measureIdle(ctx context.Context, t target) ([]float64, error) {
	before, err := t.ask("resident")
	if err != nil {
		return nil, err
	}
	agents := make([]*agent, p.idle)
	defer func() {
		for _, a := range agents {
			if a != nil {
				a.close()
			}
		}
	}()
	errs := make(chan error, p.idle)
	var crew sync.WaitGroup
	for i := range agents {
		if i%64 == 0 {
			crew.Wait() // so many dial at once
		}
		crew.Go(func() {
			a, err := newAgent(ctx, t.addr, t.idle)
			if err == nil {
				agents[i] = a
				err = a.open()
			}
			if err != nil {
				errs <- err
			}
		})
	}
	crew.Wait()
	select {
	case err := <-errs:
		return nil, fmt.Errorf("open %d event streams: %w", p.idle, err)
	case <-time.After(settled):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	after, err := t.ask("resident")
	if err != nil {
		return nil, err
	}
	held := make([]float64, len(after))
	for i := range after {
		held[i] = float64(after[i].minus(before[i]).Resident) / float64(p.idle)
	}
	return held, nil
}

// open begins an event stream and reads its first event.
func (a *agent) open() error {
	if _, err := a.conn.Write(a.wire); err != nil {
		return err
	}
	if _, chunked, err := a.head(); err != nil || !chunked {
		return fmt.Errorf("no event stream: %w", err)
	}
	_, err := a.reader.ReadSlice('\n')
	return err
}

// idleTable is what silent streams hold, in Markdown.
func idleTable(results []result) string {
	text := "| path | gateway, KiB a stream | connector, KiB a stream |\n|---|--:|--:|\n"
	for _, r := range results {
		if len(r.idle) == 2 {
			text += fmt.Sprintf("| %s, silent streams | %.1f | %.1f |\n", r.name, r.idle[0]/1024, r.idle[1]/1024)
		}
	}
	return text
}
