package connector

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sallyport.dev/connector/pins"
	"sallyport.dev/policy"
)

// answering is an upstream that answers with what was stored last.
type answering struct{ handler atomic.Value }

func (a *answering) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	a.handler.Load().(http.HandlerFunc)(w, r)
}

func (a *answering) says(status int, media, text string) {
	a.handler.Store(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", media)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
	}))
}

const (
	modernTool  = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}`
	samples     = `{"jsonrpc":"2.0","id":77,"method":"sampling/createMessage","params":{"marker":1}}`
	answers1    = `{"jsonrpc":"2.0","id":1,"result":{"marker":1}}`
	takesStream = "application/json, text/event-stream"
)

func modernHead() http.Header {
	return http.Header{"Mcp-Protocol-Version": {"2026-07-28"}, "Mcp-Method": {"tools/call"}, "Mcp-Name": {"x"}, "Accept": {takesStream}}
}

// An answer in JSON is held to what one event may be, whatever the policy says.
func TestAnswersInJSON(t *testing.T) {
	old, batch := http.Header{"Mcp-Protocol-Version": {"2025-11-25"}}, http.Header{"Mcp-Protocol-Version": {"2025-03-26"}}
	two := "[" + tool(1, "x") + "," + tool(2, "x") + "]"
	long := func(text string) string {
		return strings.Replace(text, `"marker":1`, `"marker":1,"pad":"`+strings.Repeat("x", 200<<10)+`"`, 1)
	}
	last := func(text string) string { // the id behind 64 KiB
		return `{"jsonrpc":"2.0","result":{"pad":"` + strings.Repeat("x", 200<<10) + `"},` + text + `}`
	}
	const passes, refused, cut, dropped = "passes", "refused", "cut", "dropped"
	for name, change := range map[string]func(*Config){
		"open":  func(c *Config) { c.Policy = policy.Open() },
		"rules": rules(t, policy.Rule{Allow: true}), // but for what the server asks
	} {
		u := new(answering)
		_, call := serving(t, u, change)
		for what, test := range map[string]struct {
			body   string
			header http.Header
			status int
			media  string
			text   string
			want   string
		}{
			"a result":                    {tool(1, "x"), old, 200, "application/json", answers1, passes},
			"a long one":                  {tool(1, "x"), old, 200, "application/json", long(answers1), passes},
			"its id at the end":           {tool(1, "x"), old, 200, "application/json", last(`"id":1`), passes},
			"an error to nobody":          {tool(1, "x"), old, 200, "application/json", `{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":"marker"}}`, passes},
			"a batch":                     {two, batch, 200, "application/json", "[" + answers1 + `,{"jsonrpc":"2.0","id":2,"error":{"code":1,"message":"x"}}]`, passes},
			"a page":                      {tool(1, "x"), old, 500, "text/html", "<html>{marker}</html>", passes},
			"a text":                      {tool(1, "x"), old, 503, "text/plain", "marker", passes},
			"a problem":                   {tool(1, "x"), old, 404, "application/problem+json", `{"error":"marker"}`, passes},
			"an error that names no call": {tool(1, "x"), old, 400, "application/json", `{"jsonrpc":"2.0","id":"server-error","error":{"code":-32600,"message":"marker"}}`, passes},
			"nothing":                     {`{"jsonrpc":"2.0","method":"notifications/initialized"}`, old, 202, "text/plain", "marker", passes},

			"a request":                 {tool(1, "x"), old, 200, "application/json", samples, refused},
			"in a batch":                {two, batch, 200, "application/json", "[" + samples + "," + answers1 + "]", refused},
			"in an array":               {tool(1, "x"), old, 200, "application/json", "[" + samples + "," + answers1 + "]", refused},
			"in answer to a list":       {listTools, old, 200, "application/json", samples, refused},
			"in 2026-07-28":             {modernTool, modernHead(), 200, "application/json", samples, refused},
			"with another type":         {tool(1, "x"), old, 200, "text/plain", samples, refused},
			"as an event of no type":    {tool(1, "x"), old, 200, "text/plain", "data: " + samples + "\n\n", refused},
			"of no type":                {tool(1, "x"), old, 200, "", samples, refused},
			"with 202":                  {tool(1, "x"), old, 202, "application/json", samples, refused},
			"with 400":                  {tool(1, "x"), old, 400, "application/json", samples, refused},
			"to a notification":         {`{"jsonrpc":"2.0","method":"notifications/initialized"}`, old, 200, "application/json", samples, dropped},
			"a result to it":            {`{"jsonrpc":"2.0","method":"notifications/initialized"}`, old, 200, "application/json", answers1, dropped},
			"a failure of it":           {`{"jsonrpc":"2.0","method":"notifications/initialized"}`, old, 400, "application/json", samples, refused},
			"a long request":            {tool(1, "x"), old, 200, "application/json", long(samples), refused},
			"a notification":            {tool(1, "x"), old, 200, "application/json", `{"jsonrpc":"2.0","method":"notifications/message","params":{"marker":1}}`, refused},
			"an array in 2025-11-25":    {tool(1, "x"), old, 200, "application/json", "[" + answers1 + "]", refused},
			"another id":                {tool(1, "x"), old, 200, "application/json", strings.Replace(answers1, ":1,", ":7,", 1), refused},
			"a text for an id":          {tool(1, "x"), old, 200, "application/json", strings.Replace(answers1, ":1,", `:"1",`, 1), refused},
			"an error for another":      {tool(1, "x"), old, 200, "application/json", `{"jsonrpc":"2.0","id":"1","error":{"code":1,"message":"marker"}}`, refused},
			"a result for nobody":       {tool(1, "x"), old, 200, "application/json", strings.Replace(answers1, ":1,", ":null,", 1), refused},
			"a failed result":           {tool(1, "x"), old, 500, "application/json", strings.Replace(answers1, ":1,", ":7,", 1), refused},
			"two readings":              {tool(1, "x"), old, 200, "application/json", `{"jsonrpc":"2.0","id":1,"ID":7,"result":{"marker":1}}`, refused},
			"an escape":                 {tool(1, "x"), old, 200, "application/json", `{"jsonrpc":"2.0","id":1,"meth\u006fd":"ping","marker":1}`, refused},
			"another charset":           {tool(1, "x"), old, 200, "application/json; charset=shift_jis", answers1, refused},
			"half of it":                {tool(1, "x"), old, 200, "application/json", answers1[:len(answers1)-1], refused},
			"a request behind 64 KiB":   {tool(1, "x"), old, 200, "application/json", strings.Replace(last(`"id":77,"method":"ping"`), "result", "params", 1), cut},
			"another id behind 64 KiB":  {tool(1, "x"), old, 200, "application/json", last(`"id":7`), cut},
			"no end behind 64 KiB":      {tool(1, "x"), old, 200, "application/json", long(answers1)[:210<<10-10<<10], cut},
			"a second one behind":       {tool(1, "x"), old, 200, "application/json", long(answers1) + samples, cut},
			"in a batch, behind 64 KiB": {two, batch, 200, "application/json", "[" + long(answers1) + "," + samples + "]", cut},
		} {
			u.says(test.status, test.media, test.text)
			a := call(http.MethodPost, test.body, test.header)
			got := passes
			switch {
			case a.err != nil && a.StatusCode == 200 && !strings.Contains(a.body, "sampling"):
				got = cut
			case a.StatusCode == 502 && reasonOf(a.body) == "upstream_invalid" && !strings.Contains(a.body, "marker"):
				got = refused
			case a.StatusCode == test.status && a.body == "" && a.err == nil && a.Header.Get("Content-Type") == "":
				got = dropped
			case a.StatusCode != test.status || a.body != test.text:
				got = "something else"
			}
			if got != test.want {
				t.Errorf("%s, %s: %s, not %s: %d %v %.300s", name, what, got, test.want, a.StatusCode, a.err, a.body)
			}
		}
	}
}

