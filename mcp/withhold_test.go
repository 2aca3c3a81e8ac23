package mcp

import (
	"errors"
	"strings"
	"testing"
)

// A withheld event leaves a comment; what is around it passes unchanged, however the stream is cut.
func TestWithhold(t *testing.T) {
	for stream, want := range map[string]string{
		"data: {\"id\":1,\"method\":\"x\"}\n\ndata: {\"method\":\"y\"}\n\n":                             ":\ndata: {\"method\":\"y\"}\n\n",
		"data: {\"method\":\"y\"}\r\n\r\nid: 7\r\ndata: {\"id\":1,\"method\":\"x\"}\r\n\r\n: z\r\n\r\n": "data: {\"method\":\"y\"}\r\n\r\n:\r\n: z\r\n\r\n",
		"data: {\"id\":1,\ndata: \"method\":\"x\"}\n\n":                                                 ":\n",
		"data: {\"id\":1,\"method\":\"x\"}":                                                             ":",
	} {
		for size := 1; size <= len(stream); size++ {
			f := EventFilter{Judge: func(e *Event) error {
				for i := range e.Messages {
					if e.Messages[i].Kind == Request {
						e.Withhold()
					}
				}
				return nil
			}}
			var out strings.Builder
			for rest := stream; rest != ""; {
				n := min(size, len(rest))
				passed, err := f.Write([]byte(rest[:n]))
				if err != nil {
					t.Fatal(err)
				}
				out.Write(passed)
				rest = rest[n:]
			}
			passed, err := f.End()
			if err != nil {
				t.Fatal(err)
			}
			out.Write(passed)
			if out.String() != want {
				t.Errorf("%q in pieces of %d gives %q, want %q", stream, size, out.String(), want)
			}
		}
	}
	long := EventFilter{Judge: func(e *Event) error { e.Withhold(); return nil }}
	if _, err := long.Write([]byte("data: {\"id\":1,\"method\":\"x\",\"params\":\"" + strings.Repeat("x", 70<<10))); err != nil {
		t.Fatal(err)
	}
	passed, err := long.Write([]byte("\"}\n\n"))
	if !errors.Is(err, ErrEventStream) || strings.HasSuffix(string(passed), "\n\n") {
		t.Errorf("an event that has passed in part: %v, %q", err, passed)
	}
}
