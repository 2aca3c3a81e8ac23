package mcp

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// message returns what an agent is told.
func message(err error) string {
	var refused *Error
	if !errors.As(err, &refused) {
		return fmt.Sprintf("no *Error but %v", err)
	}
	return string(refused.body("", nil))
}

func TestParseReadsWhatWasSent(t *testing.T) {
	id256 := `"` + strings.Repeat("x", 254) + `"`
	tests := []struct {
		name, body string
		want       []Message
		batch      bool
	}{
		{"request", `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`,
			[]Message{{Kind: Request, ID: []byte("1"), Method: "tools/list"}}, false},
		{"members in any order, white space and unknown members",
			" {\r\n\t\"params\" : {\"arguments\":{\"Name\":1,\"name\":2},\"name\":\"a\"} , \"x\":[{}], \"method\":\"tools/call\",\"id\" : \"i\",\"jsonrpc\":\"2.0\"} \n",
			[]Message{{Kind: Request, ID: []byte(`"i"`), Method: "tools/call", Name: "a", hasName: true}}, false},
		{"notification", `{"jsonrpc":"2.0","method":"notifications/initialized"}`,
			[]Message{{Kind: Notification, Method: "notifications/initialized"}}, false},
		{"response with a result", `{"jsonrpc":"2.0","id":7,"result":null}`, []Message{{Kind: Response, ID: []byte("7")}}, false},
		{"response with an error", `{"jsonrpc":"2.0","id":7,"error":{"code":1,"message":""}}`, []Message{{Kind: Response, ID: []byte("7")}}, false},
		{"id above 2^53", `{"jsonrpc":"2.0","id":9007199254740993,"method":"ping"}`,
			[]Message{{Kind: Request, ID: []byte("9007199254740993"), Method: "ping"}}, false},
		{"id with an exponent beyond any float", `{"jsonrpc":"2.0","id":-1.50e999,"method":"ping"}`,
			[]Message{{Kind: Request, ID: []byte("-1.50e999"), Method: "ping"}}, false},
		{"escaped id stays raw", `{"jsonrpc":"2.0","id":"\u0041\n","method":"ping"}`,
			[]Message{{Kind: Request, ID: []byte(`"\u0041\n"`), Method: "ping"}}, false},
		{"longest id", `{"jsonrpc":"2.0","id":` + id256 + `,"method":"ping"}`,
			[]Message{{Kind: Request, ID: []byte(id256), Method: "ping"}}, false},
		{"prompt", `{"jsonrpc":"2.0","id":1,"method":"prompts/get","params":{"name":"p","uri":5}}`,
			[]Message{{Kind: Request, ID: []byte("1"), Method: "prompts/get", Name: "p", hasName: true}}, false},
		{"resource", `{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"file:///\u00e4"}}`,
			[]Message{{Kind: Request, ID: []byte("1"), Method: "resources/read", Name: "file:///ä", hasName: true}}, false},
		{"subscription", `{"jsonrpc":"2.0","id":1,"method":"resources/unsubscribe","params":{"uri":"u","name":[]}}`,
			[]Message{{Kind: Request, ID: []byte("1"), Method: "resources/unsubscribe", Name: "u", hasName: true}}, false},
		{"task", `{"jsonrpc":"2.0","id":1,"method":"tasks/update","params":{"taskId":"t","name":"n"}}`,
			[]Message{{Kind: Request, ID: []byte("1"), Method: "tasks/update", Name: "t", hasName: true}}, false},
		{"a tool without a name", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{}}`,
			[]Message{{Kind: Request, ID: []byte("1"), Method: "tools/call"}}, false},
		{"completion of a prompt", `{"jsonrpc":"2.0","id":1,"method":"completion/complete","params":{"argument":{"name":"x"},"ref":{"name":"p","uri":5,"type":"ref\/prompt"}}}`,
			[]Message{{Kind: Request, ID: []byte("1"), Method: "completion/complete", Name: "p", Ref: "ref/prompt", hasName: true}}, false},
		{"completion of a resource", `{"jsonrpc":"2.0","id":1,"method":"completion/complete","params":{"name":7,"ref":{"type":"ref/resource","uri":"file:///{a}","name":7,"x":{}}}}`,
			[]Message{{Kind: Request, ID: []byte("1"), Method: "completion/complete", Name: "file:///{a}", Ref: "ref/resource", hasName: true}}, false},
		{"completion of something new", `{"jsonrpc":"2.0","id":1,"method":"completion/complete","params":{"ref":{"type":"ref/tool","name":"a","uri":"b"}}}`,
			[]Message{{Kind: Request, ID: []byte("1"), Method: "completion/complete", Ref: "ref/tool"}}, false},
		{"completion of nothing", `{"jsonrpc":"2.0","id":1,"method":"completion/complete","params":{}}`,
			[]Message{{Kind: Request, ID: []byte("1"), Method: "completion/complete"}}, false},
		{"a ref elsewhere", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","ref":[1]}}`,
			[]Message{{Kind: Request, ID: []byte("1"), Method: "tools/call", Name: "a", hasName: true}}, false},
		{"unknown but well-formed method", `{"jsonrpc":"2.0","id":1,"method":"$vendor/Do-it_2","params":{"name":3}}`,
			[]Message{{Kind: Request, ID: []byte("1"), Method: "$vendor/Do-it_2"}}, false},
		{"slashes escaped as PHP does", `{"jsonrpc":"2.0","id":1,"method":"tools\/list","params":{"_meta":{"io.modelcontextprotocol\/protocolVersion":"2026-07-28"}}}`,
			[]Message{{Kind: Request, ID: []byte("1"), Method: "tools/list", Version: "2026-07-28"}}, false},
		{"version of a later revision", `{"jsonrpc":"2.0","id":1,"method":"ping","params":{"_meta":{"x":{},"io.modelcontextprotocol/protocolVersion":"2027-01-01"}}}`,
			[]Message{{Kind: Request, ID: []byte("1"), Method: "ping", Version: "2027-01-01"}}, false},
		{"version that is no date", `{"jsonrpc":"2.0","id":1,"method":"ping","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"v999.0.0"}}}`,
			[]Message{{Kind: Request, ID: []byte("1"), Method: "ping", Version: "v999.0.0"}}, false},
		{"names are only read at their own level", `{"jsonrpc":"2.0","id":1,"method":"ping","params":{"METHOD":1,"_meta":{"NAME":1},"arguments":{"_Meta":{"io.modelcontextprotocol/protocolVersion":0}}}}`,
			[]Message{{Kind: Request, ID: []byte("1"), Method: "ping"}}, false},
		{"depth 64", `{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":` + strings.Repeat("[", 62) + strings.Repeat("]", 62) + `}}`,
			[]Message{{Kind: Request, ID: []byte("1"), Method: "ping"}}, false},
		{"backslashes before u0000 that escape each other", `{"jsonrpc":"2.0","id":1,"method":"ping","params":{"\\u0000":"\u0000"}}`,
			[]Message{{Kind: Request, ID: []byte("1"), Method: "ping"}}, false},
		{"batch", `[{"jsonrpc":"2.0","id":1,"method":"ping"},{"jsonrpc":"2.0","method":"x"},{"jsonrpc":"2.0","id":"b","result":{}}]`,
			[]Message{{Kind: Request, ID: []byte("1"), Method: "ping"}, {Kind: Notification, Method: "x"}, {Kind: Response, ID: []byte(`"b"`)}}, true},
		{"batch of one", `[{"jsonrpc":"2.0","id":1,"method":"ping"}]`, []Message{{Kind: Request, ID: []byte("1"), Method: "ping"}}, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			body := []byte(test.body)
			msgs, batch, err := Parse(body)
			if err != nil {
				t.Fatal(message(err))
			}
			for i := range msgs {
				msgs[i].Params, msgs[i].Arguments = nil, nil // see TestParseGivesRawParams
			}
			if fmt.Sprintf("%+v", msgs) != fmt.Sprintf("%+v", test.want) || batch != test.batch {
				t.Errorf("got  %+v, %v\nwant %+v, %v", msgs, batch, test.want, test.batch)
			}
			if string(body) != test.body {
				t.Errorf("the body was changed to %q", body)
			}
		})
	}
}