// A list in the answer to another call, or under another id, is no way around the filter and the pins.
func TestForeignListsAreRefused(t *testing.T) {
	u := new(answering)
	rule := rules(t, policy.Rule{When: `mcp.tool == "read"`, Allow: true})
	r, call := serving(t, u, func(c *Config) {
		rule(c)
		c.StateDir = t.TempDir()
		s := c.Servers["wiki"]
		s.Pins = pins.Quarantine
		c.Servers["wiki"] = s
	})
	list := func(text string) string {
		return fmt.Sprintf(`{"jsonrpc":"2.0","id":7,"result":{"tools":[{"name":"read","description":%q,"inputSchema":{"type":"object"}}]}}`, text)
	}
	u.says(200, "application/json", list("good"))
	if a := call(http.MethodPost, listTools, nil); a.StatusCode != 200 {
		t.Fatalf("%d %s", a.StatusCode, a.body)
	}
	for name, text := range map[string]string{
		"alone":       list("evil"),
		"in an array": `[{"jsonrpc":"2.0","id":1,"result":{}},` + list("evil") + `]`,
	} {
		for media, text := range map[string]string{"application/json": text, "text/event-stream": "data: " + text + "\n\n"} {
			u.says(200, media, text)
			if a := call(http.MethodPost, tool(1, "read"), nil); strings.Contains(a.body, "evil") || reasonOf(a.body) != "upstream_invalid" {
				t.Errorf("%s as %s: %d %s", name, media, a.StatusCode, a.body)
			}
		}
	}
	if state := r.pins.Status("wiki", "read"); state != pins.Pinned {
		t.Errorf("the tool is %s", state)
	}
}

