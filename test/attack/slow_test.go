package attack

import (
	"testing"
	"time"
)

// slowAttacks announce a body and let us wait for it.
func slowAttacks() []attack {
	timedOut := want{status: 408, code: -32600, reason: "request_timeout", check: func(t *testing.T, a answer, _ []received) {
		t.Helper()
		if a.took < 9*time.Second || a.took > 14*time.Second {
			t.Errorf("the answer came after %v, want 10 s", a.took)
		}
	}}
	slow := func(q request) request {
		q.target, q.stall = quietPath, true
		return q
	}
	expect := []field{{"Expect", "100-continue"}}
	return []attack{
		{id: "43", what: "Expect: 100-continue, then silence", send: slow(request{fields: expect, announced: "100", body: " "}), want: timedOut},
		{id: "43", what: "half a body, then silence", send: slow(request{announced: "100", body: `{"jsonrpc":`}), want: timedOut},
		{id: "43", what: "a chunk, then silence", over: []proto{h1}, send: slow(request{chunks: true}), want: timedOut},
		{id: "43", what: "a body without length and end", over: []proto{h2}, send: slow(request{}), want: timedOut},
	}
}
