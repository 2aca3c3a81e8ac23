package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"sallyport.dev/connector"
	"sallyport.dev/credential/inject"
	"sallyport.dev/credential/scrub"
	"sallyport.dev/secret"
)

const (
	manySecrets = 8
	bulkBytes   = 64 << 20 // of a long answer
	bulkRounds  = 6
	spinFor     = 50 * time.Millisecond // how long a small thing is done again and again to be timed
)

// credentialFigures are what credentials cost, one value a round: servers that differ in their credentials alone, behind one
// connector.
type credentialFigures struct {
	small, smallKeyed []float64 // calls a second
	bulk, bulkKeyed   []float64 // bytes a second
	inject            []time.Duration
	plain, escaped    []float64 // nanoseconds a byte that is looked through
	tiny              []time.Duration
}

// measureCredentials measures in turn calls and long answers of a server without credentials and of one with eight, and
// then the parts by themselves.
func (p plan) measureCredentials(ctx context.Context, self string) (f credentialFigures, err error) {
	fleet, stop, err := newFleet(self)
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	at, err := fleet.sallyport(ctx, "quic", true)
	if err != nil {
		return f, err
	}
	path := func(name string) target {
		return target{name: name, addr: at.addr, wire: request(at.addr, "/t/"+tunnelName+"/"+name+"/mcp")}
	}
	for _, name := range []string{"mcp", "keyed"} {
		if err := p.warm(ctx, path(name)); err != nil {
			return f, err
		}
	}
	for range p.rounds {
		for name, into := range map[string]*[]float64{"mcp": &f.small, "keyed": &f.smallKeyed} {
			calls, err := load(ctx, path(name), p.agents, p.load)
			if err != nil {
				return f, err
			}
			*into = append(*into, float64(len(calls))/p.load.Seconds())
		}
	}
	for range min(p.rounds, bulkRounds) {
		for name, into := range map[string]*[]float64{"bulk": &f.bulk, "bulkkeyed": &f.bulkKeyed} {
			took, err := download(ctx, path(name))
			if err != nil {
				return f, err
			}
			*into = append(*into, bulkBytes/took.Seconds())
		}
	}
	return f, f.measureParts(p.rounds)
}

// download makes one call and says how long its answer took.
func download(ctx context.Context, t target) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	a, err := newAgent(ctx, t.addr, t.wire)
	if err != nil {
		return 0, err
	}
	defer a.close()
	defer context.AfterFunc(ctx, a.close)()
	_, took, err := a.call()
	if err != nil {
		return 0, fmt.Errorf("%s: %w", t.name, err)
	}
	return took, nil
}

// keyNumber is one of the secrets.
func keyNumber(i int) string { return fmt.Sprintf("figures-key-%d-Zq7Lw2nXv9Rb4Kt0PdFg", i) }

// keyed adds eight credentials to a server.
func (j job) keyed(url string) connector.Server {
	s := connector.Server{URL: url, AllowPlaintext: true}
	for i := range manySecrets {
		s.Credentials = append(s.Credentials, connector.Credential{
			Header: &inject.Header{Name: fmt.Sprintf("X-Key-%d", i), Template: "{secret}"},
			Secret: j.secret(fmt.Sprintf("key-%d", i), keyNumber(i)),
		})
	}
	return s
}

// bulk answers with a long text.
func bulk() http.HandlerFunc {
	const head, tail = `{"jsonrpc":"2.0","id":1,"result":{"text":"`, `"}}`
	text := strings.Repeat("Revenue by region, third quarter: north 1,204, east 998, south 1,377, west 1,045 (thousands). ", 700)[:64<<10]
	first, piece, last := []byte(head+text[len(head):]), []byte(text), []byte(text[len(tail):]+tail)
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", strconv.Itoa(bulkBytes))
		pieces := bulkBytes / len(piece)
		for i := range pieces {
			next := piece
			switch i {
			case 0:
				next = first
			case pieces - 1:
				next = last
			}
			if _, err := w.Write(next); err != nil {
				return
			}
		}
	}
}

