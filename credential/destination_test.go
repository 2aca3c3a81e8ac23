package credential_test

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"sallyport.dev/credential"
)

func TestDestinationValidate(t *testing.T) {
	for _, test := range []struct {
		url   string
		plain bool
		says  string
	}{
		{"https://wiki.internal/mcp", false, ""},
		{"http://127.0.0.1:8080/mcp", true, ""},
		{"https://[fd12::1]:8443/", false, ""},
		{"http://wiki.internal/mcp", false, "set allow_plaintext: true"},
		{"wiki.internal/mcp", false, "not absolute"},
		{"https:wiki", false, "not absolute"},
		{"https:///mcp", false, "not absolute"},
		{"https://:443/mcp", false, "not absolute"},
		{"ftp://wiki.internal/", true, "neither https nor http"},
		{"https://user:" + canary + "@wiki.internal/", false, "holds a user or a password"},
		{"https://wiki.internal:/mcp", false, "a colon and no port"},
		{"https://wïki.internal/", false, "xn--"},
	} {
		err := credential.Destination{URL: mustURL(t, test.url), AllowPlaintext: test.plain}.Validate()
		if test.says == "" {
			if err != nil {
				t.Errorf("%s is refused: %v", test.url, err)
			}
			continue
		}
		if !errors.Is(err, credential.ErrConfig) || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s gives %v, want %s", test.url, err, test.says)
			continue
		}
		leaks(t, "the error", err.Error())
	}
	if (credential.Destination{}).Validate() == nil {
		t.Error("the zero destination is usable")
	}
}

func TestDestinationCheck(t *testing.T) {
	https, plain := "https://wiki.internal/mcp", "http://127.0.0.1:8080/mcp"
	for _, test := range []struct {
		bound, to, host, says string
	}{
		{https, "https://wiki.internal/other?q=" + canary, "", ""},
		{https, "https://WIKI.internal:443/", "", ""},
		{"https://wiki.internal:443/", "https://wiki.internal/", "", ""},
		{https, "https://wiki.internal/", "Wiki.Internal:443", ""},
		{plain, "http://127.0.0.1:8080/", "127.0.0.1:8080", ""},
		{https, "http://wiki.internal/", "", "scheme"},
		{https, "http://wiki.internal:443/", "", "scheme"},
		{https, "HTTPS-x://wiki.internal/", "", "scheme"},
		{https, "https://wiki.internal:8443/", "", "port"},
		{https, "https://wiki.internal:0443/", "", "port"},
		{https, "https://wiki.internal:/", "", "port"},
		{https, "https://evil.example/", "", "host"},
		{https, "https://wiki.internal.evil.example/", "", "host"},
		{https, "https://wiki.internal./", "", "host"},
		{https, "https://wi\u212ai.internal/", "", "host"}, // the Kelvin sign folds to k
		{https, "https://user@wiki.internal/", "", "userinfo"},
		{https, "https://wiki.internal@evil.example/", "", "userinfo"},
		{https, "https:wiki.internal", "", "absolute"},
		{https, "/mcp", "", "scheme"},
		{https, "https://wiki.internal/", "evil.example", "Host field"},
		{https, "https://wiki.internal/", "wiki.internal:80", "Host field"},
		{https, "https://wiki.internal/", "wiki.internal:", "Host field"},
		{plain, "https://127.0.0.1:8080/", "", "scheme"},
		{plain, "http://127.0.0.1/", "", "port"},
		{plain, "http://localhost:8080/", "", "host"},
	} {
		bound := credential.Destination{URL: mustURL(t, test.bound), AllowPlaintext: true}
		err := bound.Check(&http.Request{Method: http.MethodPost, URL: mustURL(t, test.to), Host: test.host})
		if test.says == "" {
			if err != nil {
				t.Errorf("%s to %s is refused: %v", test.bound, test.to, err)
			}
			continue
		}
		if !errors.Is(err, credential.ErrDestination) || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s to %s (Host %q) gives %v, want %s", test.bound, test.to, test.host, err, test.says)
			continue
		}
		leaks(t, "the error", err.Error())
	}
}

func TestDestinationCheckFailsClosed(t *testing.T) {
	to := mustURL(t, "http://wiki.internal/")
	for name, bound := range map[string]credential.Destination{
		"zero":         {},
		"plain http":   {URL: to},
		"zero but URL": {URL: &url.URL{}},
	} {
		if err := bound.Check(&http.Request{URL: to}); !errors.Is(err, credential.ErrDestination) {
			t.Errorf("%s gives %v", name, err)
		}
	}
	bound := credential.Destination{URL: mustURL(t, "https://wiki.internal/")}
	if err := bound.Check(&http.Request{}); !errors.Is(err, credential.ErrDestination) {
		t.Errorf("no URL gives %v", err)
	}
	connect := &http.Request{Method: http.MethodConnect, URL: mustURL(t, "https://wiki.internal/")}
	if err := bound.Check(connect); !errors.Is(err, credential.ErrDestination) {
		t.Errorf("CONNECT gives %v", err)
	}
}
