package connector

import (
	"errors"
	"net/url"
	"strings"
	"testing"

	"sallyport.dev/mcp"
)

// callOf is a call as the inspection hands it on.
func callOf(t *testing.T, endpoint mcp.Endpoint, version mcp.Version, body string) *mcp.Call {
	t.Helper()
	call := &mcp.Call{Endpoint: endpoint, Version: version}
	if body == "" {
		return call
	}
	var err error
	if call.Messages, call.Batch, err = mcp.Parse([]byte(body)); err != nil {
		t.Fatal(err)
	}
	return call
}

// TestAnswerKeepsToTheProtocol: what an upstream may say on a stream, and where the stream ends instead.
func TestAnswerKeepsToTheProtocol(t *testing.T) {
	const (
		seven   = `{"jsonrpc":"2.0","id":7,"method":"tools/call"}`
		answer7 = `data: {"jsonrpc":"2.0","id":7,"result":{}}` + "\n\n"
		sample  = `data: {"jsonrpc":"2.0","id":1,"method":"sampling/createMessage"}` + "\n\n"
		place   = "event: endpoint\ndata: /x\n\n"
	)
	for name, test := range map[string]struct {
		endpoint mcp.Endpoint
		version  mcp.Version
		body     string // none: GET
		resumed  bool
		stream   string
		refused  string // what of the stream must not pass; "" if all does
	}{
		"a response":                           {version: mcp.V20251125, body: seven, stream: notification + answer7},
		"a response in 2026-07-28":             {version: mcp.V20260728, body: seven, stream: notification + answer7},
		"an error":                             {version: mcp.V20251125, body: seven, stream: `data: {"jsonrpc":"2.0","id":7,"error":{}}` + "\n\n"},
		"an error that answers nothing":        {version: mcp.V20251125, body: seven, stream: `data: {"jsonrpc":"2.0","id":null,"error":{}}` + "\n\n"},
		"an id spelled otherwise":              {version: mcp.V20251125, body: `{"jsonrpc":"2.0","id":"caf\u00e9","method":"ping"}`, stream: `data: {"id":"café","result":1}` + "\n\n"},
		"a rounded id":                         {version: mcp.V20251125, body: `{"jsonrpc":"2.0","id":9007199254740993,"method":"ping"}`, stream: `data: {"id":9007199254740992,"result":1}` + "\n\n"},
		"a response to another id":             {version: mcp.V20251125, body: seven, stream: `data: {"id":8,"result":{}}` + "\n\n", refused: `"id":8`},
		"a string for a number":                {version: mcp.V20251125, body: seven, stream: `data: {"id":"7","result":{}}` + "\n\n", refused: `"id"`},
		"two responses":                        {version: mcp.V20251125, body: seven, stream: answer7 + `data: {"id":7,"result":"again"}` + "\n\n", refused: "again"},
		"a response to a notification":         {version: mcp.V20251125, body: `{"jsonrpc":"2.0","method":"notifications/x"}`, stream: answer7, refused: "result"},
		"a response and one more in its event": {version: mcp.V20250326, body: seven, stream: `data: [{"id":7,"result":{}},{"id":7,"result":{}}]` + "\n\n", refused: "result"},
		"a batch of responses":                 {version: mcp.V20250326, body: `[` + seven + `,{"jsonrpc":"2.0","id":"b","method":"ping"}]`, stream: `data: [{"id":"b","result":{}},{"id":7,"result":{}}]` + "\n\n"},
		"responses to a batch, one by one":     {version: mcp.V20250326, body: `[` + seven + `,{"jsonrpc":"2.0","id":"b","method":"ping"}]`, stream: answer7 + notification + `data: {"id":"b","error":{}}` + "\n\n"},
		"a batch in 2025-06-18":                {version: mcp.V20250618, body: seven, stream: `data: [{"id":7,"result":{}}]` + "\n\n", refused: "result"},
		"a notification behind the response":   {version: mcp.V20251125, body: seven, stream: answer7 + notification},
		"the same in 2026-07-28":               {version: mcp.V20260728, body: seven, stream: answer7 + notification, refused: "notifications/message"},
		"a request behind the response":        {version: mcp.V20251125, body: seven, stream: answer7 + sample, refused: "sampling"},
		"a comment and an id behind it":        {version: mcp.V20251125, body: seven, stream: answer7 + ": bye\n\nid: 9\n\n"},
		"a request to the client":              {version: mcp.V20251125, body: seven, stream: sample + answer7},
		"the same in 2026-07-28, twice":        {version: mcp.V20260728, body: seven, stream: sample, refused: "sampling"},
		"an event id":                          {version: mcp.V20251125, body: seven, stream: "id: 1\ndata:\n\n" + answer7},
		"an event id in 2026-07-28":            {version: mcp.V20260728, body: seven, stream: "id: 1\n" + answer7, refused: "id: 1"},
		"a retry":                              {version: mcp.V20251125, body: seven, stream: "retry: 10\n\n" + answer7},
		"a retry of 0":                         {version: mcp.V20251125, body: seven, stream: "retry: 000\n\n", refused: "retry"},
		"an endpoint event":                    {version: mcp.V20251125, body: seven, stream: notification + place, refused: "endpoint"},
		"an endpoint event in 2026-07-28":      {version: mcp.V20260728, body: seven, stream: "event: endpoint\n" + answer7, refused: "endpoint"},
		"an endpoint event on a GET":           {version: mcp.V20251125, stream: place, refused: "endpoint"},
		"an event of another name":             {version: mcp.V20251125, body: seven, stream: "event: ping\ndata: 12:00\n\n" + answer7},
		"a response under another name":        {version: mcp.V20251125, body: seven, stream: "event: ping\ndata: {\"id\":8,\"result\":1}\n\n", refused: "result"},
		"data that is no JSON":                 {version: mcp.V20251125, body: seven, stream: notification + "data: hello\n\n", refused: "hello"},
		"data that is no message":              {version: mcp.V20251125, body: seven, stream: "data: {\"a\":1}\n\n", refused: `"a"`},
		"two messages in one event":            {version: mcp.V20251125, body: seven, stream: "data: {\"method\":\"a\"}\ndata: {\"method\":\"b\"}\n\n", refused: "method"},
		"an id twice in a message":             {version: mcp.V20251125, body: seven, stream: "data: {\"id\":7,\"id\":8,\"result\":1}\n\n", refused: "result"},
		"an id in another case":                {version: mcp.V20251125, body: seven, stream: "data: {\"id\":7,\"ID\":8,\"result\":1}\n\n", refused: "result"},
		"a message cut by a line end":          {version: mcp.V20251125, body: seven, stream: "data: {\"id\":7,\"result\":\"a\ndata: b\"}\n\n"}, // a line end in a string is no JSON; a reader of the protocol says so itself
		"a CR in data":                         {version: mcp.V20251125, body: seven, stream: "data: {\"id\":7,\r\"result\":{}}\n\n", refused: "result"},
		"a CR that ends lines":                 {version: mcp.V20251125, body: seven, stream: "data: {\"method\":\"a\"}\r\rdata: {\"method\":\"b\"}\r\r", refused: "method"},
		"a message that only LF shows":         {version: mcp.V20251125, body: seven, stream: "data:\r\r{\"id\":8,\"result\":1}\n\n", refused: "result"},
		"a name that only CR shows":            {version: mcp.V20251125, body: seven, stream: ": a\revent: ping\ndata: {\"id\":8,\r\"result\":1}\n\n", refused: "ping"},
		"an endpoint that only LF shows":       {endpoint: mcp.EndpointSSE, version: mcp.V20241105, stream: place + "event: endpoint\n: a\revent: ping\ndata: http://evil.example/\n\n", refused: "evil"},
		"an endpoint to readers that trim":     {endpoint: mcp.EndpointSSE, version: mcp.V20241105, stream: place + "event:\tendpoint \ndata: http://evil.example/\n\n", refused: "evil"},
		"an endpoint in capitals":              {version: mcp.V20251125, body: seven, stream: "event: Endpoint\ndata: /evil\n\n", refused: "evil"},
		"an endpoint behind 64 spaces":         {version: mcp.V20251125, body: seven, stream: "event: " + strings.Repeat(" ", 70) + "endpoint\ndata: /evil\n\n", refused: "evil"},
		"a lookalike under another name":       {version: mcp.V20251125, body: seven, stream: "event: ping\ndata: {\"id\":8,\"result\":1,\"Result\":2}\n\n", refused: "result"},
		"a message behind a no-break space":    {version: mcp.V20251125, body: seven, stream: "event: ping\ndata: \u00a0{\"id\":8,\"result\":1}\n\n", refused: "result"},
		"an object under another name":         {version: mcp.V20251125, body: seven, stream: "event: ping\ndata: {\"time\":{\"result\":1},\"id\":1}\n\n" + answer7},
		"a retry of 0 to readers that trim":    {version: mcp.V20251125, body: seven, stream: "retry:  0 \n\n", refused: "retry"},
		"a retry of 0 and another":             {version: mcp.V20251125, body: seven, stream: "retry: 0\nretry: x\n\n", refused: "retry"},
		"a message with a line behind it":      {version: mcp.V20251125, body: seven, stream: "data: {\"method\":\"a\"}\rdata: {\"id\":8,\"result\":1}\n\n", refused: "result"},
		"no end, and a response to another id": {version: mcp.V20251125, body: seven, stream: `data: {"id":8,"result":{}}`, refused: "result"},
		"a GET's notification and request":     {version: mcp.V20251125, stream: notification + sample},
		"a response on a GET":                  {version: mcp.V20251125, stream: notification + answer7, refused: "result"},
		"a response on a GET that resumes":     {version: mcp.V20251125, resumed: true, stream: notification + answer7},
		"HTTP+SSE":                             {endpoint: mcp.EndpointSSE, version: mcp.V20241105, stream: place + answer7 + sample + notification + answer7},
		"HTTP+SSE, comments first":             {endpoint: mcp.EndpointSSE, version: mcp.V20241105, stream: ": hi\n\nretry: 5\n\n" + place},
		"HTTP+SSE, a message first":            {endpoint: mcp.EndpointSSE, version: mcp.V20241105, stream: notification, refused: "notifications"},
		"HTTP+SSE, a second endpoint":          {endpoint: mcp.EndpointSSE, version: mcp.V20241105, stream: place + notification + place, refused: "/x"},
		"HTTP+SSE, an endpoint without data":   {endpoint: mcp.EndpointSSE, version: mcp.V20241105, stream: "event: endpoint\n\n", refused: "endpoint"},
	} {
		t.Run(name, func(t *testing.T) {
			if test.endpoint == "" {
				test.endpoint = mcp.EndpointMCP
			}
			var put func([]byte) ([]byte, *url.URL, error)
			if test.endpoint == mcp.EndpointSSE {
				put = func(data []byte) ([]byte, *url.URL, error) {
					if len(data) == 0 {
						return nil, nil, errAnswer
					}
					return []byte("/placed"), nil, nil
				}
			}
			want := strings.Replace(test.stream, "data: /x\n", "data: /placed\n", 1)
			for _, size := range []int{1, 7, len(test.stream)} {
				a := newAnswer(callOf(t, test.endpoint, test.version, test.body), test.resumed, put)
				var out strings.Builder
				var err error
				for rest := test.stream; err == nil && rest != ""; {
					n := min(size, len(rest))
					var passed []byte
					passed, err = a.Write([]byte(rest[:n]))
					out.Write(passed)
					rest = rest[n:]
				}
				if err == nil {
					var passed []byte
					passed, err = a.End()
					out.Write(passed)
				}
				switch {
				case test.refused == "" && (err != nil || out.String() != want):
					t.Errorf("pieces of %d: %v, passed %q", size, err, out.String())
				case test.refused == "":
				case !errors.Is(err, errAnswer) && !errors.Is(err, mcp.ErrEventStream), strings.HasSuffix(out.String(), test.refused), !strings.HasPrefix(want, out.String()):
					t.Errorf("pieces of %d: %v, passed %q", size, err, out.String())
				case strings.Contains(strings.TrimPrefix(out.String(), strings.TrimSuffix(want, want[strings.LastIndex(want, test.refused):])), test.refused):
					t.Errorf("pieces of %d: passed %q", size, out.String())
				}
			}
		})
	}
}

