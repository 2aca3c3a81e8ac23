package connector

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"
)

// What a handler in memory writes is there when it is flushed, and its context ends with the body.
func TestInMemory(t *testing.T) {
	gone := make(chan error, 1)
	m := inMemory{http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/stream":
			w.Header().Set("Content-Type", "text/event-stream")
			w.WriteHeader(http.StatusOK)
			w.Header().Set("Too-Late", "1")
			for i := range 3 {
				fmt.Fprintf(w, "data: %d\n", i)
				_ = http.NewResponseController(w).Flush()
			}
			<-r.Context().Done()
			gone <- context.Cause(r.Context())
		case "/silent":
			<-r.Context().Done()
			gone <- context.Cause(r.Context())
		case "/empty":
		case "/panic":
			panic("an accident")
		case "/broken":
			fmt.Fprint(w, "half")
			panic("an accident")
		case "/echo":
			w.WriteHeader(http.StatusTeapot)
			_, _ = io.Copy(w, r.Body)
		}
	}), slog.New(slog.DiscardHandler)}
	get := func(ctx context.Context, path, body string) (*http.Response, error) {
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://database.invalid"+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		return m.RoundTrip(r)
	}

	resp, err := get(t.Context(), "/stream", "")
	if err != nil || resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" || resp.Header.Get("Too-Late") != "" {
		t.Fatalf("%v: %+v", err, resp)
	}
	lines := bufio.NewReader(resp.Body)
	for i := range 3 {
		if line, err := lines.ReadString('\n'); err != nil || line != fmt.Sprintf("data: %d\n", i) {
			t.Errorf("%v: %q", err, line)
		}
	}
	_ = resp.Body.Close()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}

	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := get(ctx, "/silent", ""); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	if err := <-gone; !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}

	for path, want := range map[string]struct {
		status int
		body   string
		broken bool
	}{"/empty": {200, "", false}, "/panic": {500, "", true}, "/broken": {200, "half", true}, "/echo": {418, "body", false}} {
		resp, err := get(t.Context(), path, "body")
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != want.status || string(body) != want.body || (err != nil) != want.broken {
			t.Errorf("%s: %d %q, %v", path, resp.StatusCode, body, err)
		}
	}
}
