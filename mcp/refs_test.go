package mcp

import (
	"bytes"
	"strings"
	"testing"
)

func TestReadRefs(t *testing.T) {
	for _, c := range []struct {
		msg                             string
		kind                            Kind
		id, meta, token, request, subsc string
		code                            int
	}{
		{msg: `{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"_meta":{"progressToken":"a"},"arguments":{"id":1,"_meta":{"progressToken":3}}}}`, kind: Request, id: `7`, meta: `"a"`},
		{msg: ` {"jsonrpc" : "2.0" , "id" : "x\"y" , "result" : {"_meta" : {"io.modelcontextprotocol/subscriptionId" : 12 } } } `, kind: Response, id: `"x\"y"`, subsc: `12`},
		{msg: `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":5,"progress":1}}`, kind: Notification, token: `5`},
		{msg: `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"q","reason":"r"}}`, kind: Notification, request: `"q"`},
		{msg: `{"jsonrpc":"2.0","method":"n","params":{"_meta":{"progress\u0054oken":9,"io.modelcontextprotocol\/subscriptionId":"s"}}}`, kind: Notification, meta: `9`, subsc: `"s"`},
		{msg: `{"error":{"message":"m","code":-32601},"id":1,"jsonrpc":"2.0"}`, kind: Response, id: `1`, code: -32601},
		{msg: `{"jsonrpc":"2.0","id":1,"result":{"a":1,"a":2}}`, kind: Response, id: `1`},
		{msg: `{"jsonrpc":"2.0","id":1,"result":"text"}`, kind: Response, id: `1`},
		{msg: "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"t\":\"\xff\"}}", kind: Response, id: `1`},
	} {
		r, err := ReadRefs([]byte(c.msg))
		if err != nil {
			t.Errorf("%s: %v", c.msg, err)
			continue
		}
		of := func(s Span) string { return string(s.Of([]byte(c.msg))) }
		if r.Kind != c.kind || of(r.ID) != c.id || of(r.MetaToken) != c.meta || of(r.Token) != c.token || of(r.RequestID) != c.request || of(r.Subscription) != c.subsc || r.Code != c.code {
			t.Errorf("%s: read as %+v", c.msg, r)
		}
	}
	for _, msg := range []string{
		``, `hello`, `[]`, `1`, `{`, `{}`, `{"jsonrpc":"2.0"}`, `{"jsonrpc":"1.0","id":1,"result":1}`, `{"id":1,"result":1}`,
		`{"jsonrpc":"2.0","id":1,"id":2,"result":1}`, `{"jsonrpc":"2.0","id":1,"Id":2,"result":1}`, `{"jsonrpc":"2.0","id":[1],"result":1}`,
		`{"jsonrpc":"2.0","id":1,"result":1,"error":{}}`, `{"jsonrpc":"2.0","id":1,"method":"m","result":1}`, `{"jsonrpc":"2.0","result":1}`,
		`{"jsonrpc":"2.0","id":1,"result":1} {"jsonrpc":"2.0","id":1,"result":1}`, `{"jsonrpc":"2.0","id":1,"result":1`,
		`{"jsonrpc":"2.0","method":"n","params":{"progressToken":1,"progressToken":2}}`, `{"jsonrpc":"2.0","id":1,"result":01}`,
		`{"jsonrpc":"2.0","method":"n","params":{"progressToken":1},"params":{}}`, `{"jsonrpc":"2.0","id":null,"method":"m"}`, `{"jsonrpc":"2.0","id":true,"method":"m"}`,
		`{"jsonrpc":"2.0","method":"n","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":1},"_meta":{}}}`,
		`{"jsonrpc":"2.0","id":"` + strings.Repeat("x", 300) + `","result":1}`,
	} {
		if r, err := ReadRefs([]byte(msg)); err == nil {
			t.Errorf("%.80s was read as %+v", msg, r)
		}
	}
}

func TestElements(t *testing.T) {
	all, err := Elements([]byte(` [ {"a":[1,2]} ,{"b":1}]`))
	if err != nil || len(all) != 2 || string(all[0]) != `{"a":[1,2]}` || string(all[1]) != `{"b":1}` {
		t.Errorf("got %q, %v", all, err)
	}
	if one, err := Elements([]byte(` {"a":1}`)); err != nil || len(one) != 1 {
		t.Errorf("got %q, %v", one, err)
	}
	if _, err := Elements([]byte(`[{"a":1`)); err == nil {
		t.Error("half a batch was read")
	}
}

func TestSplice(t *testing.T) {
	msg := []byte(`{"id":1,"t":"x"}`)
	got := Splice(msg, Edit{Span{12, 15}, []byte(`42`)}, Edit{Span{6, 7}, []byte(`"abc"`)})
	if string(got) != `{"id":"abc","t":42}` || string(msg) != `{"id":1,"t":"x"}` {
		t.Errorf("got %s, the message is now %s", got, msg)
	}
}

