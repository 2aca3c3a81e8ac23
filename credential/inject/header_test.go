package inject_test

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"sallyport.dev/credential"
	"sallyport.dev/credential/inject"
	"sallyport.dev/secret"
)

func TestHeaderValidate(t *testing.T) {
	for _, good := range []inject.Header{
		{Name: "Authorization", Template: "Bearer {secret}"},
		{Name: "X-Api-Key", Template: "{secret}"},
		{Name: "api_key", Template: "{secret}"},
		{Name: "Cookie", Template: "session={secret}; path=/"},
		{Name: "PRIVATE-TOKEN", Template: "{{secret}}"},
	} {
		if err := good.Validate(); err != nil {
			t.Errorf("%+v is refused: %v", good, err)
		}
	}
	for _, test := range []struct{ name, template, says string }{
		{"", "{secret}", "not a valid field name"},
		{"X Api", "{secret}", "not a valid field name"},
		{"X:Api", "{secret}", "not a valid field name"},
		{"X\r\nApi", "{secret}", "not a valid field name"},
		{"Ключ", "{secret}", "not a valid field name"},
		{strings.Repeat("x", 257), "{secret}", "not a valid field name"},
		{"Host", "{secret}", "reserved"},
		{"Content-Length", "{secret}", "reserved"},
		{"content_length", "{secret}", "reserved"},
		{"TRANSFER-ENCODING", "{secret}", "reserved"},
		{"Connection", "{secret}", "reserved"},
		{"Keep-Alive", "{secret}", "reserved"},
		{"Proxy-Authorization", "{secret}", "reserved"},
		{"TE", "{secret}", "reserved"},
		{"Trailer", "{secret}", "reserved"},
		{"Upgrade", "{secret}", "reserved"},
		{"Idempotency-Key", "{secret}", "reserved"},
		{"Mcp-Session-Id", "{secret}", "reserved"},
		{"MCP_Protocol_Version", "{secret}", "reserved"},
		{"Mcp-Param-Region", "{secret}", "reserved"},
		{"Sallyport-Request-Id", "{secret}", "reserved"},
		{"X-Forwarded-For", "{secret}", "reserved"},
		{"Accept", "{secret}", "reserved"},
		{"last_event_id", "{secret}", "reserved"},
		{"X-HTTP-Method-Override", "{secret}", "reserved"},
		{"X-Original-URL", "{secret}", "reserved"},
		{"X-Key", "", "exactly once"},
		{"X-Key", "Bearer", "exactly once"},
		{"X-Key", "Bearer {Secret}", "exactly once"},
		{"X-Key", "{secret}{secret}", "exactly once"},
		{"X-Key", "a\r\nb: {secret}", "printable ASCII"},
		{"X-Key", "a\n{secret}", "printable ASCII"},
		{"X-Key", "a\t{secret}", "printable ASCII"},
		{"X-Key", "a\x00{secret}", "printable ASCII"},
		{"X-Key", "é{secret}", "printable ASCII"},
		{"X-Key", " {secret}", "printable ASCII"},
		{"X-Key", "{secret} ", "printable ASCII"},
		{"X-Key", "{secret}" + strings.Repeat("x", 256), "longer than"},
	} {
		err := inject.Header{Name: test.name, Template: test.template}.Validate()
		if !errors.Is(err, credential.ErrConfig) || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%q: %q gives %v, want %s", test.name, test.template, err, test.says)
		}
	}
}

func TestInjectReplacesEveryVariant(t *testing.T) {
	for _, test := range []struct {
		name    string
		present []string
		stay    []string
	}{
		{"Authorization", []string{"Authorization", "authorization", "AUTHORIZATION", "aUTHORIZATION"}, []string{"X-Authorization", "Authorization2"}},
		{"X-Api-Key", []string{"X-Api-Key", "x_api_key", "X_Api-Key", "X-API_KEY"}, []string{"X-Api-Keys", "Xapikey"}},
		{"x_api_key", []string{"X-Api-Key", "x-api-key", "X_API_KEY"}, []string{"Api-Key"}},
	} {
		r := &http.Request{Header: http.Header{}, Trailer: http.Header{}}
		for _, name := range slices.Concat(test.present, test.stay) {
			r.Header[name] = []string{"from the agent", "twice"}
			r.Trailer[name] = nil
		}
		header := inject.Header{Name: test.name, Template: "Bearer {secret}"}
		if err := header.Inject(r, []secret.Value{secret.New(canary)}); err != nil {
			t.Fatal(err)
		}
		if got := r.Header.Values(test.name); len(got) != 1 || got[0] != "Bearer "+canary {
			t.Errorf("%s is %d values", test.name, len(got))
		}
		if len(r.Header) != 1+len(test.stay) || len(r.Trailer) != len(test.stay) {
			t.Errorf("%s leaves %d fields and %d trailers", test.name, len(r.Header), len(r.Trailer))
		}
	}
}

func TestInjectRefusesAndStrips(t *testing.T) {
	header := inject.Header{Name: "Authorization", Template: "Bearer {secret}"}
	for _, test := range []struct {
		name   string
		header inject.Header
		value  secret.Value
		want   error
	}{
		{"unset", header, secret.Value{}, credential.ErrUnusable},
		{"CRLF", header, secret.New(canary + "\r\nX-Evil: 1"), credential.ErrUnusable},
		{"LF", header, secret.New(canary + "\n"), credential.ErrUnusable},
		{"tab", header, secret.New(canary + "\t" + canary), credential.ErrUnusable},
		{"NUL", header, secret.New(canary + "\x00"), credential.ErrUnusable},
		{"DEL", header, secret.New(canary + "\x7f"), credential.ErrUnusable},
		{"not ASCII", header, secret.New(canary + "é"), credential.ErrUnusable},
		{"space first", header, secret.New(" " + canary), credential.ErrUnusable},
		{"space last", header, secret.New(canary + " "), credential.ErrUnusable},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := &http.Request{Header: http.Header{"Authorization": {"Bearer of the agent"}}}
			err := test.header.Inject(r, []secret.Value{test.value})
			if !errors.Is(err, test.want) {
				t.Fatalf("got %v, want %v", err, test.want)
			}
			leaks(t, "the error", err.Error())
			if test.header.Name == "Authorization" && len(r.Header) != 0 {
				t.Error("the agent's own field is still there")
			}
			for _, values := range r.Header {
				if strings.Contains(strings.Join(values, ""), canary) {
					t.Error("a refused secret was put in")
				}
			}
		})
	}
}

func FuzzInjectNeverMakesASecondField(f *testing.F) {
	f.Add("token", "x_api_key")
	f.Add("a\r\nb: c", "X-Api-Key")
	f.Fuzz(func(t *testing.T, value, sent string) {
		r := &http.Request{Header: http.Header{sent: {"from the agent"}}}
		header := inject.Header{Name: "X-Api-Key", Template: "k={secret}"}
		err := header.Inject(r, []secret.Value{secret.New(value)})
		for name, values := range r.Header {
			folded := strings.ReplaceAll(strings.ToLower(name), "_", "-")
			if folded != "x-api-key" {
				continue
			}
			if err != nil || len(values) != 1 || values[0] != "k="+value || strings.ContainsAny(value, "\r\n\x00") {
				t.Errorf("%q holds %q, %v", name, values, err)
			}
		}
		if err == nil && r.Header.Get("X-Api-Key") != "k="+value {
			t.Error("accepted and not set")
		}
	})
}