// No form of an id is a way around a decision service.
func TestIDsDoNotEvadeChecks(t *testing.T) {
	var asked atomic.Int64
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		_, _ = io.WriteString(w, `{"result":false}`)
	}))
	defer service.Close()
	u := new(answering)
	_, call := serving(t, u, rules(t, policy.Rule{When: `mcp.tool == "query"`, Allow: true, Check: &policy.Check{URL: service.URL, Timeout: time.Second, Result: true}}))
	for name, test := range map[string]struct {
		status int
		text   string
		asked  bool
	}{
		"a result":                {200, answers1, true},
		"an error":                {200, `{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"marker"}}`, true},
		"the number otherwise":    {200, `{"jsonrpc":"2.0","id":1.0,"error":{"code":1,"message":"marker"}}`, true},
		"an error to nobody":      {200, `{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":"marker"}}`, true},
		"an error to a text":      {200, `{"jsonrpc":"2.0","id":"1","error":{"code":1,"message":"marker"}}`, false},
		"a result to a text":      {200, `{"jsonrpc":"2.0","id":"1","result":{"marker":1}}`, false},
		"a failure to a text":     {400, `{"jsonrpc":"2.0","id":"1","error":{"code":1,"message":"marker"}}`, true},
		"a failure to nobody":     {400, `{"jsonrpc":"2.0","error":{"code":1,"message":"marker"}}`, false},
		"a failure of other form": {400, `{"error":"marker"}`, false},
	} {
		for media, text := range map[string]string{"application/json": test.text, "text/event-stream": "data: " + test.text + "\n\n"} {
			before := asked.Load()
			u.says(test.status, media, text)
			a := call(http.MethodPost, tool(1, "query"), nil)
			if strings.Contains(a.body, "marker") || media == "application/json" && (asked.Load() > before) != test.asked {
				t.Errorf("%s as %s: asked %v, %d %s", name, media, asked.Load() > before, a.StatusCode, a.body)
			}
		}
	}
}

