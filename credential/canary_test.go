package credential_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"net/http"
	"testing"

	"go.yaml.in/yaml/v3"

	"sallyport.dev/credential"
	"sallyport.dev/secret"
)

// TestNothingThatHoldsASecretCanBePrinted prints, encodes and logs whatever holds the canary once it has been used.
func TestNothingThatHoldsASecretCanBePrinted(t *testing.T) {
	binding := bearer(t)
	transport := sender(t, roundTripper(func(r *http.Request) (*http.Response, error) { return answer(r), nil }), binding)
	r, _ := post(t, "https://wiki.internal/mcp")
	response, err := transport.RoundTrip(r) // fills the source's cache
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	got, err := binding.Source.Fetch(t.Context(), credential.Principal{})
	if err != nil || got.Values[0].Reveal() != canary {
		t.Fatalf("the source does not hold the canary: %v", err)
	}

	for name, holder := range map[string]any{
		"transport": transport,
		"binding":   binding,
		"bindings":  []credential.Binding{binding},
		"source":    binding.Source,
		"wrapped":   struct{ inner credential.Source }{binding.Source},
		"fixed":     fixedSource{value: secret.New(canary)},
		"request":   r,
		"response":  response,
		"fetched":   got,
		"value":     got.Values[0],
	} {
		for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%b", "%p", "%t", "%g"} {
			leaks(t, format+" of the "+name, fmt.Sprintf(format, holder))
		}
		if encoded, err := json.Marshal(holder); err == nil {
			leaks(t, "JSON of the "+name, string(encoded))
		} else {
			leaks(t, "the JSON error of the "+name, err.Error())
		}
		if encoded, err := xml.Marshal(holder); err == nil {
			leaks(t, "XML of the "+name, string(encoded))
		}
		if name == "fixed" || name == "fetched" || name == "value" {
			encoded, err := yaml.Marshal(holder)
			if err != nil {
				t.Errorf("YAML of the %s: %v", name, err)
			}
			leaks(t, "YAML of the "+name, string(encoded))
		}
		var log bytes.Buffer
		for _, handler := range []slog.Handler{slog.NewTextHandler(&log, nil), slog.NewJSONHandler(&log, nil)} {
			logger := slog.New(handler)
			logger.Info("attribute", "holder", holder)
			logger.With("holder", holder).Info("context")
			logger.WithGroup("group").Info("nested", slog.Group("in", "holder", holder))
		}
		leaks(t, "a log of the "+name, log.String())
	}
}
