package observability_test

import (
	"regexp"
	"strings"
	"testing"
)

var (
	attributeKey = regexp.MustCompile(`attribute\.Key = "([^"]+)"`)
	attributeRow = regexp.MustCompile("(?m)^\\| (`[^|]*`) \\| (?:[GCU ]+|on [^|]*) \\|")
	variableName = regexp.MustCompile(`OTEL_[A-Z_]+[A-Z]`)
)

// TestGuideHasEachAttribute that a span can have, and none that there is not.
func TestGuideHasEachAttribute(t *testing.T) {
	explained := text(t, guide)
	keys := make(map[string]bool)
	for _, m := range attributeKey.FindAllStringSubmatch(text(t, "../../telemetry/keys.go"), -1) {
		keys[m[1]] = true
		if !strings.Contains(explained, "`"+m[1]+"`") {
			t.Errorf("the guide does not have %s", m[1])
		}
	}
	rows := attributeRow.FindAllStringSubmatch(explained, -1)
	if len(keys) < 40 || len(rows) < 25 {
		t.Fatalf("%d keys, %d rows", len(keys), len(rows))
	}
	for _, row := range rows {
		for _, m := range cellName.FindAllStringSubmatch(row[1], -1) {
			if !keys[m[1]] {
				t.Errorf("the guide has %s, which is no key", m[1])
			}
		}
	}
}

// TestGuideHasEachVariable that counts, and none that does not.
func TestGuideHasEachVariable(t *testing.T) {
	explained := text(t, guide)
	code := text(t, "../../telemetry/env.go") + text(t, "../../telemetry/setup.go") + text(t, "../../telemetry/otlplog.go") + text(t, "../../cmd/sallyport/role.go")
	for _, m := range regexp.MustCompile(`(?:get|Getenv|get\.flush|flush)\((?:get, )?"(OTEL_[A-Z_]+[A-Z])"\)`).FindAllStringSubmatch(code, -1) {
		if !strings.Contains(explained, "`"+m[1]+"`") && !strings.HasPrefix(m[1], "OTEL_EXPORTER_OTLP_LOGS") {
			t.Errorf("the guide does not have %s", m[1])
		}
	}
	for _, m := range regexp.MustCompile(`get\.signal\(signal, "([A-Z_]+)"\)`).FindAllStringSubmatch(code, -1) {
		if !strings.Contains(explained, "`_"+m[1]+"`") {
			t.Errorf("the guide does not have OTEL_EXPORTER_OTLP_%s", m[1])
		}
	}
	for _, name := range variableName.FindAllString(explained, -1) { // beside those of our code, some that the SDK reads
		if !strings.Contains(code, name) && !regexp.MustCompile(`^OTEL_(TRACES|METRICS|LOGS)_EXPORTER$|^OTEL_EXPORTER_OTLP_TRACES_ENDPOINT$|^OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE$|^OTEL_METRICS_EXEMPLAR_FILTER$`).MatchString(name) {
			t.Errorf("the guide has %s, which does not count", name)
		}
	}
}
