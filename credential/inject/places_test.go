package inject_test

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

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
	} {
		r := post(t, "https://x.test/mcp?"+test.before, "application/json", "{}")
		if err := (inject.Query{Name: "api_key"}).Inject(r, values(canary)); err != nil || r.URL.RawQuery != test.after {
			t.Errorf("%q becomes %q, %v, want %q", test.before, r.URL.RawQuery, err, test.after)
		}
	}
	for _, bad := range []string{"a=%zz", "a;api_key=1", "%=1", "api_key=%"} {
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
	for _, bad := range []string{"", "a&b", "a b", "a%20b", "sessionId", "session_id"} {
		if err := (inject.Query{Name: bad}).Validate(); (err == nil) != (bad == "session_id") {
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
	for _, bad := range []string{"a b", "a;b=c", `a"b`, "a,b", `a\b`, "a\nb", "é"} {
		if err := (inject.Cookie{Name: "session"}).Inject(r, values(bad)); !errors.Is(err, credential.ErrUnusable) || strings.Contains(r.Header.Get("Cookie"), "session") {
			t.Errorf("%q gives %v, %q", bad, err, r.Header)
		}
	}
	for _, bad := range []string{"", "a=b", "a;b", "a b"} {
		if (inject.Cookie{Name: bad}).Validate() == nil {
			t.Errorf("the name %q passes", bad)
		}
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
	} {
		r := post(t, "https://x.test/", "application/json", bad)
		if bad == "" {
			continue
		}
		if err := (inject.Body{Pointer: at}).Inject(r, values(canary)); !errors.Is(err, credential.ErrUnusable) {
			t.Errorf("%s gives %v", bad, err)
		}
	}
	r := post(t, "https://x.test/", "text/plain", "{}")
	if err := (inject.Body{Pointer: at}).Inject(r, values(canary)); !errors.Is(err, credential.ErrUnusable) {
		t.Errorf("another type gives %v", err)
	}
	for pointer, ok := range map[string]bool{
		at: true, "/params/a~1b/c~0d": true, "/params/x": true, "": false, "params": false, "/": false, "/params//x": false, "/params/a~2": false,
		"/method": false, "/id": false, "/params": false, "/ID": false, "/result/x": false, "/params/_meta/x": false, strings.Repeat("/params", 17): false,
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
		"sigv4":  {inject.SigV4{Region: "eu-central-1", Service: "execute-api"}, []string{"AKIDEXAMPLE", canary}},
	} {
		b.Run(name, func(b *testing.B) {
			list := values(way.values...)
			b.ReportAllocs()
			for b.Loop() {
				r := post(b, "https://x.test/mcp", "application/json", body)
				if err := way.injector.Inject(r, list); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
