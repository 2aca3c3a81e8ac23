package main

import (
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// TestMetricsOfAConnector that shows none, or does not know the question, are an error that says what to do.
func TestMetricsOfAConnector(t *testing.T) {
	for name, c := range map[string]struct {
		handler    http.HandlerFunc
		text, says string
	}{
		"metrics":      {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("# TYPE a counter\na 1\n")) }, "# TYPE a counter\na 1\n", ""},
		"an older one": {http.NotFound, "", "restart it with this version"},
		"none": {func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "connector: it measures nothing: telemetry is off (OTEL_SDK_DISABLED)", http.StatusNotFound)
		}, "", "telemetry is off"},
	} {
		t.Run(name, func(t *testing.T) {
			socket := filepath.Join(t.TempDir(), "s")
			listener, err := net.Listen("unix", socket)
			if err != nil {
				t.Fatal(err)
			}
			server := &http.Server{Handler: c.handler}
			var crew sync.WaitGroup
			crew.Go(func() { _ = server.Serve(listener) }) // until it is closed
			defer crew.Wait()
			defer func() { _ = server.Close() }()
			text, err := askControl(t.Context(), socket, http.MethodGet, "/v1/metrics")
			if string(text) != c.text || (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
				t.Errorf("%q, %v", text, err)
			}
		})
	}
}
