package inject_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"sallyport.dev/credential"
	"sallyport.dev/credential/inject"
)

func TestBasic(t *testing.T) {
	r := post(t, "https://x.test/", "application/json", "{}")
	r.Header["authorization"] = []string{"Bearer of the agent"}
	r.Header["AUTHORIZATION"] = []string{"Bearer of the agent"}
	if err := (inject.Basic{User: "svc"}).Inject(r, values(canary+":with colon")); err != nil {
		t.Fatal(err)
	}
	user, password, ok := r.BasicAuth()
	if !ok || user != "svc" || password != canary+":with colon" || len(r.Header) != 2 {
		t.Errorf("%q %q %v", user, password, r.Header)
	}
	for _, bad := range []string{"", "a:b", "a\nb", "\xff", strings.Repeat("x", 300)} {
		if err := (inject.Basic{User: bad}).Validate(); !errors.Is(err, credential.ErrConfig) {
			t.Errorf("user %q gives %v", bad, err)
		}
	}
	if err := (inject.Basic{User: "svc"}).Inject(r, values(canary+"\n")); !errors.Is(err, credential.ErrUnusable) || r.Header.Get("Authorization") != "" {
		t.Errorf("a line end gives %v, %q", err, r.Header)
	}
	if (inject.Basic{User: "svc"}).Place() != (inject.Header{Name: "AUTHORIZATION"}).Place() {
		t.Error("Basic and another Authorization do not collide")
	}
}

func TestQuery(t *testing.T) {
	for _, test := range []struct{ before, after string }{
		{"", "api_key=" + canary},
		{"a=1&b=2", "a=1&b=2&api_key=" + canary},
		{"a=%2f+%2F&&b", "a=%2f+%2F&b&api_key=" + canary},
		{"api_key=agent", "api_key=" + canary},
		{"API_KEY=1&api-key=2&api%5fkey=3&%61pi_key=4&api_key[]=5&api_key%5B0%5D=6&api.key=7&api+key=8&api_key%00x=9&keep=1", "keep=1&api_key=" + canary},
		{"xapi_key=1&api_keys=2", "xapi_key=1&api_keys=2&api_key=" + canary},
		{"apiKey=1&apikey=2&api[key=3&api%5Bkey=4&+api_key=5&api_key%0A=6&ap%C4%B1_key=7&api_%E2%84%AAey=8", "api_key=" + canary},
		{"api[key]=1&x[api_key]=2&ap=3&q=\xc3\xa9", "api[key]=1&x[api_key]=2&ap=3&q=\xc3\xa9&api_key=" + canary},
	} {
		r := post(t, "https://x.test/mcp?"+test.before, "application/json", "{}")
		if err := (inject.Query{Name: "api_key"}).Inject(r, values(canary)); err != nil || r.URL.RawQuery != test.after {
			t.Errorf("%q becomes %q, %v, want %q", test.before, r.URL.RawQuery, err, test.after)
		}
	}
	for _, bad := range []string{"a=%zz", "a;api_key=1", "%=1", "api_key=%", "a#&api_key=1", "a HTTP/1.1&api_key=1", "a\tb&api_key=1", "a\x7f"} {
		r := post(t, "https://x.test/mcp", "application/json", "{}")
		r.URL.RawQuery = bad
		if err := (inject.Query{Name: "api_key"}).Inject(r, values(canary)); !errors.Is(err, credential.ErrUnusable) || strings.Contains(r.URL.RawQuery, "key") {
			t.Errorf("%q gives %v, %q", bad, err, r.URL.RawQuery)
		}
	}
	r := post(t, "https://x.test/", "application/json", "{}")
	if err := (inject.Query{Name: "k"}).Inject(r, values("a b&c=d%#+é")); err != nil || r.URL.Query().Get("k") != "a b&c=d%#+é" {
		t.Errorf("%q, %v", r.URL.RawQuery, err)
	}
	for _, bad := range []string{"", "a&b", "a b", "a%20b", "-", "_.", "sessionId", "session_id", "sessionid", "Session-Id"} {
		if err := (inject.Query{Name: bad}).Validate(); !errors.Is(err, credential.ErrConfig) {
			t.Errorf("name %q gives %v", bad, err)
		}
	}
}