// TestParseGivesRawParams: what a policy reads is the very bytes that the server gets.
func TestParseGivesRawParams(t *testing.T) {
	deep := `{"a":` + strings.Repeat("[", 60) + strings.Repeat("]", 60) + `}` // which takes the long way through values
	many := `{ "a" : [` + strings.Repeat("{} , ", 100) + `"\u0000" ] }`
	for _, test := range []struct{ method, params, arguments string }{
		{"tools/call", ` { "name" : "a" , "arguments" : { "b" : 1 } } `, `{ "b" : 1 }`},
		{"tools/call", `{"name":"a","arguments":` + deep + `}`, deep},
		{"tools/call", `{"name":"a","arguments":` + many + ` , "x":1}`, many},
		{"prompts/get", `{"arguments":null,"name":"a"}`, `null`},
		{"tools/call", `{"arguments":"x"}`, `"x"`},
		{"tools/call", `{"arguments":-1.50e3}`, `-1.50e3`},
		{"tools/call", `{}`, ""},
		{"resources/read", `{"uri":"a","arguments":{"b":1}}`, ""},
		{"vendor/x", `{"arguments":{}}`, ""},
		{"ping", "", ""},
	} {
		for _, order := range []string{`{"jsonrpc":"2.0","id":1,"method":"%s"%s}`, `{%[2]s"jsonrpc":"2.0","id":1,"method":"%[1]s"}`} {
			params := test.params
			if params != "" {
				params = `,"params":` + params
			}
			if strings.HasPrefix(order, "{%[2]") && params != "" {
				params = params[1:] + ","
			}
			body := []byte(fmt.Sprintf(order, test.method, params))
			kept := bytes.Clone(body)
			msgs, _, err := Parse(body)
			if err != nil {
				t.Fatalf("%s: %s", body, message(err))
			}
			m := msgs[0]
			if string(m.Params) != strings.TrimSpace(test.params) || string(m.Arguments) != test.arguments ||
				(m.Params == nil) != (test.params == "") || (m.Arguments == nil) != (test.arguments == "") {
				t.Errorf("%s: params %q, arguments %q", body, m.Params, m.Arguments)
			}
			_, _ = append(m.Params, "garbage"...), append(m.Arguments, "garbage"...)
			if !bytes.Equal(body, kept) {
				t.Errorf("the body became %s", body)
			}
		}
	}
	if msgs, _, err := Parse([]byte(`{"jsonrpc":"2.0","id":1,"result":{},"params":{"arguments":{}}}`)); err != nil || msgs[0].Params != nil {
		t.Errorf("%+v, %v", msgs, err)
	}
}

