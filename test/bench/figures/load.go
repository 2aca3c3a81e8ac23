package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// agentToken is what the agents of a run present.
const agentToken = "figures-agent-token-0123456789abcdefghijklmnop"

// callBody is a small tools/call, about as long as most are.
const callBody = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"search_documents","arguments":` +
	`{"query":"quarterly revenue by region","limit":10,"include_archived":false,"language":"en"},"_meta":{"progressToken":1}}}`

// request is one POST, ready for the wire.
func request(host, path string) []byte {
	return fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\n"+
		"Accept: application/json, text/event-stream\r\nMCP-Protocol-Version: 2025-11-25\r\nUser-Agent: figures/1\r\n"+
		"Authorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s", path, host, agentToken, len(callBody), callBody)
}

// agent is one keep-alive connection that makes one call at a time. It is written by hand so that the load costs little of
// the machine that it shares with what it measures.
type agent struct {
	conn   net.Conn
	reader *bufio.Reader
	wire   []byte
}

func newAgent(ctx context.Context, addr string, wire []byte) (*agent, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return &agent{conn: conn, reader: bufio.NewReaderSize(conn, 4<<10), wire: wire}, nil
}

func (a *agent) close() { _ = a.conn.Close() }

// call makes one call and returns how long it took until the first byte of the body and until the last.
func (a *agent) call() (first, last time.Duration, err error) {
	start := time.Now()
	if _, err := a.conn.Write(a.wire); err != nil {
		return 0, 0, err
	}
	length, chunked, err := a.head()
	if err != nil {
		return 0, 0, err
	}
	if !chunked {
		_, err = a.reader.Discard(length)
		last = time.Since(start)
		return last, last, err
	}
	for {
		line, err := a.reader.ReadSlice('\n')
		if err != nil {
			return 0, 0, err
		}
		size, err := strconv.ParseUint(string(bytes.TrimSpace(line)), 16, 31)
		if err != nil {
			return 0, 0, err
		}
		if _, err = a.reader.Discard(int(size) + 2); err != nil {
			return 0, 0, err
		}
		if size == 0 {
			return first, time.Since(start), nil
		}
		if first == 0 {
			first = time.Since(start)
		}
	}
}

// head reads the head of an answer, which must be 200.
func (a *agent) head() (length int, chunked bool, err error) {
	line, err := a.reader.ReadSlice('\n')
	if err != nil {
		return 0, false, err
	}
	if !bytes.HasPrefix(line, []byte("HTTP/1.1 200 ")) {
		return 0, false, fmt.Errorf("answered %s", bytes.TrimSpace(line))
	}
	for {
		line, err := a.reader.ReadSlice('\n')
		if err != nil {
			return 0, false, err
		}
		if line = bytes.TrimSpace(line); len(line) == 0 {
			return length, chunked, nil
		}
		name, value, _ := bytes.Cut(line, []byte(": "))
		switch {
		case bytes.EqualFold(name, []byte("Content-Length")):
			if length, err = strconv.Atoi(string(value)); err != nil {
				return 0, false, err
			}
		case bytes.EqualFold(name, []byte("Transfer-Encoding")):
			chunked = true
		}
	}
}

// load keeps n agents calling for d, and returns every latency, sorted.
func load(ctx context.Context, t target, n int, d time.Duration) ([]time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, d+10*time.Second)
	defer cancel()
	agents := make([]*agent, n)
	for i := range agents {
		a, err := newAgent(ctx, t.addr, t.wire)
		if err != nil {
			return nil, err
		}
		defer a.close()
		defer context.AfterFunc(ctx, a.close)()
		agents[i] = a
	}
	latencies, failures := make([][]time.Duration, n), make([]error, n)
	end := time.Now().Add(d)
	var crew sync.WaitGroup
	for i, a := range agents {
		crew.Go(func() {
			for time.Now().Before(end) {
				_, took, err := a.call()
				if err != nil {
					failures[i] = err
					return
				}
				latencies[i] = append(latencies[i], took)
			}
		})
	}
	crew.Wait()
	if err := errors.Join(failures...); err != nil {
		return nil, fmt.Errorf("%s: %w", t.name, err)
	}
	all := slices.Concat(latencies...)
	slices.Sort(all)
	return all, nil
}

// firstEvents makes n calls, one at a time, that are answered by an event stream, and returns the times to the first event.
func firstEvents(ctx context.Context, t target, n int) ([]time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	a, err := newAgent(ctx, t.addr, t.events)
	if err != nil {
		return nil, err
	}
	defer a.close()
	defer context.AfterFunc(ctx, a.close)()
	var all []time.Duration
	for range n {
		first, _, err := a.call()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", t.name, err)
		}
		all = append(all, first)
	}
	slices.Sort(all)
	return all, nil
}

// The backend's answers.
const (
	cannedAnswer = `{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"Revenue by region, third quarter: ` +
		`north 1,204, east 998, south 1,377, west 1,045 (thousands). Source: ledger, closed books. Ten documents match; the ` +
		`most recent was changed nine days ago by finance."}],"isError":false}}`
	cannedEvent = "event: message\ndata: " + `{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"done"}]}}` + "\n\n"
	nextEvent   = 2 * time.Millisecond // between the two events of a stream, so that they are not one piece
)

// backend answers /mcp with JSON and /events with an event stream, and is the collector of what is told.
func backend(collect http.HandlerFunc) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/mcp", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		h := w.Header()
		h["Content-Type"] = []string{"application/json"}
		h["Content-Length"] = []string{strconv.Itoa(len(cannedAnswer))}
		_, _ = io.WriteString(w, cannedAnswer)
	})
	mux.HandleFunc("/idle", silence)
	mux.HandleFunc("/bulk", bulk())
	mux.HandleFunc("/v1/", collect)
	mux.HandleFunc("/events", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "text/event-stream")
		control := http.NewResponseController(w)
		_, _ = io.WriteString(w, firstWord)
		_ = control.Flush()
		select {
		case <-time.After(nextEvent):
		case <-r.Context().Done():
		}
		_, _ = io.Copy(w, strings.NewReader(cannedEvent))
	})
	return mux
}