func TestCookie(t *testing.T) {
	r := post(t, "https://x.test/", "application/json", "{}")
	r.Header["Cookie"] = []string{"a=1; session=agent;SESSION=agent", " Session = agent ; b=2"}
	r.Header["cookie"] = []string{"session=agent"}
	if err := (inject.Cookie{Name: "session"}).Inject(r, values(canary)); err != nil {
		t.Fatal(err)
	}
	if got := r.Header["Cookie"]; len(got) != 1 || len(r.Header) != 2 || strings.Contains(got[0], "agent") || !strings.HasSuffix(got[0], "; session="+canary) || !strings.Contains(got[0], "a=1") || !strings.Contains(got[0], "b=2") {
		t.Errorf("%q", r.Header)
	}
	for _, others := range []string{"a=1, session=agent", "%73ession=agent", "=session=agent", " = session=agent", "ses.sion=agent", "session[]=agent", `a="x; session=agent"`, "$Version=1,Session=agent", "session"} {
		r := post(t, "https://x.test/", "application/json", "{}")
		r.Header["Cookie"], r.Header["cookie"] = []string{others + "; b=2"}, []string{"c=3"}
		if err := (inject.Cookie{Name: "session"}).Inject(r, values(canary)); err != nil {
			t.Fatal(err)
		}
		if got := r.Header.Get("Cookie"); strings.Contains(got, "agent") || !strings.HasSuffix(got, "b=2; c=3; session="+canary) {
			t.Errorf("%q becomes %q", others, got)
		}
	}
	for _, bad := range []string{"a b", "a;b=c", `a"b`, "a,b", `a\b`, "a\nb", "é"} {
		if err := (inject.Cookie{Name: "session"}).Inject(r, values(bad)); !errors.Is(err, credential.ErrUnusable) || strings.Contains(r.Header.Get("Cookie"), "session") {
			t.Errorf("%q gives %v, %q", bad, err, r.Header)
		}
	}
	for _, bad := range []string{"", "a=b", "a;b", "a b", "__"} {
		if (inject.Cookie{Name: bad}).Validate() == nil {
			t.Errorf("the name %q passes", bad)
		}
	}
	field := inject.Header{Name: "cookie", Template: "a={secret}"}
	if field.Order() >= (inject.Cookie{Name: "session"}).Order() {
		t.Error("the whole field would be set after one cookie, which would be lost")
	}
}