func TestParseRefuses(t *testing.T) {
	msg := func(rest string) string { return `{"jsonrpc":"2.0","id":1,` + rest + `}` }
	params := func(rest string) string { return msg(`"method":"tools/call","params":{` + rest + `}`) }
	deep := func(n int) string {
		return msg(`"method":"ping","params":{"a":` + strings.Repeat("[", n) + strings.Repeat("]", n) + `}`)
	}
	tests := []struct {
		name, body string
		code       int
	}{
		{"nothing", "", -32700},
		{"white space", " \r\n\t", -32700},
		{"no JSON", "tools/call", -32700},
		{"cut short", `{"jsonrpc":"2.0","id":1`, -32700},
		{"cut in a string", `{"jsonrpc":"2.0","id":"1`, -32700},
		{"second value", msg(`"method":"ping"`) + ` {}`, -32700},
		{"second line", msg(`"method":"ping"`) + "\n" + msg(`"method":"tools/call"`), -32700},
		{"trailing comma", msg(`"method":"ping"`) + `,`, -32700},
		{"trailing bracket", msg(`"method":"ping"`) + `}`, -32700},
		{"trailing NUL", msg(`"method":"ping"`) + "\x00", -32700},
		{"byte order mark", "\xef\xbb\xbf" + msg(`"method":"ping"`), -32700},
		{"UTF-16", "{\x00}\x00", -32700},
		{"invalid UTF-8 in a value", params(`"name":"a` + "\xff" + `"`), -32700},
		{"invalid UTF-8 deep inside", params(`"name":"a","arguments":{"x":["` + "\xc0\xaf" + `"]}`), -32700},
		{"lone surrogate", params(`"name":"\ud800"`), -32700},
		{"lone surrogate deep inside", params(`"arguments":[{"x":"\udc00"}]`), -32700},
		{"comment", `{/**/"jsonrpc":"2.0"}`, -32700},
		{"leading zero", `{"jsonrpc":"2.0","id":01,"method":"ping"}`, -32700},
		{"NaN", msg(`"method":"ping","params":{"x":NaN}`), -32700},
		{"duplicate method", msg(`"method":"ping","method":"tools/call"`), -32700},
		{"duplicate method, one escaped", msg(`"method":"ping","m\u0065thod":"tools/call"`), -32700},
		{"duplicate id", `{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}`, -32700},
		{"duplicate params", msg(`"method":"ping","params":{},"params":{}`), -32700},
		{"duplicate name", params(`"name":"a","name":"b"`), -32700},
		{"duplicate arguments", params(`"arguments":{},"arguments":{}`), -32700},
		{"duplicate version", params(`"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol\/protocolVersion":"2025-11-25"}`), -32700},
		{"duplicate deep inside", params(`"arguments":{"x":[{"a":1,"b":{"c":1,"c":2}}]}`), -32700},
		{"duplicate in an unknown member", msg(`"method":"ping","x":{"a":1,"a":1}`), -32700},
		{"duplicate in an error", `{"jsonrpc":"2.0","id":1,"error":{"code":1,"code":2}}`, -32700},
		{"depth 65", deep(63), -32700},
		{"depth 65 beside much", strings.Replace(deep(63), `"a":`, `"b":[[],[],[]],"a":`, 1), -32700},
		{"depth 100000", deep(100000), -32700},
		{"depth 100000 unclosed", msg(`"x":` + strings.Repeat(`{"a":`, 100000)), -32700},
		{"deep in _meta", params(`"_meta":` + strings.Repeat("[", 70) + strings.Repeat("]", 70)), -32700},
		{"string", `"x"`, -32600},
		{"number", `1`, -32600},
		{"null", `null`, -32600},
		{"empty object", `{}`, -32600},
		{"empty batch", `[]`, -32600},
		{"batch in a batch", `[[]]`, -32600},
		{"batch of a number", `[1]`, -32600},
		{"batch with a bad second", `[` + msg(`"method":"ping"`) + `,{}]`, -32600},
		{"batch too long", `[` + strings.Repeat(msg(`"method":"ping"`)+",", maxBatch) + msg(`"method":"ping"`) + `]`, -32600},
		{"no jsonrpc", `{"id":1,"method":"ping"}`, -32600},
		{"jsonrpc 1.0", `{"jsonrpc":"1.0","id":1,"method":"ping"}`, -32600},
		{"jsonrpc as a number", `{"jsonrpc":2.0,"id":1,"method":"ping"}`, -32600},
		{"jsonrpc escaped", `{"jsonrpc":"2\u002e0","id":1,"method":"ping"}`, -32600},
		{"id null", `{"jsonrpc":"2.0","id":null,"method":"ping"}`, -32600},
		{"id true", `{"jsonrpc":"2.0","id":true,"method":"ping"}`, -32600},
		{"id object", `{"jsonrpc":"2.0","id":{},"method":"ping"}`, -32600},
		{"id array", `{"jsonrpc":"2.0","id":[1],"method":"ping"}`, -32600},
		{"id too long", `{"jsonrpc":"2.0","id":` + strings.Repeat("1", maxID+1) + `,"method":"ping"}`, -32600},
		{"method null", msg(`"method":null`), -32600},
		{"method and result", msg(`"method":"ping","result":{}`), -32600},
		{"result and error", msg(`"result":{},"error":{}`), -32600},
		{"response without id", `{"jsonrpc":"2.0","result":{}}`, -32600},
		{"params array", msg(`"method":"tools/call","params":["a",{}]`), -32600},
		{"params null", msg(`"method":"ping","params":null`), -32600},
		{"tool name is a number", params(`"name":1`), -32600},
		{"uri is null", msg(`"method":"resources/read","params":{"uri":null}`), -32600},
		{"taskId is an object", msg(`"method":"tasks/get","params":{"taskId":{}}`), -32600},
		{"version is a number", params(`"_meta":{"io.modelcontextprotocol/protocolVersion":20260728}`), -32600},
		{"version is empty", params(`"_meta":{"io.modelcontextprotocol/protocolVersion":""}`), -32600},
		{"Method beside method", msg(`"method":"ping","Method":"tools/call"`), -32600},
		{"only Method", msg(`"METHOD":"ping"`), -32600},
		{"ID", msg(`"ID":2,"method":"ping"`), -32600},
		{"dotless ıd", msg(`"ıd":2,"method":"ping"`), -32600},
		{"dotted İd", msg(`"İd":2,"method":"ping"`), -32600},
		{"long s in params", msg(`"method":"ping","paramſ":{}`), -32600},
		{"long s, escaped", msg(`"method":"ping","param\u017f":{}`), -32600},
		{"escaped method", `{"jsonrpc":"2.0","id":1,"meth\u006fd":"ping"}`, -32600},
		{"escaped Result", msg(`"method":"ping","\u0052esult":{}`), -32600},
		{"JsonRpc", msg(`"JsonRpc":"2.0","method":"ping"`), -32600},
		{"Error", msg(`"method":"ping","Error":{}`), -32600},
		{"Name", params(`"name":"a","Name":"b"`), -32600},
		{"escaped name", params(`"n\u0061me":"b"`), -32600},
		{"URI", params(`"URI":"b"`), -32600},
		{"taskid", params(`"taskid":"b"`), -32600},
		{"Kelvin sign in taskId", params(`"tas` + "\u212a" + `Id":"b"`), -32600},
		{"_Meta", params(`"_Meta":{}`), -32600},
		{"protocolversion", params(`"_meta":{"io.modelcontextprotocol/protocolversion":"2026-07-28"}`), -32600},
		{"escaped protocolVersion", params(`"_meta":{"io\u002emodelcontextprotocol/protocolVersion":"2026-07-28"}`), -32600},
		{"Arguments", params(`"Arguments":{}`), -32600},
		{"long s in arguments", params(`"argumentſ":{}`), -32600},
		{"escaped arguments", params(`"\u0061rguments":{}`), -32600},
		{"Ref", params(`"Ref":{}`), -32600},
		{"Type in a ref", msg(`"method":"completion/complete","params":{"ref":{"type":"ref/prompt","Type":"ref/resource"}}`), -32600},
		{"escaped name in a ref", msg(`"method":"completion/complete","params":{"ref":{"type":"ref/prompt","n\u0061me":"a"}}`), -32600},
		{"URI in a ref", msg(`"method":"completion/complete","params":{"ref":{"type":"ref/resource","URI":"a"}}`), -32600},
		{"duplicate in a ref", msg(`"method":"completion/complete","params":{"ref":{"type":"ref/resource","uri":"a","uri":"b"}}`), -32700},
		{"a ref that is a string", msg(`"method":"completion/complete","params":{"ref":"ref/prompt"}`), -32600},
		{"a ref without a type", msg(`"method":"completion/complete","params":{"ref":{"name":"a"}}`), -32600},
		{"a ref's type is a number", msg(`"method":"completion/complete","params":{"ref":{"type":1,"name":"a"}}`), -32600},
		{"a ref's name is a number", msg(`"method":"completion/complete","params":{"ref":{"type":"ref/prompt","name":1}}`), -32600},
		{"a ref's uri is null", msg(`"method":"completion/complete","params":{"ref":{"type":"ref/resource","uri":null}}`), -32600},
		{"NUL in a name", params(`"na\u0000me":"b"`), -32600},
		{"NUL in a name of the envelope", msg(`"method":"ping","method\u0000":"x"`), -32600},
		{"NUL in a name deep inside", params(`"arguments":{"x":[{"\u0000":1}]}`), -32600},
		{"NUL in a name of an unknown member", msg(`"method":"ping","x":{"y":{"a\\\u0000":1}}`), -32600},
		{"method with a space", msg(`"method":"tools/call "`), -32601},
		{"method with an empty segment", msg(`"method":"tools//call"`), -32601},
		{"method with a dot", msg(`"method":"rpc.discover"`), -32601},
		{"method begins with a slash", msg(`"method":"/tools/call"`), -32601},
		{"method ends with a slash", msg(`"method":"tools/"`), -32601},
		{"empty method", msg(`"method":""`), -32601},
		{"dollar in a later segment", msg(`"method":"a/$b"`), -32601},
		{"homoglyph", msg(`"method":"tооls/call"`), -32601},
		{"escaped space", msg(`"method":"tools/call\u0020"`), -32601},
		{"NUL in the method", msg(`"method":"ping\u0000"`), -32601},
		{"method too long", msg(`"method":"` + strings.Repeat("a", maxMethod+1) + `"`), -32601},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			msgs, _, err := Parse([]byte(test.body))
			var refused *Error
			if !errors.As(err, &refused) {
				t.Fatalf("got %+v, want code %d", msgs, test.code)
			}
			status := map[int]int{-32700: 400, -32600: 400, -32601: 404}[test.code]
			if refused.Code != test.code || refused.Status != status || refused.Delivered != DeliveredNo || msgs != nil {
				t.Errorf("got %d %d %q %+v, want %d %d", refused.Status, refused.Code, refused.Message, msgs, status, test.code)
			}
		})
	}
}

