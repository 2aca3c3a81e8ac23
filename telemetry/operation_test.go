package telemetry

import (
	"testing"

	"go.opentelemetry.io/otel/attribute"
)

// TestIDsAreShownWhole: without the quotes around them, and with all that is in them.
func TestIDsAreShownWhole(t *testing.T) {
	room := newAttributes()
	for raw, want := range map[string]string{`1`: `1`, `"a"`: `a`, `"a\""`: `a\"`, `"\"\""`: `\"\"`, `""`: ``, ``: ``} {
		got, wanted := &Attributes{room: room}, &Attributes{room: room}
		o := Operation{Method: "ping", Known: true, ID: []byte(raw)}
		o.Describe(got)
		for _, a := range []attribute.KeyValue{AttrMCPMethod.String("ping"), AttrJSONRPCID.String(want)} {
			wanted.Text(a.Key, a.Value.AsString())
		}
		if string(got.wire) != string(wanted.wire) {
			t.Errorf("%s is shown in %q, want %q", raw, got.wire, wanted.wire)
		}
	}
}