func TestBodyPointer(t *testing.T) {
	const at = "/params/arguments/api_key"
	set := `"api_key":"` + canary + `"`
	for _, test := range []struct{ before, after string }{
		{`{"params":{"arguments":{}}}`, `{"params":{"arguments":{` + set + `}}}`},
		{`{"params":{"arguments":{ "a" : 1 }}}`, `{"params":{"arguments":{` + set + `, "a" : 1 }}}`},
		{`{"params":{"arguments":{"api_key":"agent"}}}`, `{"params":{"arguments":{` + set + `}}}`},
		{`{"params":{"arguments":{"a":1,"api_key":{"x":[1]},"b":2}}}`, `{"params":{"arguments":{` + set + `,"a":1,"b":2}}}`},
		{`{"params":{"arguments":{"api_key":1,"a":1}}}`, `{"params":{"arguments":{` + set + `,"a":1}}}`},
		{`{"params":{"arguments":{"api_key":1 , "API-KEY":2 , "a":1 , "Api_Key":3}}}`, `{"params":{"arguments":{` + set + `, "a":1}}}`},
		{`{"params":{"arguments":{"\u0061pi_key":"agent","n":9007199254740993.10}}}`, `{"params":{"arguments":{` + set + `,"n":9007199254740993.10}}}`},
		{`{"id":1,"method":"tools/list"}`, `{"id":1,"method":"tools/list"}`},
		{`{"params":{"arguments":null}}`, `{"params":{"arguments":null}}`},
		{`{"params":{"arguments":["api_key"]}}`, `{"params":{"arguments":["api_key"]}}`},
		{` [ {"params":{"arguments":{}}}, {"params":{}} ] `, ` [ {"params":{"arguments":{` + set + `}}}, {"params":{}} ] `},
		{`{"params":{"arguments":{"apiKey":1,"APIKEY":2,"api.key":3,"api_\u212aey":4,"ap\u0131_key":5,"api_key[]":6,"a":1}}}`, `{"params":{"arguments":{` + set + `,"a":1}}}`},
		{`{"params":{"arguments":{"a":{"api_key":1},"b":["api_key"],"c":"api_key"}}}`, `{"params":{"arguments":{` + set + `,"a":{"api_key":1},"b":["api_key"],"c":"api_key"}}}`},
		{`[]`, `[]`},
		{`null`, `null`},
	} {
		r := post(t, "https://x.test/", "application/json; charset=utf-8", test.before)
		if err := (inject.Body{Pointer: at}).Inject(r, values(canary)); err != nil {
			t.Errorf("%s: %v", test.before, err)
			continue
		}
		if got := sent(t, r); got != test.after {
			t.Errorf("%s\nbecomes %s\nwant    %s", test.before, got, test.after)
		}
	}
	for _, bad := range []string{
		`{"params":{"arguments":{"api_key":1,"api_key":2}}}`, `{"params":{"arguments":{}}}{}`, `{"params":{"arguments":{`, `{"params":{"Arguments":{"api_key":1},"arguments":{}}}`, "", `"text"x`, "{\"params\":{\"arguments\":{\"a\":\"\xff\"}}}",
		" ", "\xef\xbb\xbf{}", `[1]`, `[[]]`, `[{},]`, `{"params":{"argu\u0131ments":{}},"PARAMS":{}}`, `{"params":{"arguments":{"x":1,"x":2}}}`,
	} {
		if bad == "" {
			continue
		}
		refusesBody(t, inject.Body{Pointer: at}, post(t, "https://x.test/", "application/json", bad), canary)
	}
	refusesBody(t, inject.Body{Pointer: at}, post(t, "https://x.test/", "application/json", `{"params":{"arguments":{"api_key":"agent"}}}`), canary+"\xff")
	if r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://x.test/", nil); (inject.Body{Pointer: at}).Inject(r, values(canary)) != nil || r.Body != nil {
		t.Error("a request without a body does not go as it is")
	}
	for pointer, ok := range map[string]bool{
		at: true, "/params/a~1b/c~0d": true, "/params/x": true, "": false, "params": false, "/": false, "/params//x": false, "/params/a~2": false,
		"/method": false, "/id": false, "/params": false, "/ID": false, "/result/x": false, "/params/_meta/x": false, strings.Repeat("/params", 17): false,
		"/params/name": false, "/params/arguments": false, "/params/protocolVersion": false, "/params/_META/x": false, "/params/arguments/meta": true, "/api_key": true,
		"/params/arguments/0/key": false, "/params/arguments/list/-": false, "/params/arguments/12": false, "/params/arguments/1a": true, "/params/\xff": false, "/params/__": false,
	} {
		if err := (inject.Body{Pointer: pointer}).Validate(); (err == nil) != ok {
			t.Errorf("pointer %q gives %v", pointer, err)
		}
	}
	if (inject.Body{Pointer: at, Form: "a"}).Validate() == nil {
		t.Error("both at once pass")
	}
}

func TestBodyForm(t *testing.T) {
	r := post(t, "https://x.test/", "application/x-www-form-urlencoded", "a=1&TOKEN=agent&b=%20&t%6fken=agent")
	if err := (inject.Body{Form: "token"}).Inject(r, values(canary+"&x")); err != nil {
		t.Fatal(err)
	}
	if got, want := sent(t, r), "a=1&b=%20&token="+url.QueryEscape(canary+"&x"); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	for _, bad := range []string{"a=%zz", "a;token=agent", "a=1\n&token=agent", "a b"} {
		refusesBody(t, inject.Body{Form: "token"}, post(t, "https://x.test/", "application/x-www-form-urlencoded", bad), canary)
	}
}

