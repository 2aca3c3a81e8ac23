package auth_test

import (
	"errors"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"sallyport.dev/auth"
)

func request(authorization ...string) *http.Request {
	return &http.Request{Header: http.Header{"Authorization": authorization}}
}

func TestBearer(t *testing.T) {
	long := strings.Repeat("a", 8<<10)
	cases := []struct {
		name   string
		fields []string
		token  string
		want   error
	}{
		{"plain", []string{"Bearer abc"}, "abc", nil},
		{"any case", []string{"bEaReR abc"}, "abc", nil},
		{"two spaces", []string{"Bearer  abc"}, "abc", nil},
		{"whole alphabet", []string{"Bearer aZ09-._~+/=="}, "aZ09-._~+/==", nil},
		{"8 KiB", []string{"Bearer " + long}, long, nil},
		{"absent", nil, "", auth.ErrNoToken},
		{"other scheme", []string{"Basic dXNlcjpwYXNz"}, "", auth.ErrNoToken},
		{"longer scheme", []string{"BearerX abc"}, "", auth.ErrNoToken},
		{"two fields", []string{"Bearer abc", "Bearer abc"}, "", auth.ErrMalformed},
		{"two fields, one basic", []string{"Basic abc", "Bearer abc"}, "", auth.ErrMalformed},
		{"two in one field", []string{"Bearer abc, Bearer def"}, "", auth.ErrMalformed},
		{"empty field", []string{""}, "", auth.ErrMalformed},
		{"no scheme", []string{" abc"}, "", auth.ErrMalformed},
		{"scheme only", []string{"Bearer"}, "", auth.ErrMalformed},
		{"scheme and space", []string{"Bearer "}, "", auth.ErrMalformed},
		{"tab", []string{"Bearer\tabc"}, "", auth.ErrMalformed},
		{"padding only", []string{"Bearer =="}, "", auth.ErrMalformed},
		{"padding inside", []string{"Bearer a=b"}, "", auth.ErrMalformed},
		{"space inside", []string{"Bearer a b"}, "", auth.ErrMalformed},
		{"space behind", []string{"Bearer a "}, "", auth.ErrMalformed},
		{"NUL", []string{"Bearer a\x00"}, "", auth.ErrMalformed},
		{"not ASCII", []string{"Bearer é"}, "", auth.ErrMalformed},
		{"quoted", []string{`Bearer "abc"`}, "", auth.ErrMalformed},
		{"above 8 KiB", []string{"Bearer a" + long}, "", auth.ErrMalformed},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			token, err := auth.Bearer(request(c.fields...))
			if token != c.token || !errors.Is(err, c.want) {
				t.Errorf("got %q, %v; want %q, %v", token, err, c.token, c.want)
			}
		})
	}
}

func TestBearerErrorsQuoteNothing(t *testing.T) {
	for _, field := range []string{"canary abc", "canary", "Bearer canary canary", "can\x01ary abc"} {
		if _, err := auth.Bearer(request(field)); err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("%q: got %v", field, err)
		}
	}
}

// FuzzBearer compares with the grammar written as an expression.
func FuzzBearer(f *testing.F) {
	for _, seed := range []string{"Bearer abc", "bearer  a==", "Bearer a=b", "Basic x", "", "Bearer", "Bearer\u00a0a", "BEARER a "} {
		f.Add(seed, false)
	}
	f.Add("Bearer abc", true)
	grammar := regexp.MustCompile(`\A(?i:bearer) +([A-Za-z0-9\-._~+/]+=*)\z`)
	f.Fuzz(func(t *testing.T, field string, twice bool) {
		fields := []string{field}
		if twice {
			fields = append(fields, field)
		}
		token, err := auth.Bearer(request(fields...))
		match := grammar.FindStringSubmatch(field)
		want := match != nil && !twice && len(match[1]) <= 8<<10
		if (err == nil) != want {
			t.Fatalf("%q (twice %v): got %v, the grammar says %v", field, twice, err, want)
		}
		if err == nil && token != match[1] {
			t.Fatalf("%q: got %q, want %q", field, token, match[1])
		}
		if err != nil && (token != "" || !errors.Is(err, auth.ErrNoToken) && !errors.Is(err, auth.ErrMalformed)) {
			t.Fatalf("%q: got %q, %v", field, token, err)
		}
	})
}