// FuzzReadRefs: what is read of a message that the strict parser accepts is what that one reads, and an edited id leaves
// a message that says the same otherwise.
func FuzzReadRefs(f *testing.F) {
	f.Add([]byte(`{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"_meta":{"progressToken":"a"}}}`))
	f.Add([]byte(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}`))
	f.Add([]byte(`{"jsonrpc":"2.0","id":"a","error":{"code":-32601}}`))
	f.Fuzz(func(t *testing.T, msg []byte) {
		r, err := ReadRefs(msg)
		parsed, batch, strict := Parse(msg)
		if strict == nil && !batch && len(parsed) == 1 {
			m := parsed[0]
			if err != nil && len(m.Method) < maxMethod/2 && !bytes.Contains(msg, []byte("rogressToken")) && !bytes.Contains(msg, []byte("equestId")) && !bytes.Contains(msg, []byte("subscriptionId")) && !bytes.Contains(msg, []byte(`\`)) {
				t.Fatalf("the strict parser takes what is refused here: %q", msg)
			}
			if err == nil && (r.Kind != m.Kind || m.ID != nil && !bytes.Equal(r.ID.Of(msg), m.ID) || r.Method != m.Method) {
				t.Fatalf("read %+v, strictly %+v: %q", r, m, msg)
			}
		}
		if err != nil || r.ID.IsZero() {
			return
		}
		again, err := ReadRefs(Splice(msg, Edit{r.ID, []byte("123456")}))
		if err != nil || again.Kind != r.Kind || again.Method != r.Method {
			t.Fatalf("an edited id changes the reading of %q: %+v, %v", msg, again, err)
		}
	})
}

// TestTraceEdits: a request is made part of a trace, and all else of it stays byte for byte.
func TestTraceEdits(t *testing.T) {
	const parent, state = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", `v="a\\"`
	for _, c := range []struct{ msg, want string }{
		{`{"jsonrpc":"2.0","id":7,"method":"tools/list"}`, `{"jsonrpc":"2.0","id":7,"params":{"_meta":{"traceparent":"P","tracestate":"S"}},"method":"tools/list"}`},
		{`{"jsonrpc":"2.0","id":7,"method":"m","params":{ } }`, `{"jsonrpc":"2.0","id":7,"method":"m","params":{"_meta":{"traceparent":"P","tracestate":"S"} } }`},
		{`{"params": {"name":"a", "x":1.0},"jsonrpc":"2.0","id":7,"method":"m"}`, `{"params": {"_meta":{"traceparent":"P","tracestate":"S"},"name":"a", "x":1.0},"jsonrpc":"2.0","id":7,"method":"m"}`},
		{`{"jsonrpc":"2.0","id":7,"method":"m","params":{"_meta":{}}}`, `{"jsonrpc":"2.0","id":7,"method":"m","params":{"_meta":{"traceparent":"P","tracestate":"S"}}}`},
		{`{"jsonrpc":"2.0","id":7,"method":"m","params":{"_meta":{"a":{"traceparent":"x"}}}}`, `{"jsonrpc":"2.0","id":7,"method":"m","params":{"_meta":{"traceparent":"P","tracestate":"S","a":{"traceparent":"x"}}}}`},
		{`{"jsonrpc":"2.0","id":7,"method":"m","params":{"_meta":{"trace\u0070arent" : {"q":[1]} ,"b":2,"tracestate":""}}}`, `{"jsonrpc":"2.0","id":7,"method":"m","params":{"_meta":{"trace\u0070arent" : "P" ,"b":2,"tracestate":"S"}}}`},
		{`{"jsonrpc":"2.0","id":7,"method":"m","params":{"_meta":{"tracestate":5}}}`, `{"jsonrpc":"2.0","id":7,"method":"m","params":{"_meta":{"traceparent":"P","tracestate":"S"}}}`},
		{`{"jsonrpc":"2.0","id":7,"method":"m","params":{"_meta":null}}`, ""}, {`{"jsonrpc":"2.0","id":7,"method":"m","params":[1]}`, ""},
		{`{"jsonrpc":"2.0","method":"m","params":{}}`, ""}, {`{"jsonrpc":"2.0","id":7,"result":{"_meta":{}}}`, ""},
	} {
		r, err := ReadRefs([]byte(c.msg))
		if err != nil {
			t.Errorf("%s: %v", c.msg, err)
			continue
		}
		want := c.msg
		if c.want != "" {
			want = strings.NewReplacer("P\"", parent+"\"", "S\"", `v=\"a\\\\\"`+"\"").Replace(c.want)
		}
		if got := string(Splice([]byte(c.msg), r.TraceEdits(parent, state)...)); got != want {
			t.Errorf("%s:\n got %s\nwant %s", c.msg, got, want)
		}
	}
	r, err := ReadRefs([]byte(`{"jsonrpc":"2.0","id":7,"method":"m","params":{"_meta":{"tracestate":"theirs=1"}}}`))
	if err != nil {
		t.Fatal(err)
	}
	if got := string(Splice([]byte(`{"jsonrpc":"2.0","id":7,"method":"m","params":{"_meta":{"tracestate":"theirs=1"}}}`), r.TraceEdits(parent, "")...)); !strings.Contains(got, `"tracestate":""`) {
		t.Errorf("another trace's state stays: %s", got)
	}
}