// refusesBody fails the test unless the body is refused, quoted nowhere and sent nowhere.
func refusesBody(t *testing.T, b inject.Body, r *http.Request, value string) {
	t.Helper()
	body := sent(t, r)
	r.Body, _ = r.GetBody()
	err := b.Inject(r, values(value))
	if !errors.Is(err, credential.ErrUnusable) {
		t.Errorf("%q of type %q gives %v", body, r.Header, err)
		return
	}
	leaks(t, "the error", err.Error())
	if strings.Contains(err.Error(), "agent") {
		t.Errorf("%q: the error quotes the body: %v", body, err)
	}
	if r.Body != http.NoBody {
		if left := sent(t, r); strings.Contains(left, "agent") || strings.Contains(left, canary) {
			t.Errorf("%q: what is left is %q", body, left)
		}
	}
}

// A server that reads other characters than we do, or a body that is compressed, would find names that have not been taken
// out.
func TestBodyIsReadAsTheServerReadsIt(t *testing.T) {
	const message, form = `{"params":{"arguments":{"api_key":"agent"}}}`, "token=agent"
	json, pairs := inject.Body{Pointer: "/params/arguments/api_key"}, inject.Body{Form: "token"}
	for _, test := range []struct {
		body         inject.Body
		kind         string
		other, value string
		ok           bool
	}{
		{json, "application/json", "", "", true},
		{json, "application/json; charset=UTF-8", "", "", true},
		{json, "application/json", "Content-Encoding", "identity", true},
		{json, "application/json; charset=utf-16", "", "", false},
		{json, "application/json; charset=", "", "", false},
		{json, "application/json; charset=utf-8; charset=utf-7", "", "", false},
		{json, "application/json", "Content-Encoding", "gzip", false},
		{json, "application/json", "content_encoding", "gzip", false},
		{json, "application/json", "Content-Encoding", "", false},
		{json, "application/json", "content-type", "text/plain", false},
		{json, "application/json", "Content_Type", "application/json", false},
		{json, "text/plain", "", "", false},
		{json, "application/vnd.x+json", "", "", false},
		{json, "", "", "", false},
		{pairs, "application/x-www-form-urlencoded", "", "", true},
		{pairs, "application/x-www-form-urlencoded", "Content-Encoding", "gzip", false},
		{pairs, "application/x-www-form-urlencoded; charset=utf-7", "", "", false},
		{pairs, "multipart/form-data; boundary=x", "", "", false},
		{pairs, "application/json", "", "", false},
	} {
		text := message
		if test.body == pairs {
			text = form
		}
		r := post(t, "https://x.test/", test.kind, text)
		if test.other != "" {
			r.Header[test.other] = []string{test.value}
		}
		if !test.ok {
			refusesBody(t, test.body, r, canary)
			continue
		}
		r.TransferEncoding, r.Header["content_length"] = []string{"chunked"}, []string{"7"}
		if err := test.body.Inject(r, values(canary)); err != nil {
			t.Errorf("%q, %s %s: %v", test.kind, test.other, test.value, err)
		} else if got := sent(t, r); strings.Contains(got, "agent") || !strings.Contains(got, canary) || r.TransferEncoding != nil || len(r.Header) > 2 {
			t.Errorf("%q becomes %q, %v, %v", text, got, r.TransferEncoding, r.Header)
		}
	}
}

type endless struct{}

func (endless) Read(b []byte) (int, error) { return len(b), nil }
func (endless) Close() error               { return nil }