// TestAHugeEventIsCut: its bytes pass as they come, up to the limit, and the agent never gets its end.
func TestAHugeEventIsCut(t *testing.T) {
	a := newAnswer(callOf(t, mcp.EndpointMCP, mcp.V20251125, `{"jsonrpc":"2.0","id":7,"method":"tools/call"}`), false, nil)
	piece := []byte(strings.Repeat("x", 1<<20))
	passed := 0
	out, err := a.Write([]byte(`data: {"id":7,"result":"`))
	for err == nil && passed < 100<<20 {
		passed += len(out)
		out, err = a.Write(piece)
	}
	if !errors.Is(err, mcp.ErrEventStream) || passed > 65<<20 || a.repairable() {
		t.Errorf("%d bytes passed, %v", passed, err)
	}
}

// TestALongForeignResponseIsNeverWhole: what is too long to hold passes, but its end does not.
func TestALongForeignResponseIsNeverWhole(t *testing.T) {
	for _, tail := range []string{`","id":8}` + "\n\n", `","id":8}`} {
		a := newAnswer(callOf(t, mcp.EndpointMCP, mcp.V20251125, `{"jsonrpc":"2.0","id":7,"method":"tools/call"}`), false, nil)
		out, err := a.Write([]byte(`data: {"result":"` + strings.Repeat("x", 100<<10)))
		if err != nil || len(out) < 100<<10 {
			t.Fatalf("%d bytes passed, %v", len(out), err)
		}
		out, err = a.Write([]byte(tail))
		if err == nil {
			_, err = a.End()
		}
		if !errors.Is(err, errAnswer) || strings.Contains(string(out), "\n\n") || a.repairable() {
			t.Errorf("%q passed, %v", out, err)
		}
	}
}

