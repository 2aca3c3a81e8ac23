package connector

import (
	"errors"
	"net/url"
	"strings"
	"testing"

	"sallyport.dev/auth"
	"sallyport.dev/mcp"
)

func mustURL(t testing.TB, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// TestPlaceOf: an endpoint event leads back to where its stream came from, or nowhere.
func TestPlaceOf(t *testing.T) {
	for stream, data := range map[string]string{ // the same origin in another spelling
		"https://wiki.internal/sse":     "https://wiki.internal:443/m",
		"https://wiki.internal:443/sse": "https://wiki.internal/m",
		"http://Wiki.internal/sse":      "http://wiki.INTERNAL/m",
	} {
		if got, err := placeOf(mustURL(t, stream), []byte(data)); got != "/m" || err != nil {
			t.Errorf("%s from %s: %q, %v", data, stream, got, err)
		}
	}
	stream := mustURL(t, "http://wiki.internal:8080/base/sse?key=1")
	for data, want := range map[string]string{
		"/messages?sessionId=1":                     "/messages?sessionId=1",
		"messages/?a=b&c=%2F..":                     "/base/messages/?a=b&c=%2F..",
		"?sessionId=2":                              "/base/sse?sessionId=2",
		"http://wiki.internal:8080/m?x":             "/m?x",
		"http://wiki.internal:8080":                 "/",
		"//wiki.internal:8080/m":                    "/m",
		"/a%2Fb/../c":                               "/c",
		"/m#fragment":                               "/m",
		"":                                          "",
		"https://wiki.internal:8080/m":              "",
		"http://wiki.internal/m":                    "",
		"http://wiki.internal:8081/m":               "",
		"http://169.254.169.254/latest":             "",
		"//evil.example/m":                          "",
		"http://me@wiki.internal:8080/m":            "",
		"http://wiki.internal:8080@evil.example/m":  "",
		"http:opaque":                               "",
		"javascript:alert(1)":                       "",
		"file:///etc/passwd":                        "",
		`/\evil.example`:                            "",
		"/m x":                                      "",
		"/m\x00":                                    "",
		"/m\xc3\xa9":                                "",
		"http://wiki.internal:8080//evil.example/m": "",
		"/" + strings.Repeat("m", maxPlace):         "",
		"/%zz":                                      "",
	} {
		got, err := placeOf(stream, []byte(data))
		if got != want || (err == nil) != (want != "") || err != nil && !errors.Is(err, errAnswer) {
			t.Errorf("%q: %q, %v; want %q", data, got, err, want)
		}
		if err != nil && len(data) > 4 && strings.Contains(err.Error(), data) {
			t.Errorf("the error quotes the upstream: %v", err)
		}
	}
}

// FuzzPlaceOf: whatever an upstream says, what is called in the end has the stream's origin.
func FuzzPlaceOf(f *testing.F) {
	for _, seed := range []string{"/messages?sessionId=1", "//x/y", "http://wiki.internal:8080/", "..//x", "/.//x", "///x", "?#", "/%2f%2fx"} {
		f.Add(seed)
	}
	stream := mustURL(f, "http://wiki.internal:8080/base/sse")
	f.Fuzz(func(t *testing.T, data string) {
		place, err := placeOf(stream, []byte(data))
		if err != nil {
			return
		}
		target, err := stream.Parse(place)
		if err != nil || target.Scheme != stream.Scheme || target.Host != stream.Host || target.User != nil || !strings.HasPrefix(target.RequestURI(), "/") {
			t.Errorf("%q leads to %q, %v", data, target, err)
		}
		if len(place) > maxPlace {
			t.Errorf("%q is %d bytes long", data, len(place))
		}
	})
}

// TestPlacesAreSealed: nobody but the process that sealed a place reads it, and for no other principal, server, origin or credential.
func TestPlacesAreSealed(t *testing.T) {
	p, err := newPlaces()
	if err != nil {
		t.Fatal(err)
	}
	other, err := newPlaces()
	if err != nil {
		t.Fatal(err)
	}
	me := auth.Principal{Issuer: "https://i", Subject: "me"}
	place := "/messages?sessionId=" + strings.Repeat("s", maxPlace-20)
	stream := mustURL(t, "https://wiki.internal:8443/sse")
	mine := holder("wiki", stream, me, 7)
	session := p.hide(mine, place)
	if got, ok := p.find(mine, session); !ok || got != place {
		t.Errorf("%q, %v", got, ok)
	}
	if len(session) > 1536 || strings.Contains(session, "messages") {
		t.Errorf("the session has %d bytes: %.100s", len(session), session)
	}
	if got, ok := p.find(holder("wiki", mustURL(t, "https://wiki.internal:8443/v2/sse"), me, 7), session); !ok || got != place {
		t.Errorf("a stream elsewhere on the same origin: %q, %v", got, ok)
	}
	for name, theirs := range map[string][]byte{
		"another host":           holder("wiki", mustURL(t, "https://vault.internal:8443/sse"), me, 7),
		"another port":           holder("wiki", mustURL(t, "https://wiki.internal/sse"), me, 7),
		"another scheme":         holder("wiki", mustURL(t, "http://wiki.internal:8443/sse"), me, 7),
		"another server":         holder("vault", stream, me, 7),
		"another subject":        holder("wiki", stream, auth.Principal{Issuer: "https://i", Subject: "you"}, 7),
		"another issuer":         holder("wiki", stream, auth.Principal{Issuer: "https://j", Subject: "me"}, 7),
		"another credential":     holder("wiki", stream, me, 77),
		"no credential":          holder("wiki", stream, me, 0),
		"nobody in particular":   nil,
		"the name of the server": []byte("wiki"),
	} {
		if got, ok := p.find(theirs, session); ok || got != "" {
			t.Errorf("%s: %q, %v", name, got, ok)
		}
	}
	if got, ok := other.find(mine, session); ok || got != "" {
		t.Errorf("another process: %q, %v", got, ok)
	}
	for name, altered := range map[string]string{
		"cut": session[:len(session)-4], "altered": "A" + session[1:] + "AAAA", "empty": "", "a plain path": "/messages",
	} {
		if got, ok := p.find(mine, altered); ok || got != "" {
			t.Errorf("%s: %q, %v", name, got, ok)
		}
	}
}

// TestPlacesAfterAReload: a path that one upstream has named is not called at another that has taken its place.
func TestPlacesAfterAReload(t *testing.T) {
	cfg := testConfig(t, nowhere)
	cfg.Servers = map[string]Server{"wiki": {SSEURL: "https://127.0.0.1:9/sse"}}
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	target := func(session string) *url.URL {
		n := &note{server: "wiki", principal: auth.Principal{Issuer: "https://i", Subject: "me"}, upstream: c.current().servers["wiki"]}
		n.call = &mcp.Call{Endpoint: mcp.EndpointMessages, SessionID: session}
		return c.target(n, 0)
	}
	session := c.places.hide(holder("wiki", c.current().servers["wiki"].sse, auth.Principal{Issuer: "https://i", Subject: "me"}, 0), "/admin?delete=all")
	if got := target(session); got == nil || got.String() != "https://127.0.0.1:9/admin?delete=all" {
		t.Errorf("before: %v", got)
	}
	cfg.Servers = map[string]Server{"wiki": {SSEURL: "https://127.0.0.2:9/sse"}}
	if _, err := c.Reload(cfg); err != nil {
		t.Fatal(err)
	}
	if got := target(session); got != nil {
		t.Errorf("after: %v", got)
	}
}