func TestParseNeverQuotesTheBody(t *testing.T) {
	const canary = "c4n4ry"
	for _, body := range []string{
		canary, `{"` + canary + `":1,"` + canary + `":2}`, `{"x":"` + canary + "\xff\"}", `{"jsonrpc":"` + canary + `"}`,
		`{"jsonrpc":"2.0","id":1,"method":"` + canary + ` "}`, `{"jsonrpc":"2.0","id":[1],"method":"` + canary + `"}`,
		`{"jsonrpc":"2.0","id":1,"method":"ping","params":{"Name":"` + canary + `"}}`, `{"a":"b" ` + canary,
	} {
		_, _, err := Parse([]byte(body))
		if err == nil {
			t.Fatalf("%s passed", body)
		}
		if text := fmt.Sprintf("%v %+v %s", err, err, message(err)); strings.Contains(text, canary) {
			t.Errorf("%s is quoted in %s", body, text)
		}
	}
}

func TestParseNamesTheIDsOfAnUnknownMethod(t *testing.T) {
	body := []byte(`[{"jsonrpc":"2.0","method":"rpc.x","id":1},{"jsonrpc":"2.0","method":"x"},{"jsonrpc":"2.0","id":"b","method":"ping"}]`)
	_, batch, err := Parse(body)
	clear(body) // the error may be kept for longer than the body
	var refused *Error
	if !errors.As(err, &refused) || !batch || !refused.Batch || string(bytes.Join(refused.IDs, []byte(" "))) != `1 "b"` {
		t.Errorf("got batch %v, %+v", batch, refused)
	}
}