// TestBetweenEvents: where a stream that stops may be ended or repaired, and where what was judged has not passed yet.
func TestBetweenEvents(t *testing.T) {
	const answer7 = `data: {"id":7,"result":{}}` + "\n\n"
	long := ": " + strings.Repeat("x", 100<<10)
	for name, test := range map[string]struct {
		stream           string
		between, waiting bool
	}{
		"nothing":                     {"", true, true},
		"half an event":               {answer7[:10], true, true},
		"an event":                    {answer7, true, false},
		"an event but for its LF":     {strings.ReplaceAll(answer7, "\n", "\r\n")[:len(answer7)+1], false, false}, // judged, and not passed
		"an event of CR LF":           {strings.ReplaceAll(answer7, "\n", "\r\n"), true, false},
		"a long comment":              {long, false, true},
		"a long comment with its end": {long + "\n", true, true},
		"an event behind that":        {long + "\r\n" + answer7, true, false},
		"half an event behind that":   {long + "\n" + answer7[:10], true, true},
	} {
		a := newAnswer(callOf(t, mcp.EndpointMCP, mcp.V20251125, `{"jsonrpc":"2.0","id":7,"method":"tools/call"}`), false, nil)
		for i := range len(test.stream) {
			if _, err := a.Write([]byte(test.stream[i : i+1])); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		if a.Between() != test.between || a.pending.Done() == test.waiting {
			t.Errorf("%s: between %v, done %v", name, a.Between(), a.pending.Done())
		}
	}
}

// On HTTP+SSE's stream, too, an error takes the place of a response that is too long, or asks what may not be asked.
func TestAResponseIsReplaced(t *testing.T) {
	asks := `{"jsonrpc":"2.0","id":"a","error":{"code":-32042,"message":"x","data":{"elicitations":[{"mode":"url","url":"https://evil.example/"}]}}}`
	for text, reason := range map[string]string{
		`{"jsonrpc":"2.0","id":"a","result":"` + strings.Repeat("x", 300) + `"}`: "result_too_large",
		asks: "result_denied",
	} {
		a := newAnswer(callOf(t, mcp.EndpointSSE, mcp.V20241105, ""), false, nil)
		var denied *mcp.Error
		a.Elicits, a.maxResult, a.requestID, a.denied = true, 200, "r1", func(e *mcp.Error) { denied = e }
		a.mayAsk = func(*mcp.Message, bool) bool { return false }
		out, err := a.Write([]byte("data: " + text + "\n\n" + notification))
		if err != nil || denied == nil || denied.Reason != reason || !strings.HasPrefix(string(out), `data: {"jsonrpc":"2.0","id":"a","error":{`) || reasonOf(string(out)) != reason || !strings.HasSuffix(string(out), "\n\n"+notification) {
			t.Errorf("%v %v %s", err, denied, out)
		}
	}
}
