package secret_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"sallyport.dev/secret"
)

const canary = "c4n4ry-Q7w9-do-not-print"

// holders wraps the canary in every shape that a struct may hold it in.
func holders() map[string]any {
	value := secret.New(canary)
	type visible struct{ Token secret.Value }
	type hidden struct{ token secret.Value }
	type pointer struct{ token *secret.Value }
	return map[string]any{
		"value":           value,
		"pointer":         &value,
		"exported field":  visible{value},
		"hidden field":    hidden{value},
		"pointer field":   pointer{&value},
		"pointer to held": &hidden{value},
		"slice":           []secret.Value{value},
		"map":             map[string]secret.Value{"k": value},
		"hidden in slice": []hidden{{value}},
		"any":             []any{value, hidden{value}},
		"closure":         struct{ fetch func() secret.Value }{func() secret.Value { return value }},
	}
}

// leaks fails the test when text holds the canary, plain or in an encoding that a printer may have chosen.
func leaks(t *testing.T, how, text string) {
	t.Helper()
	for name, form := range map[string]string{
		"plain":  canary,
		"hex":    hex.EncodeToString([]byte(canary)),
		"HEX":    strings.ToUpper(hex.EncodeToString([]byte(canary))),
		"base64": base64.StdEncoding.EncodeToString([]byte(canary)),
		"bytes":  strings.Trim(fmt.Sprint([]byte(canary)), "[]"),
	} {
		if strings.Contains(text, form) {
			t.Errorf("%s shows the value as %s", how, name)
		}
	}
}

func TestTheLeakCheckSeesALeak(t *testing.T) {
	probe := &testing.T{}
	leaks(probe, "probe", fmt.Sprintf("%x", canary))
	if !probe.Failed() {
		t.Fatal("a printed canary went unnoticed")
	}
}

func TestNoVerbPrintsAValue(t *testing.T) {
	verbs := "vTtbcdoOqxXUeEfFgGspw"
	for name, holder := range holders() {
		for _, verb := range verbs {
			for _, flags := range []string{"", "+", "#", " ", "0", "-40", ".3", "# +"} {
				format := "%" + flags + string(verb)
				leaks(t, format+" of "+name, fmt.Sprintf(format, holder))
			}
		}
		leaks(t, "Sprint of "+name, fmt.Sprint(holder))
		leaks(t, "wrapped "+name, fmt.Errorf("use %v: %w", holder, errors.New("no")).Error())
	}
}

func TestEveryVerbSaysRedacted(t *testing.T) {
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%10s", "%.1s"} {
		if got := fmt.Sprintf(format, secret.New(canary)); got != "[redacted]" {
			t.Errorf("%s gives %s", format, got)
		}
	}
}

func TestNoEncoderWritesAValue(t *testing.T) {
	for name, holder := range holders() {
		if encoded, err := json.Marshal(holder); err == nil {
			leaks(t, "JSON of "+name, string(encoded))
		}
		if encoded, err := xml.Marshal(holder); err == nil {
			leaks(t, "XML of "+name, string(encoded))
		}
		var log bytes.Buffer
		for _, handler := range []slog.Handler{slog.NewTextHandler(&log, nil), slog.NewJSONHandler(&log, nil)} {
			logger := slog.New(handler)
			logger.Info("as attribute", "holder", holder)
			logger.With("holder", holder).WithGroup("g").Info("as context", slog.Group("in", "holder", holder))
		}
		leaks(t, "log of "+name, log.String())
	}
	encoded, err := json.Marshal(struct{ Token secret.Value }{secret.New(canary)})
	if err != nil || string(encoded) != `{"Token":"[redacted]"}` {
		t.Errorf("JSON gives %s, %v", encoded, err)
	}
	text, err := secret.New(canary).MarshalText()
	if err != nil || string(text) != "[redacted]" {
		t.Errorf("text gives %s, %v", text, err)
	}
}

func TestRevealIsTheWayOut(t *testing.T) {
	value := secret.New(canary)
	if value.Reveal() != canary || value.Len() != len(canary) || value.IsZero() {
		t.Fatal("a value does not hold what it was given")
	}
	var unset secret.Value
	if unset.Reveal() != "" || unset.Len() != 0 || !unset.IsZero() || !secret.New("").IsZero() {
		t.Fatal("an unset value holds something")
	}
}

func TestEqual(t *testing.T) {
	for _, test := range []struct {
		a, b secret.Value
		want bool
	}{
		{secret.New("alpha"), secret.New("alpha"), true},
		{secret.New("alpha"), secret.New("alphb"), false},
		{secret.New("alpha"), secret.New("alph"), false},
		{secret.New("alpha"), secret.Value{}, false},
		{secret.Value{}, secret.New("alpha"), false},
		{secret.Value{}, secret.Value{}, false},
	} {
		if got := test.a.Equal(test.b); got != test.want {
			t.Errorf("Equal(%q, %q) = %v", test.a.Reveal(), test.b.Reveal(), got)
		}
	}
}