func TestBodyIsBounded(t *testing.T) {
	for _, injector := range []credential.Injector{inject.Body{Pointer: "/params/x"}, inject.SigV4{Region: "r", Service: "s"}} {
		r := post(t, "https://x.test/", "application/json", "{}")
		r.Body, r.GetBody = endless{}, nil
		list := values(canary)
		if injector.Order() == credential.OrderSignature {
			list = values("AKIDEXAMPLE", canary)
		}
		if err := injector.Inject(r, list); !errors.Is(err, credential.ErrUnusable) || r.Header.Get("Authorization") != "" {
			t.Errorf("%T: %v", injector, err)
		}
	}
}

// FuzzBodyPointer: the member is there once, is ours, and nothing else has changed.
func FuzzBodyPointer(f *testing.F) {
	f.Add(`{"params":{"arguments":{"a":1,"api_key":2, "b":[{}]}}}`, canary)
	f.Add(`[{"params":{"arguments":{"API_KEY":1}}}]`, "a\"\\\n")
	f.Fuzz(func(t *testing.T, body, value string) {
		if body == "" || value == "" {
			return
		}
		b := inject.Body{Pointer: "/params/arguments/api_key"}
		r := post(t, "https://x.test/", "application/json", body)
		if b.Inject(r, values(value)) != nil {
			return
		}
		once := sent(t, r)
		again := post(t, "https://x.test/", "application/json", once)
		if err := b.Inject(again, values(value)); err != nil {
			t.Fatalf("%q became %q, which is refused: %v", body, once, err)
		}
		if twice := sent(t, again); twice != once {
			t.Errorf("%q became %q, and then %q", body, once, twice)
		}
		if want, got := oracle(t, body, value), tree(t, once); !slices.Equal(want, got) {
			t.Errorf("%q became %q: %s, want %s", body, once, got, want)
		}
		quoted, _ := jsontext.AppendQuote(nil, value)
		member := `"api_key":` + string(quoted)
		if rest := strings.ReplaceAll(strings.ReplaceAll(once, member+",", ""), member, ""); !isLeftOf(rest, body) {
			t.Errorf("%q became %q, in which other bytes are new", body, once)
		}
		stripped := post(t, "https://x.test/", "application/json", once)
		if err := b.Strip(stripped); err != nil {
			t.Fatal(err)
		}
		clean := post(t, "https://x.test/", "application/json", body)
		if err := b.Strip(clean); err != nil {
			t.Fatal(err)
		}
		if a, b := sent(t, stripped), sent(t, clean); a != b {
			t.Errorf("without the member %q is %q, and was %q", once, a, b)
		}
	})
}

// isLeftOf reports whether rest is what is left of all when some bytes are taken out.
func isLeftOf(rest, all string) bool {
	for i := range len(rest) {
		at := strings.IndexByte(all, rest[i])
		if at < 0 {
			return false
		}
		all = all[at+1:]
	}
	return true
}

// tree is what encoding/json, another parser than the injector's, reads in a body.
func tree(t *testing.T, body string) []byte {
	t.Helper()
	var all any
	decoder := json.NewDecoder(strings.NewReader(body))
	decoder.UseNumber()
	if err := decoder.Decode(&all); err != nil {
		t.Fatalf("%q is no JSON: %v", body, err)
	}
	text, _ := json.Marshal(all)
	return text
}

// oracle does with what is read what Body does with the bytes.
func oracle(t *testing.T, body, value string) []byte {
	t.Helper()
	var all any
	decoder := json.NewDecoder(strings.NewReader(body))
	decoder.UseNumber()
	if err := decoder.Decode(&all); err != nil {
		t.Fatalf("%q is accepted: %v", body, err)
	}
	messages, _ := all.([]any)
	if messages == nil {
		messages = []any{all}
	}
	for _, message := range messages {
		top, _ := message.(map[string]any)
		params, _ := top["params"].(map[string]any)
		if arguments, ok := params["arguments"].(map[string]any); ok {
			for name := range arguments {
				if inject.IsVariant(name, "apikey") {
					delete(arguments, name)
				}
			}
			arguments["api_key"] = value
		}
	}
	text, _ := json.Marshal(all)
	return text
}