func TestParseIDsCannotReachIntoTheBody(t *testing.T) {
	for _, rest := range []string{"", `,"params":{"a":"\u0000"}`, `,"params":{"a":[` + strings.Repeat("[],", 100) + `[]]}`} {
		body := []byte(`{"jsonrpc":"2.0","id":12,"method":"ping"` + rest + `}`)
		kept := slices.Clone(body)
		msgs, _, err := Parse(body)
		if err != nil {
			t.Fatal(err)
		}
		_ = append(msgs[0].ID, "garbage"...)
		if !bytes.Equal(body, kept) {
			t.Errorf("the body became %s", body)
		}
	}
}

func TestParseReusesAParserAfterARefusal(t *testing.T) {
	var ps parsers
	good := []byte(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":{"a":{"a":1}}}}`)
	for _, bad := range []string{`{"a":{"a":[{"name":`, `[[[[[`, "\xff", `{"jsonrpc":"2.0","jsonrpc":"2.0"}`, strings.Repeat(`{"a":`, 100)} {
		for range 20 {
			if _, _, err := ps.parse([]byte(bad)); err == nil {
				t.Fatalf("%s passed", bad)
			}
			if msgs, _, err := ps.parse(good); err != nil || msgs[0].Name != "a" {
				t.Fatalf("after %s: %+v, %v", bad, msgs, err)
			}
		}
	}
}

// The least of many rounds is compared: a sync.Pool may forget what it holds at any time (under the race detector it does so on
// purpose, at random), and a parser made anew says nothing about what a parse costs.
func TestParseAllocatesLittle(t *testing.T) {
	var ps parsers
	body := benchBody()
	least := math.Inf(1)
	for range 50 {
		least = min(least, testing.AllocsPerRun(1, func() {
			if _, _, err := ps.parse(body); err != nil {
				t.Fatal(err)
			}
		}))
	}
	if least > 12 {
		t.Errorf("%v allocations for %d bytes, want at most 12", least, len(body))
	}
}

func TestManyMembersAreReadInBoundedTime(t *testing.T) {
	var body bytes.Buffer
	body.WriteString(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":{`)
	for i := range 100_000 {
		fmt.Fprintf(&body, `"k%d":%d,`, i, i)
	}
	body.WriteString(`"z":1}}}`)
	if msgs, _, err := Parse(body.Bytes()); err != nil || msgs[0].Name != "a" {
		t.Fatal(err)
	}
}

func TestVersion(t *testing.T) {
	tests := []struct {
		v                         Version
		known, sessionful, modern bool
	}{
		{V20241105, true, true, false}, {V20250326, true, true, false}, {V20250618, true, true, false}, {V20251125, true, true, false},
		{V20260728, true, false, true}, {"2025-09-09", false, true, false}, {"2027-01-01", false, false, true},
		{"", false, false, false}, {"draft", false, false, true}, {"1999", false, false, true}, {"2026-7-28", false, false, true}, {"2026/07/28", false, false, true}, {"2026-07-28x", false, false, true},
	}
	for _, test := range tests {
		if test.v.Known() != test.known || test.v.Sessionful() != test.sessionful || test.v.modern() != test.modern {
			t.Errorf("%q: known %v, sessionful %v, modern %v", test.v, test.v.Known(), test.v.Sessionful(), test.v.modern())
		}
	}
}

func TestKindString(t *testing.T) {
	if got := fmt.Sprint(Kind(0), Request, Notification, Response); got != "invalid request notification response" {
		t.Error(got)
	}
}

func TestUnknownMethodIs404(t *testing.T) {
	if e := UnknownMethod(); e.Status != http.StatusNotFound || e.Code != -32601 {
		t.Error(e.Status, e.Code)
	}
}
