package stdio

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sallyport.dev/mcp"
)

const timeout = 60 * time.Second

// rig is a connection with a command that the test plays.
type rig struct {
	t    *testing.T
	conn *Conn
	in   *bufio.Reader  // what the command reads
	out  *io.PipeWriter // what it writes

	mu      sync.Mutex // guards what follows
	dropped []string
}

// inBubble runs a test with fake time; at its end the conversation ends.
func inBubble(t *testing.T, kind Kind, test func(r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		inR, inW := io.Pipe()
		outR, outW := io.Pipe()
		r := &rig{t: t, in: bufio.NewReaderSize(inR, maxLine), out: outW}
		r.conn = New(Config{In: inW, Out: outR, Kind: kind, CallTimeout: timeout, Dropped: func(reason string) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.dropped = append(r.dropped, reason)
		}})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_ = r.conn.Run(ctx)
		}()
		defer func() {
			cancel()
			<-ended
		}()
		test(r)
	})
}

// reads returns the next line that the command gets.
func (r *rig) reads(want string) {
	r.t.Helper()
	line, err := r.in.ReadString('\n')
	if err != nil || line != want+"\n" {
		r.t.Fatalf("the command reads %q (%v), want %q", line, err, want)
	}
}

// writes has the command write lines.
func (r *rig) writes(lines ...string) {
	r.t.Helper()
	for _, l := range lines {
		if _, err := io.WriteString(r.out, l+"\n"); err != nil {
			r.t.Fatal(err)
		}
	}
}

func (r *rig) drops(n int) {
	r.t.Helper()
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.dropped) != n {
		r.t.Errorf("%d messages were dropped, want %d: %q", len(r.dropped), n, r.dropped)
	}
}

// answer is what became of a call.
type answer struct {
	resp *http.Response
	err  error
}

// post makes a call in the background.
func (r *rig) post(ctx context.Context, body string) <-chan answer {
	r.t.Helper()
	msgs, batch, err := mcp.Parse([]byte(body))
	if err != nil {
		r.t.Fatal(err)
	}
	done := make(chan answer, 1)
	go func() {
		resp, err := r.conn.Do(ctx, &mcp.Call{Messages: msgs, Batch: batch, Body: []byte(body)})
		done <- answer{resp: resp, err: err}
	}()
	return done
}

// body reads a response to its end.
func body(t *testing.T, a answer) string {
	t.Helper()
	if a.err != nil {
		t.Fatal(a.err)
	}
	defer func() { _ = a.resp.Body.Close() }()
	all, err := io.ReadAll(a.resp.Body)
	if err != nil {
		return string(all) + "!" + err.Error()
	}
	return string(all)
}

func events(msgs ...string) string {
	var all strings.Builder
	for _, m := range msgs {
		fmt.Fprintf(&all, "event: message\ndata: %s\n\n", m)
	}
	return all.String()
}

func call(id, more string) string {
	return `{"jsonrpc":"2.0","id":` + id + `,"method":"tools/call"` + more + `}`
}

func TestAnswerIsOneMessage(t *testing.T) {
	inBubble(t, Session, func(r *rig) {
		done := r.post(r.t.Context(), "{\"jsonrpc\":\"2.0\",\n \"id\":\"a\\u0062\",\"method\":\"tools/list\"}")
		r.reads(`{"jsonrpc":"2.0",  "id":1,"method":"tools/list"}`)
		r.writes(`{"jsonrpc":"2.0","id":1,"result":{"n":9007199254740993,"x":1.0}}` + "\r")
		a := <-done
		if got := body(t, a); got != `{"jsonrpc":"2.0","id":"a\u0062","result":{"n":9007199254740993,"x":1.0}}` || a.resp.Header.Get("Content-Type") != "application/json" {
			t.Errorf("got %s of %s", got, a.resp.Header.Get("Content-Type"))
		}
	})
}

