package telemetry

import (
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sallyport.dev/secret"
)

// TestMistakesOfOTLP are errors that begin with the key, and say what to write.
func TestMistakesOfOTLP(t *testing.T) {
	for name, c := range map[string]struct {
		otlp OTLP
		want string // none if it is no mistake
	}{
		"nothing":         {},
		"a base":          {otlp: OTLP{Endpoint: "https://otel.example.com/otlp"}},
		"a base like it":  {otlp: OTLP{Endpoint: "https://otel.example.com/v1"}},
		"a signal's path": {OTLP{Endpoint: "http://127.0.0.1:4318/v1/traces"}, "telemetry.otlp.endpoint: write the base URL: /v1/traces is appended to it"},
		"below a path":    {OTLP{Endpoint: "http://127.0.0.1:4318/otlp/v1/metrics/"}, "telemetry.otlp.endpoint: write the base URL: /v1/metrics is appended to it"},
		"a password":      {OTLP{Endpoint: "http://ann:" + canary + "@127.0.0.1:4318"}, "telemetry.otlp.endpoint: write a base URL such as http://127.0.0.1:4318; a password goes into headers"},
		"a text":          {otlp: OTLP{Endpoint: "http://127.0.0.1:4318", Headers: map[string]Header{"x-scope": {Text: "team: a"}}}},
		"a label":         {otlp: OTLP{Endpoint: "http://127.0.0.1:4318", Headers: map[string]Header{"x-scope": {Text: "env:prod"}}}},
		"a reference":     {OTLP{Endpoint: "http://127.0.0.1:4318", Headers: map[string]Header{"x-key": {Text: "file:/etc/" + canary}}}, "telemetry.otlp.headers.x-key: as it stands the reference itself is sent; write { secret: REFERENCE }"},
	} {
		cfg := Config{OTLP: c.otlp}
		err := cfg.Validate()
		if c.want == "" && err != nil || c.want != "" && (err == nil || err.Error() != c.want) {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
}

// TestFactsAndWarnings: what is sent where, and what is most likely a mistake. No header's value is told.
func TestFactsAndWarnings(t *testing.T) {
	tenth := 0.1
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, []byte(canary), 0o600); err != nil {
		t.Fatal(err)
	}
	ref, err := secret.ParseRef("file:" + key)
	if err != nil {
		t.Fatal(err)
	}
	headers := map[string]Header{"x-key": {Secret: ref}}
	for name, c := range map[string]struct {
		otlp            OTLP
		facts, warnings []string
	}{
		"nothing": {},
		"all": {
			OTLP{Endpoint: "https://otel.example.com:4318", Headers: headers, Signals: []string{SignalAudit, SignalLogs, SignalMetrics, SignalTraces}},
			[]string{
				"telemetry: traces go to https://otel.example.com:4318/v1/traces over http/protobuf, of 0.1 of the calls and of those that fail",
				"telemetry: logs go to https://otel.example.com:4318/v1/logs over http/protobuf",
				"telemetry: events of the audit log go to https://otel.example.com:4318/v1/logs over http/protobuf",
				"telemetry: metrics go to https://otel.example.com:4318/v1/metrics over http/protobuf",
			}, nil,
		},
		"in the clear": {
			OTLP{Endpoint: "http://otel.example.com:4317", Headers: headers, Signals: []string{SignalTraces, SignalMetrics}},
			[]string{
				"telemetry: traces go to http://otel.example.com:4317/v1/traces over http/protobuf, of 0.1 of the calls and of those that fail",
				"telemetry: metrics go to http://otel.example.com:4317/v1/metrics over http/protobuf",
			},
			[]string{
				"telemetry: the headers go to otel.example.com:4317 over plain http",
				"telemetry: otel.example.com:4317 is by custom the port for protocol: grpc, and http/protobuf is spoken to it",
			},
		},
		"to this machine": {
			OTLP{Endpoint: "http://127.0.0.1:4318", Protocol: protocolGRPC, Headers: headers, Signals: []string{SignalMetrics}},
			[]string{"telemetry: metrics go to http://127.0.0.1:4318 over grpc"},
			[]string{"telemetry: 127.0.0.1:4318 is by custom the port for protocol: http/protobuf, and grpc is spoken to it"},
		},
	} {
		tel, err := Setup(t.Context(), Config{OTLP: c.otlp, Traces: Traces{Sample: &tenth}}, Options{Role: "gateway", Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		tel.Discard()
		tel.Shutdown()
		if got := tel.Facts(); !slices.Equal(got, c.facts) {
			t.Errorf("%s: facts\n%s", name, strings.Join(got, "\n"))
		}
		if got := tel.Warnings(); !slices.Equal(got, c.warnings) {
			t.Errorf("%s: warnings\n%s", name, strings.Join(got, "\n"))
		}
	}
}

// TestErrorsAreToldOnce although each signal has them, and name what was written.
func TestErrorsAreToldOnce(t *testing.T) {
	env := map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "https://c:4318", "OTEL_EXPORTER_OTLP_CERTIFICATE": "/no/such/file"}
	_, err := Setup(t.Context(), Config{}, Options{Role: "gateway", Getenv: func(name string) string { return env[name] }})
	if err == nil || err.Error() != "OTEL_EXPORTER_OTLP_CERTIFICATE: open /no/such/file: no such file or directory" {
		t.Error(err)
	}
}