// An error that has the client visit a URL asks as a request does, entry by entry.
func TestErrorsThatAsk(t *testing.T) {
	u := new(answering)
	r, call := serving(t, u, rules(t, policy.Rule{Allow: true},
		policy.Rule{FromServer: true, When: `mcp.method == "elicitation/create" && mcp.params.url.startsWith("https://good.example/")`, Allow: true}))
	asks := func(elicitations string) string {
		return `{"jsonrpc":"2.0","id":1,"error":{"code":-32042,"message":"marker","data":{"elicitations":` + elicitations + `}}}`
	}
	const good, evil = `{"mode":"url","elicitationId":"a","url":"https://good.example/x","message":"elicitations"}`, `{"mode":"url","elicitationId":"b","url":"https://evil.example/x","message":"x"}`
	pad := `"pad":"` + strings.Repeat("x", 70<<10) + `",`
	for name, test := range map[string]struct {
		text string
		ok   bool
	}{
		"what is allowed":     {asks("[" + good + "," + good + "]"), true},
		"none":                {asks("[]"), true},
		"another error":       {`{"jsonrpc":"2.0","id":1,"error":{"code":-1,"message":"marker","data":["elicitations"]}}`, true},
		"a long error":        {`{"jsonrpc":"2.0","id":1,"error":{"code":-1,"message":"marker","data":{` + pad + `"x":1}}}`, true},
		"in a result":         {`{"jsonrpc":"2.0","id":1,"result":{"marker":1,"data":{"elicitations":[` + evil + `]}}}`, true},
		"another URL":         {asks("[" + evil + "]"), false},
		"one of two":          {asks("[" + good + "," + evil + "]"), false},
		"of another code":     {strings.Replace(asks("["+evil+"]"), "-32042", "-32041.5e1", 1), false},
		"no array":            {asks(evil), false},
		"no object":           {asks(`["https://evil.example/"]`), false},
		"a URL twice":         {asks("[" + strings.Replace(good, `"mode"`, `"url":"https://evil.example/","mode"`, 1) + "]"), false},
		"in another case":     {strings.Replace(asks("["+evil+"]"), `"elicitations"`, `"Elicitations"`, 1), false},
		"with an escape":      {strings.Replace(asks("["+evil+"]"), `"elicitations"`, `"elicit\u0061tions"`, 1), false},
		"data in another":     {strings.Replace(asks("["+evil+"]"), `"data"`, `"Data"`, 1), false},
		"twice":               {strings.Replace(asks("["+good+"]"), `"elicitations"`, `"elicitations":[`+evil+`],"elicitations"`, 1), false},
		"more than is held":   {strings.Replace(asks("["+good+"]"), `"elicitations"`, pad+`"elicitations"`, 1), false},
		"longer than is held": {asks("[" + strings.Replace(good, `"mode"`, pad+`"mode"`, 1) + "]"), false},
	} {
		for _, status := range []int{200, 400} {
			for media, text := range map[string]string{"application/json": test.text, "text/event-stream": "data: " + test.text + "\n\n"} {
				for _, header := range []http.Header{{"Mcp-Session-Id": {"s"}, "Accept": {takesStream}}, modernHead()} {
					body := tool(1, "x")
					if header["Mcp-Method"] != nil {
						body = modernTool
					}
					u.says(status, media, text)
					a := call(http.MethodPost, body, header)
					whole := a.err == nil && strings.Contains(a.body, "marker") && strings.HasSuffix(strings.TrimSpace(a.body), "}")
					if whole != test.ok {
						t.Errorf("%s as %s, %d: %d, %v, %.300s", name, media, status, a.StatusCode, a.err, a.body)
					}
					if !test.ok && a.err == nil && reasonOf(a.body) != "result_denied" {
						t.Errorf("%s as %s, %d: %d %.300s", name, media, status, a.StatusCode, a.body)
					}
				}
			}
		}
	}
	lines := "data: " + strings.Replace(asks("["+good+"]"), `,"error"`, ",\ndata: \"error\"", 1) + "\n\n"
	u.says(200, "text/event-stream", lines)
	if a := call(http.MethodPost, tool(1, "x"), nil); reasonOf(a.body) != "result_denied" || strings.Contains(a.body, "marker") {
		t.Errorf("over several lines: %d %s", a.StatusCode, a.body)
	}
	if strings.Contains(r.log.String(), "evil.example") {
		t.Error("the log has a URL")
	}
	_, call = serving(t, u, func(c *Config) { c.Policy = policy.Open() })
	if a := call(http.MethodPost, tool(1, "x"), nil); !strings.Contains(a.body, "marker") {
		t.Errorf("with an open policy: %d %s", a.StatusCode, a.body)
	}
}
