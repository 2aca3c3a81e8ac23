package telemetry

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	collectorpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// TestSpansOnTheWire have all that was said of them.
func TestSpansOnTheWire(t *testing.T) {
	got := make(chan *collectorpb.ExportTraceServiceRequest, 1)
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var request collectorpb.ExportTraceServiceRequest
		if err := proto.Unmarshal(body, &request); err != nil || r.Header.Get("Content-Type") != "application/x-protobuf" || r.URL.Path != "/v1/traces" {
			t.Errorf("%s %s: %v", r.URL.Path, r.Header, err)
		}
		got <- &request
	}))
	defer collector.Close()
	tel, err := Setup(t.Context(), Config{Service: "here", OTLP: OTLP{Endpoint: collector.URL, Signals: []string{SignalTraces}}}, Options{Role: "gateway", Version: "1.2"})
	if err != nil {
		t.Fatal(err)
	}
	parent, _ := Parse("00-0102030405060708090a0b0c0d0e0f10-1112131415161718-01", "a=b")
	link, _ := Parse("00-ff02030405060708090a0b0c0d0e0f10-ff12131415161718-01", "")
	start := time.Unix(100, 5)
	above := tel.Tracer.Begin(parent, start)
	below := above.Child(start.Add(time.Second))
	attrs := tel.Tracer.Attributes()
	attrs.Text("text", "bad \xff")
	attrs.Text("long", strings.Repeat("ü", maxShort))
	attrs.Text("none", "")
	attrs.Int("number", -7)
	other := attrs.Clone()
	other.Texts("list", []string{"a", "b"})
	other.Texts("empty", nil)
	attrs.Seconds("float", 1500*time.Millisecond)
	tel.Tracer.End(above, Ended{
		Name: "call", Kind: trace.SpanKindServer, End: start.Add(3 * time.Second), Failed: true, Reason: "it broke" + strings.Repeat("!", maxShort), Links: []trace.Link{{SpanContext: link}}, Attributes: attrs,
	})
	tel.Tracer.End(below, Ended{Name: "below", Kind: trace.SpanKindClient, End: start.Add(2 * time.Second), Attributes: other})
	tel.Shutdown()
	request := <-got
	if len(request.GetResourceSpans()) != 1 || len(request.GetResourceSpans()[0].GetScopeSpans()) != 1 || len(request.GetResourceSpans()[0].GetScopeSpans()[0].GetSpans()) != 2 {
		t.Fatalf("%v", request)
	}
	resource, scoped := request.GetResourceSpans()[0].GetResource(), request.GetResourceSpans()[0].GetScopeSpans()[0]
	if value(resource.GetAttributes(), "service.name") != `string_value:"here"` || value(scoped.GetScope().GetAttributes(), "sallyport.conventions") == "" || scoped.GetScope().GetVersion() != "1.2" {
		t.Errorf("%v, %v", resource, scoped.GetScope())
	}
	one, two := scoped.GetSpans()[0], scoped.GetSpans()[1]
	pid, sid, tid := parent.SpanID(), above.Context.SpanID(), parent.TraceID()
	if string(one.GetParentSpanId()) != string(pid[:]) || string(one.GetSpanId()) != string(sid[:]) || string(two.GetParentSpanId()) != string(sid[:]) || string(two.GetTraceId()) != string(tid[:]) || one.GetTraceState() != "a=b" {
		t.Errorf("ids: %v, %v", one, two)
	}
	if one.GetName() != "call" || one.GetKind() != tracepb.Span_SPAN_KIND_SERVER || two.GetKind() != tracepb.Span_SPAN_KIND_CLIENT || one.GetStartTimeUnixNano() != 100e9+5 || one.GetEndTimeUnixNano() != 103e9+5 ||
		one.GetStatus().GetCode() != tracepb.Status_STATUS_CODE_ERROR || one.GetStatus().GetMessage() != Short("it broke"+strings.Repeat("!", maxShort)) || two.GetStatus().GetCode() != tracepb.Status_STATUS_CODE_UNSET || one.GetFlags() != 0x301 || two.GetFlags() != 0x101 {
		t.Errorf("%v, %v", one, two)
	}
	lid := link.SpanID()
	if len(one.GetLinks()) != 1 || string(one.GetLinks()[0].GetSpanId()) != string(lid[:]) || len(two.GetLinks()) != 0 || len(one.GetAttributes()) != 4 || len(two.GetAttributes()) != 4 {
		t.Errorf("%v, %v", one, two)
	}
	long := `string_value:"` + strings.Repeat("ü", maxShort/2) + `…"`
	for key, want := range map[string][2]string{
		"text": {`string_value:"bad �"`, `string_value:"bad �"`}, "long": {long, long}, "number": {`int_value:-7`, `int_value:-7`}, "float": {`double_value:1.5`},
		"list": {1: `array_value:{values:{string_value:"a"} values:{string_value:"b"}}`}, "none": {}, "empty": {},
	} {
		if have := [2]string{value(one.GetAttributes(), key), value(two.GetAttributes(), key)}; have != want {
			t.Errorf("%s is %s, want %s", key, have, want)
		}
	}
}

// value shows the value of an attribute, without the spaces that the format has at random.
func value(attrs []*commonpb.KeyValue, key string) string {
	for _, a := range attrs {
		if a.GetKey() == key {
			switch v := a.GetValue().GetValue().(type) {
			case *commonpb.AnyValue_StringValue:
				return `string_value:"` + v.StringValue + `"`
			case *commonpb.AnyValue_IntValue:
				return "int_value:" + attribute.Int64Value(v.IntValue).String()
			case *commonpb.AnyValue_DoubleValue:
				return "double_value:" + attribute.Float64Value(v.DoubleValue).String()
			case *commonpb.AnyValue_ArrayValue:
				text := "array_value:{"
				for i, element := range v.ArrayValue.GetValues() {
					if i > 0 {
						text += " "
					}
					text += `values:{string_value:"` + element.GetStringValue() + `"}`
				}
				return text + "}"
			}
		}
	}
	return ""
}