func TestAgentsOfOneCommandKeepApart(t *testing.T) {
	inBubble(t, Stateless, func(r *rig) {
		token := `,"params":{"_meta":{"progressToken":"t"}}`
		first := r.post(r.t.Context(), call("1", token))
		r.reads(call("1", `,"params":{"_meta":{"progressToken":1}}`))
		second := r.post(r.t.Context(), call("1", token))
		r.reads(call("2", `,"params":{"_meta":{"progressToken":2}}`))
		progress := func(token, n string) string {
			return `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":` + token + `,"progress":` + n + `}}`
		}
		r.writes(progress("2", "20"), progress("1", "10"), progress("3", "30"), progress(`"t"`, "40"),
			`{"jsonrpc":"2.0","id":2,"result":"second"}`, `{"jsonrpc":"2.0","id":1.0,"result":"first"}`)
		if got, want := body(t, <-first), events(progress(`"t"`, "10"), `{"jsonrpc":"2.0","id":1,"result":"first"}`); got != want {
			t.Errorf("the first agent got %q, want %q", got, want)
		}
		if got, want := body(t, <-second), events(progress(`"t"`, "20"), `{"jsonrpc":"2.0","id":1,"result":"second"}`); got != want {
			t.Errorf("the second agent got %q, want %q", got, want)
		}
		r.drops(2)
	})
}

func TestAnswersThatNobodyAskedFor(t *testing.T) {
	inBubble(t, Session, func(r *rig) {
		done := r.post(r.t.Context(), call("7", ""))
		r.reads(call("1", ""))
		r.writes(`{"jsonrpc":"2.0","id":7,"result":"for the agent's own id"}`, `{"jsonrpc":"2.0","id":2,"result":"another"}`,
			`{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"m"}}`, `Server v1.2 listening!`, ``, `{"half":`,
			`{"jsonrpc":"2.0","id":1,"result":"right"}`, `{"jsonrpc":"2.0","id":1,"result":"twice"}`)
		if got := body(t, <-done); got != `{"jsonrpc":"2.0","id":7,"result":"right"}` {
			t.Errorf("got %s", got)
		}
		r.drops(6)
	})
}

