package telemetry

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

var errDial = &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}

// TestCollectorsThatComeBack: what could not be sent because nobody was there is sent when somebody is, within 30 s, and one line says so.
func TestCollectorsThatComeBack(t *testing.T) {
	for name, c := range map[string]struct {
		away time.Duration
		sent bool
	}{"soon": {20 * time.Second, true}, "late": {31 * time.Second, false}} {
		synctest.Test(t, func(t *testing.T) {
			var log bytes.Buffer
			q := newQueue(SignalTraces, slog.New(slog.NewTextHandler(&log, nil)))
			began, sent := time.Now(), false
			if !q.admit() {
				t.Fatal("there is no room")
			}
			q.send(t.Context(), 1, func(context.Context) error {
				if time.Since(began) < c.away {
					return errDial
				}
				sent = true
				return nil
			})
			if sent != c.sent || (q.failed.Load() == 0) != c.sent || q.waiting.Load() != 0 {
				t.Errorf("%s: sent %v, %d were lost, %d wait", name, sent, q.failed.Load(), q.waiting.Load())
			}
			if took := time.Since(began); took > 30*time.Second {
				t.Errorf("%s: it took %s", name, took)
			}
			if text := log.String(); strings.Count(text, "does not take telemetry") != 1 || !strings.Contains(text, "connection refused") || strings.Contains(text, "takes telemetry again") != c.sent {
				t.Errorf("%s: %s", name, text)
			}
		})
	}
}

// TestTheEndDoesNotWaitForACollector that is not there.
func TestTheEndDoesNotWaitForACollector(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(SignalLogs, slog.New(slog.DiscardHandler))
		time.AfterFunc(100*time.Millisecond, q.giveUp)
		began := time.Now()
		q.send(t.Context(), 1, func(context.Context) error { return errDial })
		if took := time.Since(began); took != 100*time.Millisecond || q.failed.Load() != 1 {
			t.Errorf("it took %s, and %d were lost", took, q.failed.Load())
		}
	})
}

// TestOtherFailuresAreNotRepeated here: the exporters know which of them they may.
func TestOtherFailuresAreNotRepeated(t *testing.T) {
	q, attempts := newQueue(SignalTraces, slog.New(slog.DiscardHandler)), 0
	q.send(t.Context(), 1, func(context.Context) error {
		attempts++
		return errors.New("failed to send to http://c/v1/traces: 401 Unauthorized (body: )")
	})
	if attempts != 1 || q.failed.Load() != 1 {
		t.Errorf("%d attempts, %d were lost", attempts, q.failed.Load())
	}
}

// TestTroubleIsToldAtOnce, although the exporters try again for half a minute.
func TestTroubleIsToldAtOnce(t *testing.T) {
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }))
	defer plain.Close()
	strange := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { hijack(w, "\x00\x00\x06 "+canary) }))
	defer strange.Close()
	for url, want := range map[string]string{
		plain.URL: "HTTP 503", strings.Replace(plain.URL, "http:", "https:", 1): "it does not speak TLS", strange.URL: "it does not speak HTTP/1.1",
	} {
		var heard []string
		client, stop := newClient(nil, time.Second, nil, func(why string) { heard = append(heard, why) })
		resp, err := client.Get(url)
		if err == nil {
			_ = resp.Body.Close()
		}
		stop()
		if len(heard) != 1 || !strings.HasPrefix(heard[0], want) {
			t.Errorf("%s: %q, want %s", url, heard, want)
		}
	}
}

// TestWhatIsLostAtTheEnd is told, by its number.
func TestWhatIsLostAtTheEnd(t *testing.T) {
	var log bytes.Buffer
	tel, err := Setup(t.Context(), Config{OTLP: OTLP{Endpoint: "http://127.0.0.1:1", Signals: []string{SignalTraces}}}, Options{Role: "gateway", Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		tel.Tracer.End(tel.Tracer.Begin(sampled(1), time.Now()), Ended{Name: "ping", End: time.Now(), Attributes: tel.Tracer.Attributes()})
	}
	tel.Discard() // as when the time for the end is over
	tel.Shutdown()
	if text := log.String(); strings.Count(text, "the process ends before") != 1 || !strings.Contains(text, "lost=3") || !strings.Contains(text, "signal=traces") {
		t.Errorf("the log says %s", text)
	}
}