// measureParts times putting one header in, and looking through bodies.
func (f *credentialFigures) measureParts(rounds int) error {
	header := inject.Header{Name: "Authorization", Template: "Bearer {secret}"}
	values := []secret.Value{secret.New(keyNumber(0))}
	r := &http.Request{Header: http.Header{
		"Content-Type": {"application/json"}, "Accept": {"application/json"}, "Traceparent": {"00"}, "User-Agent": {"x"},
		"Mcp-Protocol-Version": {"2025-11-25"}, "Mcp-Session-Id": {"abc"},
	}}
	set := scrub.NewSet()
	for i := range manySecrets {
		set.Use(secret.New(keyNumber(i)))
	}
	scrubber := set.Current()
	plain := bytes.Repeat([]byte(cannedAnswer), 4096)
	escaped := bytes.Repeat([]byte(`{\"region\":\"north\",\"total\":1204,\n\"path\":\"\/reports\/q3\"},`), 20000)
	into := make([]byte, 32<<10)
	look := func(body []byte) error {
		through := scrubber.Reader(io.NopCloser(bytes.NewReader(body)), func() {})
		_, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, through, into)
		return errors.Join(err, through.Close())
	}
	for range rounds {
		took, err := spin(func() error { return header.Inject(r, values) })
		if err != nil {
			return err
		}
		f.inject = append(f.inject, took)
		if took, err = spin(func() error { return look(plain) }); err != nil {
			return err
		}
		f.plain = append(f.plain, float64(took)/float64(len(plain)))
		if took, err = spin(func() error { return look(escaped) }); err != nil {
			return err
		}
		f.escaped = append(f.escaped, float64(took)/float64(len(escaped)))
		if took, err = spin(func() error { return look([]byte(cannedAnswer)[:64]) }); err != nil {
			return err
		}
		f.tiny = append(f.tiny, took)
	}
	return nil
}

// spin does something again and again for a while, and returns how long it takes once.
func spin(do func() error) (time.Duration, error) {
	began, times := time.Now(), 0
	for time.Since(began) < spinFor {
		if err := do(); err != nil {
			return 0, err
		}
		times++
	}
	return time.Since(began) / time.Duration(times), nil
}

// table is what credentials cost, in Markdown.
func (f credentialFigures) table(agents int) string {
	ratio := func(with, without []float64) float64 {
		ratios := make([]float64, len(with))
		for i := range ratios {
			ratios[i] = with[i] / without[i]
		}
		return middle(ratios)
	}
	return fmt.Sprintf("| through gateway and connector, over QUIC | without credentials | with %d | ratio |\n|---|--:|--:|--:|\n", manySecrets) +
		fmt.Sprintf("| small calls, %d agents, calls/s | %.0f | %.0f | %.2f |\n", agents, middle(f.small), middle(f.smallKeyed), ratio(f.smallKeyed, f.small)) +
		fmt.Sprintf("| an answer of 64 MiB, MiB/s | %.0f | %.0f | %.2f |\n", middle(f.bulk)/(1<<20), middle(f.bulkKeyed)/(1<<20), ratio(f.bulkKeyed, f.bulk)) +
		"\n| part | cost |\n|---|--:|\n" +
		fmt.Sprintf("| put one header in | %d ns |\n", middle(f.inject).Nanoseconds()) +
		fmt.Sprintf("| look through an answer of 64 bytes for %d secrets | %d ns |\n", manySecrets, middle(f.tiny).Nanoseconds()) +
		fmt.Sprintf("| look through JSON, for each byte | %.2f ns |\n", middle(f.plain)) +
		fmt.Sprintf("| look through JSON in a JSON string, an escape every 7 bytes | %.2f ns |\n", middle(f.escaped))
}