func TestAgentLeaves(t *testing.T) {
	for _, kind := range []Kind{Session, Stateless} {
		inBubble(t, kind, func(r *rig) {
			ctx, leave := context.WithCancel(r.t.Context())
			left := r.post(ctx, call(`"x"`, ""))
			r.reads(call("1", ""))
			leave()
			if a := <-left; !errors.Is(a.err, context.Canceled) {
				t.Errorf("the call ended with %v", a.err)
			}
			if kind == Stateless {
				r.reads(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1,"reason":"the client has gone"}}`)
			}
			next := r.post(r.t.Context(), call(`"x"`, ""))
			r.reads(call("2", ""))
			r.writes(`{"jsonrpc":"2.0","id":1,"result":"late"}`, `{"jsonrpc":"2.0","id":2,"result":"mine"}`)
			if got := body(t, <-next); got != `{"jsonrpc":"2.0","id":"x","result":"mine"}` {
				t.Errorf("the next agent got %s", got)
			}
			r.drops(1)
		})
	}
}

func TestAgentCancels(t *testing.T) {
	inBubble(t, Session, func(r *rig) {
		done := r.post(r.t.Context(), call("5", ""))
		r.reads(call("1", ""))
		cancelled := r.post(r.t.Context(), `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":5}}`)
		r.reads(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}`)
		if a := <-cancelled; a.err != nil || a.resp.StatusCode != http.StatusAccepted {
			t.Errorf("the notification got %v, %v", a.resp, a.err)
		}
		if got := body(t, <-done); got != "" {
			t.Errorf("the cancelled call got %q", got)
		}
		unknown := r.post(r.t.Context(), `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":99}}`)
		if a := <-unknown; a.err != nil || a.resp.StatusCode != http.StatusAccepted {
			t.Errorf("cancelling nothing got %v, %v", a.resp, a.err)
		}
	})
}

func TestCommandAsksTheAgent(t *testing.T) {
	inBubble(t, Session, func(r *rig) {
		ask := `{"jsonrpc":"2.0","id":1,"method":"sampling/createMessage","params":{}}`
		done := r.post(r.t.Context(), call("1", ""))
		r.reads(call("1", ""))
		r.writes(ask)
		reply := `{"jsonrpc":"2.0","id":1,"result":{"role":"assistant"}}`
		replied := r.post(r.t.Context(), reply)
		r.reads(reply)
		if a := <-replied; a.err != nil || a.resp.StatusCode != http.StatusAccepted {
			t.Errorf("the reply got %v, %v", a.resp, a.err)
		}
		again := <-r.post(r.t.Context(), reply)
		var refused *mcp.Error
		if !errors.As(again.err, &refused) || refused.Status != http.StatusBadRequest {
			t.Errorf("a second reply got %v", again.err)
		}
		r.writes(`{"jsonrpc":"2.0","id":1,"result":{}}`)
		if got, want := body(t, <-done), events(ask, `{"jsonrpc":"2.0","id":1,"result":{}}`); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
	inBubble(t, Stateless, func(r *rig) {
		r.writes(`{"jsonrpc":"2.0","id":"q","method":"roots/list"}`)
		r.reads(`{"jsonrpc":"2.0","id":"q","error":{"code":-32601,"message":"this revision has no requests to clients"}}`)
	})
}

func TestWhatNobodyHearsWaits(t *testing.T) {
	inBubble(t, Session, func(r *rig) {
		log := func(n int) string {
			return fmt.Sprintf(`{"jsonrpc":"2.0","method":"notifications/message","params":{"n":%d}}`, n)
		}
		for n := range maxBacklog + 10 {
			r.writes(log(n))
		}
		r.drops(10)
		ctx, leave := context.WithCancel(r.t.Context())
		resp, err := r.conn.Listen(ctx, nil)
		if err != nil {
			t.Fatal(err)
		}
		in := bufio.NewReader(resp.Body)
		for n := range maxBacklog {
			got := ""
			for range 3 {
				line, err := in.ReadString('\n')
				if err != nil {
					t.Fatal(err)
				}
				got += line
			}
			if got != events(log(n+10)) {
				t.Fatalf("number %d is %q", n, got)
			}
		}
		// With a call and a GET stream, what may belong to the call goes there, and news to the GET stream.
		done := r.post(r.t.Context(), call("1", ""))
		r.reads(call("1", ""))
		news := `{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}`
		r.writes(news, log(0), `{"jsonrpc":"2.0","id":1,"result":1}`)
		if got, want := body(t, <-done), events(log(0), `{"jsonrpc":"2.0","id":1,"result":1}`); got != want {
			t.Errorf("the call got %q", got)
		}
		if line, _ := in.ReadString('\n'); line != "event: message\n" {
			t.Errorf("got %q", line)
		}
		if line, _ := in.ReadString('\n'); line != "data: "+news+"\n" {
			t.Errorf("got %q", line)
		}
		leave()
		synctest.Wait()
		if r.conn.Busy() {
			t.Error("a stream whose agent has left is still there")
		}
	})
}

func TestSubscriptionKeepsItsName(t *testing.T) {
	inBubble(t, Stateless, func(r *rig) {
		ctx, leave := context.WithCancel(r.t.Context())
		done := r.post(ctx, `{"jsonrpc":"2.0","id":"sub","method":"subscriptions/listen"}`)
		r.reads(`{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen"}`)
		told := func(id string) string {
			return `{"jsonrpc":"2.0","method":"notifications/tools/list_changed","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":` + id + `}}}`
		}
		time.Sleep(timeout * 100) // a subscription has no end of its own
		unnamed := `{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}`
		r.writes(told("1"), told("2"), unnamed)
		a := <-done
		got := make([]byte, len(events(told(`"sub"`), unnamed)))
		if _, err := io.ReadFull(a.resp.Body, got); err != nil || string(got) != events(told(`"sub"`), unnamed) {
			t.Errorf("got %q, %v", got, err)
		}
		r.drops(1)
		other := r.post(r.t.Context(), `{"jsonrpc":"2.0","id":"other","method":"subscriptions/listen"}`)
		r.reads(`{"jsonrpc":"2.0","id":2,"method":"subscriptions/listen"}`)
		r.writes(unnamed, `{"jsonrpc":"2.0","id":2,"result":{"_meta":{"io.modelcontextprotocol/subscriptionId":2}}}`)
		if got, want := body(t, <-other), `{"jsonrpc":"2.0","id":"other","result":{"_meta":{"io.modelcontextprotocol/subscriptionId":"other"}}}`; got != want {
			t.Errorf("the other subscription ended with %q, want %q", got, want)
		}
		r.drops(2)
		leave()
		r.reads(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1,"reason":"the client has gone"}}`)
	})
}

func TestBatchIsTakenApart(t *testing.T) {
	inBubble(t, Session, func(r *rig) {
		done := r.post(r.t.Context(), `[`+call("1", "")+`,{"jsonrpc":"2.0","method":"n"} ,`+call(`"b"`, "")+`]`)
		r.reads(call("1", ""))
		r.reads(`{"jsonrpc":"2.0","method":"n"}`)
		r.reads(call("2", ""))
		r.writes(`[{"jsonrpc":"2.0","id":2,"result":"b"},{"jsonrpc":"2.0","id":1,"result":"a"}]`)
		want := events(`{"jsonrpc":"2.0","id":"b","result":"b"}`, `{"jsonrpc":"2.0","id":1,"result":"a"}`)
		if got := body(t, <-done); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

func TestHTTPSSE(t *testing.T) {
	inBubble(t, Legacy, func(r *rig) {
		resp, err := r.conn.Listen(r.t.Context(), []byte("event: endpoint\ndata: /messages\n\n"))
		if err != nil {
			t.Fatal(err)
		}
		a := r.post(r.t.Context(), call(`"x"`, ""))
		r.reads(call("1", ""))
		if got := <-a; got.err != nil || got.resp.StatusCode != http.StatusAccepted {
			t.Errorf("the message got %v, %v", got.resp, got.err)
		}
		r.writes(`{"jsonrpc":"2.0","id":1,"result":1}`)
		_ = r.out.Close()
		got, err := io.ReadAll(resp.Body)
		if want := "event: endpoint\ndata: /messages\n\n" + events(`{"jsonrpc":"2.0","id":"x","result":1}`); string(got) != want || err == nil {
			t.Errorf("got %q, %v, want %q and an error", got, err, want)
		}
	})
}

func TestErrorsOf2026HaveAStatus(t *testing.T) {
	for code, status := range map[string]int{"-32601": 404, "-32022": 400, "-32020": 400, "-32021": 400, "-32602": 400, "-32603": 200} {
		for _, kind := range []Kind{Stateless, Session} {
			inBubble(t, kind, func(r *rig) {
				done := r.post(r.t.Context(), call("1", ""))
				r.reads(call("1", ""))
				r.writes(`{"jsonrpc":"2.0","id":1,"error":{"code":` + code + `,"message":"m"}}`)
				a := <-done
				if kind == Session {
					status = http.StatusOK
				}
				if _ = body(t, a); a.resp.StatusCode != status {
					t.Errorf("kind %d: %s became %d, want %d", kind, code, a.resp.StatusCode, status)
				}
			})
		}
	}
}

// TestTraceOfACall: the command hears of which trace a request is part; notifications, and the agent's own word on it, are as they were or gone.
func TestTraceOfACall(t *testing.T) {
	inBubble(t, Session, func(r *rig) {
		const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
		ctx := WithTrace(r.t.Context(), parent, "")
		done := r.post(ctx, `{"jsonrpc":"2.0","id":"x","method":"tools/call","params":{"name":"a","_meta":{"progressToken":"t","traceparent":"mine"},"arguments":{"n":1.0}}}`)
		r.reads(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","_meta":{"progressToken":1,"traceparent":"` + parent + `"},"arguments":{"n":1.0}}}`)
		r.writes(`{"jsonrpc":"2.0","id":1,"result":{}}`)
		if got := body(t, <-done); got != `{"jsonrpc":"2.0","id":"x","result":{}}` {
			t.Errorf("got %s", got)
		}
		told := r.post(ctx, `{"jsonrpc":"2.0","method":"notifications/initialized"}`)
		r.reads(`{"jsonrpc":"2.0","method":"notifications/initialized"}`)
		<-told
	})
}

// TestRunSaysWhatWasFirst: a command that ends by itself has not been ended, although whoever waited for it then ends what is left.
func TestRunSaysWhatWasFirst(t *testing.T) {
	for range 500 {
		ctx, cancel := context.WithCancel(t.Context())
		c := New(Config{In: nopWriter{}, Out: io.NopCloser(strings.NewReader("")), Kind: Session, CallTimeout: time.Hour})
		over := make(chan struct{})
		go func() {
			defer close(over)
			<-c.Done()
			cancel()
		}()
		if err := c.Run(ctx); !errors.Is(err, errEnded) {
			t.Fatalf("it has ended by %v", err)
		}
		<-over
	}
}
