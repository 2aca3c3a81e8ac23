package stdio

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sallyport.dev/mcp"
)

// A command that is slow, silent or gone: each call learns what became of it.
func TestCommandFails(t *testing.T) {
	reason := func(t *testing.T, err error) string {
		var e *mcp.Error
		if !errors.As(err, &e) {
			t.Fatalf("got %v", err)
		}
		return e.Reason + " " + string(e.Delivered)
	}
	t.Run("never reads", func(t *testing.T) {
		inBubble(t, Session, func(r *rig) {
			ctx, cancel := context.WithTimeout(r.t.Context(), time.Second)
			defer cancel()
			first := r.post(ctx, call("1", ""))
			synctest.Wait()
			second := <-r.post(ctx, call("2", ""))
			if got := reason(t, second.err); got != "not_delivered no" {
				t.Errorf("the second call: %s", got)
			}
			if a := <-first; !errors.Is(a.err, context.DeadlineExceeded) {
				t.Errorf("the first call: %v", a.err)
			}
		})
	})
	t.Run("never answers", func(t *testing.T) {
		inBubble(t, Session, func(r *rig) {
			began := time.Now()
			done := r.post(r.t.Context(), call("1", ""))
			r.reads(call("1", ""))
			a := <-done // the head of a stream
			if took := time.Since(began); a.err != nil || took != beginAfter {
				t.Fatalf("the head came after %s: %v", took, a.err)
			}
			if got := body(t, a); !strings.Contains(got, "did not answer in time") || time.Since(began) != timeout {
				t.Errorf("got %q after %s", got, time.Since(began))
			}
			r.reads(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1,"reason":"no answer in time"}}`)
			r.writes(`{"jsonrpc":"2.0","id":1,"result":"late"}`)
			r.drops(1)
		})
	})
	t.Run("hangs, without sessions", func(t *testing.T) {
		for _, speaks := range []bool{false, true} {
			inBubble(t, Stateless, func(r *rig) {
				done := r.post(r.t.Context(), call("1", ""))
				r.reads(call("1", ""))
				if speaks {
					time.Sleep(time.Second)
					r.writes(`{"jsonrpc":"2.0","method":"notifications/message"}`)
				}
				if got := body(t, <-done); !strings.Contains(got, "did not answer in time") {
					t.Errorf("the call got %q", got)
				}
				synctest.Wait()
				if err := r.conn.Err(); (err == nil) != speaks || !speaks && !errors.Is(err, errSilent) {
					t.Errorf("it has spoken: %v, and the conversation ended with %v", speaks, err)
				}
			})
		}
	})
	t.Run("half a line, then the end", func(t *testing.T) {
		inBubble(t, Session, func(r *rig) {
			done := r.post(r.t.Context(), call("1", ""))
			r.reads(call("1", ""))
			if _, err := io.WriteString(r.out, `{"jsonrpc":"2.0","id":1,"result":{}}`); err != nil {
				t.Fatal(err)
			}
			_ = r.out.Close()
			if got := reason(t, (<-done).err); got != "outcome_unknown unknown" {
				t.Errorf("the call: %s", got)
			}
			<-r.conn.Done()
			if got := reason(t, (<-r.post(r.t.Context(), call("2", ""))).err); got != "not_delivered no" {
				t.Errorf("a call afterwards: %s", got)
			}
		})
	})
	t.Run("a line without an end", func(t *testing.T) {
		inBubble(t, Session, func(r *rig) {
			done := r.post(r.t.Context(), call("1", ""))
			r.reads(call("1", ""))
			go func() { _, _ = io.Copy(r.out, endless{}) }()
			if got := reason(t, (<-done).err); got != "outcome_unknown unknown" {
				t.Errorf("the call: %s", got)
			}
			if err := r.conn.Err(); !errors.Is(err, errLine) {
				t.Errorf("it ended with %v", err)
			}
		})
	})
	t.Run("nothing but noise", func(t *testing.T) {
		inBubble(t, Session, func(r *rig) {
			go func() {
				for range maxJunk {
					_, _ = io.WriteString(r.out, "noise\n")
				}
			}()
			<-r.conn.Done()
			if err := r.conn.Err(); !errors.Is(err, errJunk) {
				t.Errorf("it ended with %v", err)
			}
		})
	})
}

// endless is a line that never ends.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

// A command that floods waits for the agent, and no more than a bound of it is held.
func TestFloodWaitsForTheAgent(t *testing.T) {
	inBubble(t, Session, func(r *rig) {
		done := r.post(r.t.Context(), call("1", ""))
		r.reads(call("1", ""))
		synctest.Wait()
		flood := `{"jsonrpc":"2.0","method":"notifications/message","params":{"data":"` + strings.Repeat("x", 64<<10) + `"}}`
		written := make(chan int, 1)
		go func() {
			n := 0
			for n < 200 {
				if _, err := io.WriteString(r.out, flood+"\n"); err != nil {
					break
				}
				n++
			}
			_, _ = io.WriteString(r.out, `{"jsonrpc":"2.0","id":1,"result":1}`+"\n")
			written <- n
		}()
		a := <-done
		synctest.Wait()
		select {
		case n := <-written:
			t.Errorf("the command wrote %d messages without being held", n)
		default:
		}
		if got := body(t, a); strings.Count(got, "\n\n") != 201 {
			t.Errorf("the agent got %d events of 201", strings.Count(got, "\n\n"))
		}
	})
}

func TestLargestLine(t *testing.T) {
	inBubble(t, Session, func(r *rig) {
		head, tail := `{"jsonrpc":"2.0","id":1,"result":"`, `"}`
		text := strings.Repeat("x", maxLine-len(head)-len(tail)-1)
		done := r.post(r.t.Context(), call("1", ""))
		r.reads(call("1", ""))
		go func() { _, _ = io.WriteString(r.out, head+text+tail+"\n") }()
		if got := body(t, <-done); len(got) != maxLine-1 {
			t.Errorf("got %d bytes of %d", len(got), maxLine-1)
		}
	})
}

// An agent that has left before its stream is known leaves nothing behind.
func TestAgentLeavesAtOnce(t *testing.T) {
	for _, kind := range []Kind{Session, Stateless} {
		inBubble(t, kind, func(r *rig) {
			go func() { _, _ = io.Copy(io.Discard, r.in) }()
			ctx, leave := context.WithCancel(r.t.Context())
			leave()
			for range 100 {
				if a := <-r.post(ctx, call("1", "")); a.err == nil {
					t.Error("an agent that has left got an answer")
				}
				resp, err := r.conn.Listen(ctx, nil)
				if err != nil {
					t.Fatal(err)
				}
				_ = resp.Body.Close()
			}
			time.Sleep(2 * timeout) // the requests without an agent expire
			synctest.Wait()
			if r.conn.Busy() {
				t.Errorf("kind %d: streams of agents that have left are there: %d", kind, len(r.conn.streams))
			}
		})
	}
}

// When the command ends, a subscription ends too, and so does the wait for an agent that does not read.
func TestCommandEndsUnderItsStreams(t *testing.T) {
	inBubble(t, Stateless, func(r *rig) {
		done := r.post(r.t.Context(), `{"jsonrpc":"2.0","id":"sub","method":"subscriptions/listen"}`)
		r.reads(`{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen"}`)
		a := <-done
		_ = r.out.Close()
		if got := body(t, a); !strings.Contains(got, errEnded.Error()) {
			t.Errorf("the subscription got %q", got)
		}
		synctest.Wait()
		if r.conn.Busy() {
			t.Error("the subscription is still there")
		}
	})
	inBubble(t, Session, func(r *rig) {
		done := r.post(r.t.Context(), call("1", ""))
		r.reads(call("1", ""))
		note := `{"jsonrpc":"2.0","method":"notifications/message","params":{"data":"` + strings.Repeat("x", maxQueued-200) + `"}}`
		last := `{"jsonrpc":"2.0","id":1,"result":"` + strings.Repeat("y", 1000) + `"}`
		r.writes(note, last)
		_ = r.out.Close()
		<-r.conn.Done() // although the agent has read nothing
		if got := body(t, <-done); got != events(note, last) {
			t.Errorf("the agent got %d bytes", len(got))
		}
	})
}

// What the command has not got is as if it had not been sent; of what it may have got, nobody says that it was not.
func TestDeliveryIsHonest(t *testing.T) {
	refusal := func(t *testing.T, a answer) *mcp.Error {
		t.Helper()
		var e *mcp.Error
		if !errors.As(a.err, &e) {
			t.Fatalf("got %v", a.err)
		}
		return e
	}
	t.Run("half a line", func(t *testing.T) {
		inBubble(t, Session, func(r *rig) {
			ctx, cancel := context.WithTimeout(r.t.Context(), time.Second)
			defer cancel()
			done := r.post(ctx, call("1", ""))
			if _, err := r.in.Peek(1); err != nil { // it reads some of it, and then no more for long
				t.Fatal(err)
			}
			if e := refusal(t, <-done); e.Delivered != mcp.DeliveredUnknown || !errors.Is(e, context.DeadlineExceeded) {
				t.Errorf("delivered %s: %v", e.Delivered, e)
			}
		})
	})
	t.Run("no answer within a short patience", func(t *testing.T) {
		inBubble(t, Session, func(r *rig) {
			ctx, cancel := context.WithTimeout(r.t.Context(), time.Second)
			defer cancel()
			done := r.post(ctx, call("1", ""))
			r.reads(call("1", ""))
			if e := refusal(t, <-done); e.Delivered != mcp.DeliveredUnknown {
				t.Errorf("delivered %s: %v", e.Delivered, e)
			}
		})
	})
	t.Run("a reply and a cancellation that were not taken", func(t *testing.T) {
		inBubble(t, Session, func(r *rig) {
			done := r.post(r.t.Context(), call("1", ""))
			r.reads(call("1", ""))
			r.writes(`{"jsonrpc":"2.0","id":"q","method":"roots/list"}`)
			stuck := r.post(r.t.Context(), `{"jsonrpc":"2.0","method":"n"}`) // nobody reads it for now
			synctest.Wait()
			reply := `{"jsonrpc":"2.0","id":"q","result":{}}`
			cancelled := `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}`
			for _, text := range []string{reply, cancelled} {
				ctx, cancel := context.WithTimeout(r.t.Context(), time.Second)
				if e := refusal(t, <-r.post(ctx, text)); e.Delivered != mcp.DeliveredNo {
					t.Errorf("%s: delivered %s", text, e.Delivered)
				}
				cancel()
			}
			r.reads(`{"jsonrpc":"2.0","method":"n"}`)
			<-stuck
			again := r.post(r.t.Context(), reply)
			r.reads(reply)
			if a := <-again; a.err != nil {
				t.Errorf("the same reply again: %v", a.err)
			}
			r.writes(`{"jsonrpc":"2.0","id":1,"result":{}}`)
			if got := body(t, <-done); !strings.HasSuffix(got, events(`{"jsonrpc":"2.0","id":1,"result":{}}`)) {
				t.Errorf("the call got %q", got)
			}
		})
	})
	t.Run("a batch that is refused", func(t *testing.T) {
		inBubble(t, Session, func(r *rig) {
			done := r.post(r.t.Context(), call("1", ""))
			r.reads(call("1", ""))
			e := refusal(t, <-r.post(r.t.Context(), `[{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}},{"jsonrpc":"2.0","id":9,"result":{}}]`))
			if e.Reason != "invalid_request" {
				t.Errorf("got %v", e)
			}
			if got := body(t, <-done); !strings.Contains(got, "did not answer in time") { // it still has its end
				t.Errorf("the call got %q", got)
			}
		})
	})
}

// A command's requests that nobody can answer any more leave room for others.
func TestRequestsOfTheCommandMakeRoom(t *testing.T) {
	ask := func(id string) string { return `{"jsonrpc":"2.0","id":` + id + `,"method":"sampling/createMessage"}` }
	inBubble(t, Session, func(r *rig) {
		for range 2 * maxAsked { // it gives up on each
			r.writes(ask(`"a"`), `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"a"}}`)
		}
		synctest.Wait()
		if len(r.conn.asked) > 0 {
			t.Errorf("%d requests that it has cancelled wait", len(r.conn.asked))
		}
	})
	inBubble(t, Session, func(r *rig) {
		r.writes(ask(`"first"`))
		for range maxBacklog {
			r.writes(`{"jsonrpc":"2.0","method":"notifications/message"}`)
		}
		r.reads(`{"jsonrpc":"2.0","id":"first","error":{"code":-32601,"message":"no client listens"}}`)
		if len(r.conn.asked) > 0 {
			t.Error("a request that nobody will get waits")
		}
	})
	inBubble(t, Session, func(r *rig) { // a client writes the id anew
		r.writes(ask(`"\u00e9"`))
		synctest.Wait()
		reply := `{"jsonrpc":"2.0","id":"é","result":{}}`
		done := r.post(r.t.Context(), reply)
		r.reads(reply)
		if a := <-done; a.err != nil {
			t.Error(a.err)
		}
	})
}

// Over a command's output a subscription ends by notifications/cancelled, over HTTP by the end of its stream.
func TestCommandEndsASubscription(t *testing.T) {
	inBubble(t, Stateless, func(r *rig) {
		done := r.post(r.t.Context(), `{"jsonrpc":"2.0","id":2,"method":"subscriptions/listen"}`)
		r.reads(`{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen"}`)
		other := r.post(r.t.Context(), call("1", ""))
		r.reads(call("2", ""))
		end := func(id string) string {
			return `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":` + id + `,"_meta":{"io.modelcontextprotocol/subscriptionId":` + id + `}}}`
		}
		r.writes(end("2"), end("1"), `{"jsonrpc":"2.0","id":2,"result":{}}`)
		if got := body(t, <-done); got != "" {
			t.Errorf("the subscription got %q", got)
		}
		if got := body(t, <-other); got != `{"jsonrpc":"2.0","id":1,"result":{}}` {
			t.Errorf("the call got %q", got)
		}
		r.drops(1)
	})
}

// A command that reads nothing until it has written all is not waited for by whom it waits for: a call that it has not read
// takes no more of its messages than fit.
func TestFloodBeforeACallIsRead(t *testing.T) {
	inBubble(t, Session, func(r *rig) {
		first := r.post(r.t.Context(), call("1", ""))
		r.reads(call("1", ""))
		read := make(chan string, 1)
		go func() { read <- body(t, <-first) }()
		second := r.post(r.t.Context(), call("2", ""))
		synctest.Wait()
		began, flood := time.Now(), `{"jsonrpc":"2.0","method":"notifications/message","params":{"data":"`+strings.Repeat("x", 64<<10)+`"}}`
		for range 100 {
			r.writes(flood)
		}
		r.writes(`{"jsonrpc":"2.0","id":1,"result":1}`)
		r.reads(call("2", ""))
		r.writes(`{"jsonrpc":"2.0","id":2,"result":2}`)
		if got := strings.Count(<-read+body(t, <-second), "\n\n"); got != 102 {
			t.Errorf("the agent got %d events of 102", got)
		}
		if took := time.Since(began); took > beginAfter {
			t.Errorf("it took %s", took)
		}
	})
}

// Long answers to many calls wait for their agents within one bound, and none is lost.
func TestManyLongAnswers(t *testing.T) {
	const calls, size = 7, 4 << 20
	inBubble(t, Stateless, func(r *rig) {
		var done []<-chan answer
		for n := range calls {
			done = append(done, r.post(r.t.Context(), call("1", "")))
			r.reads(call(fmt.Sprint(n+1), ""))
		}
		written := make(chan bool)
		go func() {
			defer close(written)
			for n := range calls {
				_, _ = fmt.Fprintf(r.out, `{"jsonrpc":"2.0","id":%d,"result":"%s"}`+"\n", n+1, strings.Repeat("x", size))
			}
		}()
		synctest.Wait()
		select {
		case <-written:
			t.Error("all answers wait at once")
		default:
		}
		if held := r.conn.room.held; held > maxHeld+maxLine || held < maxHeld/2 {
			t.Errorf("%d bytes wait", held)
		}
		for n := range calls {
			if got := body(t, <-done[n]); len(got) < size || strings.Contains(got, "error") {
				t.Errorf("answer %d has %d bytes", n, len(got))
			}
		}
		<-written
		if synctest.Wait(); r.conn.room.held != 0 {
			t.Errorf("%d bytes still count", r.conn.room.held)
		}
	})
	inBubble(t, Stateless, func(r *rig) { // and its end is not waited for
		for n := range calls {
			r.post(r.t.Context(), call("1", ""))
			r.reads(call(fmt.Sprint(n+1), ""))
		}
		go func() {
			for n := range calls {
				_, _ = fmt.Fprintf(r.out, `{"jsonrpc":"2.0","id":%d,"result":"%s"}`+"\n", n+1, strings.Repeat("x", size))
			}
		}()
	})
}