// FuzzForm: the same pairs are what another parser reads.
func FuzzForm(f *testing.F) {
	f.Add("a=1&token=2&b=%20", canary)
	f.Fuzz(func(t *testing.T, form, value string) {
		r := post(t, "https://x.test/", "application/x-www-form-urlencoded", form)
		if value == "" || form == "" || (inject.Body{Form: "token"}).Inject(r, values(value)) != nil {
			return
		}
		once := sent(t, r)
		was, err := url.ParseQuery(form)
		if err != nil {
			t.Fatalf("%q is accepted: %v", form, err)
		}
		for name := range was {
			if inject.IsVariant(name, "token") {
				was.Del(name)
			}
		}
		was.Set("token", value)
		if got, err := url.ParseQuery(once); err != nil || got.Encode() != was.Encode() {
			t.Errorf("%q became %q, %v", form, once, err)
		}
	})
}

// FuzzCookie: net/http finds one cookie of the name, the connector's.
func FuzzCookie(f *testing.F) {
	f.Add("a=1; session=2, SESSION=3")
	f.Add(`a="; session="`)
	f.Fuzz(func(t *testing.T, line string) {
		r := &http.Request{Header: http.Header{"Cookie": {line}, "COOKIE": {line}}}
		if err := (inject.Cookie{Name: "session"}).Inject(r, values(canary)); err != nil {
			t.Fatal(err)
		}
		if got := r.CookiesNamed("session"); len(r.Header) != 1 || len(got) != 1 || got[0].Value != canary {
			t.Errorf("%q became %q", line, r.Header)
		}
	})
}

// FuzzQuery: no other pair changes, and there is one of the name.
func FuzzQuery(f *testing.F) {
	f.Add("a=1&api_key=2&b=%20", canary)
	f.Fuzz(func(t *testing.T, query, value string) {
		r := &http.Request{URL: &url.URL{RawQuery: query}, Header: http.Header{}}
		if value == "" || (inject.Query{Name: "api_key"}).Inject(r, values(value)) != nil {
			return
		}
		parsed, err := url.ParseQuery(r.URL.RawQuery)
		if err != nil || len(parsed["api_key"]) != 1 || parsed.Get("api_key") != value {
			t.Errorf("%q became %q, %v", query, r.URL.RawQuery, err)
		}
		was, err := url.ParseQuery(query)
		if err != nil {
			t.Fatalf("%q is accepted: %v", query, err)
		}
		for name := range parsed {
			if name != "api_key" && len(was[name]) != len(parsed[name]) {
				t.Errorf("%q became %q", query, r.URL.RawQuery)
			}
		}
	})
}

func BenchmarkInject(b *testing.B) {
	const body = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"search","arguments":{"query":"quarterly revenue by region","limit":10}}}`
	for name, way := range map[string]struct {
		injector credential.Injector
		values   []string
	}{
		"header": {inject.Header{Name: "Authorization", Template: "Bearer {secret}"}, []string{canary}},
		"basic":  {inject.Basic{User: "svc"}, []string{canary}},
		"query":  {inject.Query{Name: "api_key"}, []string{canary}},
		"cookie": {inject.Cookie{Name: "session"}, []string{canary}},
		"body":   {inject.Body{Pointer: "/params/arguments/api_key"}, []string{canary}},
		"form":   {inject.Body{Form: "token"}, []string{canary}},
		"sigv4":  {inject.SigV4{Region: "eu-central-1", Service: "execute-api"}, []string{"AKIDEXAMPLE", canary}},
		"none":   {nil, nil}, // what the request itself costs, which is in the others
	} {
		kind, body := "application/json", body
		if name == "form" {
			kind, body = "application/x-www-form-urlencoded", "query=quarterly+revenue+by+region&limit=10"
		}
		b.Run(name, func(b *testing.B) {
			list := values(way.values...)
			b.ReportAllocs()
			for b.Loop() {
				r := post(b, "https://x.test/mcp", kind, body)
				if way.injector == nil {
					continue
				}
				if err := way.injector.Inject(r, list); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
