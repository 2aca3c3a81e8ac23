package demo

import (
	"bytes"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// maxTranscript bounds what is kept of an agent's traffic, in bytes; a demo's is a few thousand.
const maxTranscript = 4 << 20

// transcript keeps everything that an agent sends and receives, to look for values in it.
type transcript struct {
	mu     sync.Mutex // guards what follows
	tokens []string   // the Authorization fields that were sent
	text   bytes.Buffer
}

// around is an agent.Config.Wrap.
func (t *transcript) around(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		t.mu.Lock()
		t.tokens = append(t.tokens, r.Header.Values("Authorization")...)
		t.mu.Unlock()
		_ = r.Header.Write(t) // a transcript takes everything
		if r.GetBody != nil {
			if body, err := r.GetBody(); err == nil {
				_, _ = io.Copy(t, io.LimitReader(body, maxTranscript))
			}
		}
		resp, err := next.RoundTrip(r)
		if err != nil {
			return nil, err
		}
		_ = resp.Header.Write(t) // as above
		resp.Body = tee{io.TeeReader(resp.Body, t), resp.Body}
		return resp, nil
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

type tee struct {
	io.Reader
	io.Closer
}

// Write implements io.Writer.
func (t *transcript) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.text.Len() < maxTranscript {
		_, _ = t.text.Write(p)
	}
	return len(p), nil
}

// holds reports whether the value went over the wire in either direction.
func (t *transcript) holds(value string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.Contains(t.text.String(), value)
}

// sentOnly reports whether every request carried this token and no other.
func (t *transcript) sentOnly(token string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.tokens) > 0 && !slices.ContainsFunc(t.tokens, func(sent string) bool { return sent != "Bearer "+token })
}
