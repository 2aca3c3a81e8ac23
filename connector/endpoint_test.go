package connector

import (
	"errors"
	"net/url"
	"strings"
	"testing"

	"sallyport.dev/auth"
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

// TestPlacesAreSealed: nobody but the process that sealed a place reads it, and for no other principal or server.
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
	session := p.hide("wiki", me, place)
	if got, ok := p.find("wiki", me, session); !ok || got != place {
		t.Errorf("%q, %v", got, ok)
	}
	if len(session) > 1536 || strings.Contains(session, "messages") {
		t.Errorf("the session has %d bytes: %.100s", len(session), session)
	}
	for name, find := range map[string]func() (string, bool){
		"another server": func() (string, bool) { return p.find("vault", me, session) },
		"another subject": func() (string, bool) {
			return p.find("wiki", auth.Principal{Issuer: "https://i", Subject: "you"}, session)
		},
		"another issuer": func() (string, bool) {
			return p.find("wiki", auth.Principal{Issuer: "https://j", Subject: "me"}, session)
		},
		"another process": func() (string, bool) { return other.find("wiki", me, session) },
		"a cut one":       func() (string, bool) { return p.find("wiki", me, session[:len(session)-4]) },
		"an altered one":  func() (string, bool) { return p.find("wiki", me, "A"+session[1:]+"AAAA") },
		"an empty one":    func() (string, bool) { return p.find("wiki", me, "") },
		"a plain path":    func() (string, bool) { return p.find("wiki", me, "/messages") },
	} {
		if got, ok := find(); ok || got != "" {
			t.Errorf("%s: %q, %v", name, got, ok)
		}
	}
}
