package telemetry

import (
	"context"
	"net/http"
	"testing"
	"time"

	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"sallyport.dev/telemetry/telemetrytest"
)

// setup makes a tracer that samples a part of the calls, and returns what reads its spans once it has been shut down.
func setup(t *testing.T, part float64) (*Tracer, func() tracetest.SpanStubs) {
	t.Helper()
	spans := new(telemetrytest.Spans)
	tel, err := Setup(t.Context(), Config{Traces: Traces{Sample: &part}}, Options{Role: "gateway", Version: "1.2", Getenv: func(string) string { return "" }, SpanClient: spans})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tel.Shutdown)
	return tel.Tracer, func() tracetest.SpanStubs {
		tel.Shutdown()
		return spans.All()
	}
}

func TestSpansHaveTheirIDs(t *testing.T) {
	tracer, spans := setup(t, 1)
	parent, ok := Parse("00-0102030405060708090a0b0c0d0e0f10-1112131415161718-01", "a=b")
	if !ok {
		t.Fatal("a context that is valid is not taken")
	}
	start := time.Now().Add(-time.Minute)
	s := tracer.Begin(parent, start)
	child := s.Child(start.Add(time.Second))
	tracer.End(child, Ended{Name: "below", Kind: trace.SpanKindClient, End: start.Add(2 * time.Second)})
	tracer.End(s, Ended{Name: "above", Kind: trace.SpanKindServer, End: start.Add(3 * time.Second), Failed: true, Reason: "it broke"})
	got := spans()
	if len(got) != 2 {
		t.Fatalf("%d spans", len(got))
	}
	below, above := got[0], got[1]
	if above.Parent.SpanID() != parent.SpanID() || above.SpanContext.TraceID() != parent.TraceID() || below.Parent.SpanID() != above.SpanContext.SpanID() ||
		above.SpanContext.SpanID() != s.Context.SpanID() || below.SpanContext.SpanID() != child.Context.SpanID() {
		t.Errorf("the ids do not fit: %v below %v below %v", below.SpanContext, above.SpanContext, parent)
	}
	if above.SpanContext.TraceState().String() != "a=b" || above.Status.Code != codes.Error || above.Status.Description != "it broke" || below.Status.Code != codes.Unset {
		t.Errorf("%+v", above)
	}
	if !above.StartTime.Equal(start) || !above.EndTime.Equal(start.Add(3*time.Second)) || above.SpanKind != trace.SpanKindServer || above.InstrumentationScope.Version != "1.2" {
		t.Errorf("%+v", above)
	}
}

func TestFailedCallsAreRecordedWhateverIsSampled(t *testing.T) {
	tracer, spans := setup(t, 0)
	for _, failed := range []bool{false, true} {
		s := tracer.Begin(trace.SpanContext{}, time.Now())
		if s.Context.IsSampled() || tracer.Records(s, failed) != failed {
			t.Errorf("failed %v: sampled %v, recorded %v", failed, s.Context.IsSampled(), tracer.Records(s, failed))
		}
		tracer.EndBelow(s.Child(s.Start), failed, Ended{Name: "below", End: time.Now()})
		tracer.End(s, Ended{Name: "call", End: time.Now(), Failed: failed})
	}
	if got := spans(); len(got) != 2 || !got[0].SpanContext.IsSampled() {
		t.Errorf("recorded %+v", got)
	}
}

// TestSampling is by the id of the trace, so that all who decide for themselves decide alike, and a parent's decision counts.
func TestSampling(t *testing.T) {
	half := 0.5
	for _, mode := range []struct {
		sampler string
		part    *float64
		parents bool
	}{{"", &half, true}, {"traceidratio", nil, false}, {"parentbased_traceidratio", nil, true}} {
		env := map[string]string{"OTEL_TRACES_SAMPLER": mode.sampler, "OTEL_TRACES_SAMPLER_ARG": "0.5"}
		tel, err := Setup(t.Context(), Config{Traces: Traces{Sample: mode.part}}, Options{Role: "gateway", Getenv: func(name string) string { return env[name] }, SpanClient: new(telemetrytest.Spans)})
		if err != nil {
			t.Fatal(err)
		}
		const calls = 10000
		own, followed := 0, 0
		for range calls {
			s := tel.Tracer.Begin(trace.SpanContext{}, time.Now())
			if s.Context.IsSampled() {
				own++
			}
			parent := s.Context.WithTraceFlags(trace.FlagsSampled)
			if again := tel.Tracer.Begin(parent, time.Now()); again.Context.IsSampled() {
				followed++
			}
		}
		if own < 4500 || own > 5500 {
			t.Errorf("%q: %d of %d are sampled", mode.sampler, own, calls)
		}
		if want := map[bool]int{true: calls, false: own}[mode.parents]; followed != want {
			t.Errorf("%q: %d of %d sampled parents count, want %d", mode.sampler, followed, calls, want)
		}
		tel.Shutdown()
	}
}

// TestNobodyRecords: without a tracer an agent's context passes as it is, and there is none otherwise.
func TestNobodyRecords(t *testing.T) {
	var tracer *Tracer
	parent, _ := Parse("00-0102030405060708090a0b0c0d0e0f10-1112131415161718-01", "")
	s := tracer.Begin(parent, time.Now())
	if !s.Context.Equal(parent) || !s.Child(time.Now()).Context.Equal(parent) {
		t.Errorf("%v and %v are put between", s.Context, s.Child(time.Now()).Context)
	}
	s = tracer.Begin(trace.SpanContext{}, time.Now())
	if s.Context.IsValid() || s.Child(time.Now()).Context.IsValid() || tracer.Records(s, true) {
		t.Errorf("%v", s.Context)
	}
	tracer.End(s, Ended{Failed: true})
	if zero := (Span{}).Child(time.Now()); zero.Context.IsValid() {
		t.Errorf("a child of nothing is %v", zero.Context)
	}
}

func TestTraceContextInHeaders(t *testing.T) {
	const good = "00-0102030405060708090a0b0c0d0e0f10-1112131415161718-01"
	for _, c := range []struct {
		parents, states []string
		ok              bool
		state           string
	}{
		{parents: []string{good}, ok: true},
		{parents: []string{good}, states: []string{"a=1,b=2"}, ok: true, state: "a=1,b=2"},
		{parents: []string{good}, states: []string{"=;"}, ok: true},
		{parents: []string{good, good}},
		{parents: []string{good}, states: []string{"a=1", "b=2"}},
		{parents: []string{"00-0102030405060708090A0B0C0D0E0F10-1112131415161718-01"}},
		{parents: []string{"00-00000000000000000000000000000000-1112131415161718-01"}},
		{parents: []string{"00-0102030405060708090a0b0c0d0e0f10-0000000000000000-01"}},
		{parents: []string{"ff-0102030405060708090a0b0c0d0e0f10-1112131415161718-01"}},
		{parents: []string{good + "-00"}},
		{parents: []string{" " + good}},
		{parents: []string{""}},
		{},
	} {
		sc, ok := Extract(http.Header{"Traceparent": c.parents, "Tracestate": c.states})
		if ok != c.ok || ok && (sc.TraceState().String() != c.state || !sc.IsRemote()) {
			t.Errorf("%q, %q: %v, %v", c.parents, c.states, sc, ok)
		}
		if !ok {
			continue
		}
		h := http.Header{"Traceparent": {"another"}, "Tracestate": {"other=1"}}
		if Inject(h, sc); h.Get("Traceparent") != good || h.Get("Tracestate") != c.state {
			t.Errorf("put in: %v", h)
		}
	}
	h := http.Header{"Traceparent": {good}, "Tracestate": {"a=1"}}
	if Inject(h, trace.SpanContext{}); len(h) != 0 {
		t.Errorf("no context is %v", h)
	}
}

// FuzzParse: what is read is what the SDK's own propagator reads.
func FuzzParse(f *testing.F) {
	for _, seed := range [][2]string{
		{"00-0102030405060708090a0b0c0d0e0f10-1112131415161718-01", "a=b"}, {"cc-0102030405060708090a0b0c0d0e0f10-1112131415161718-ff-more", ""},
		{"cc-0102030405060708090a0b0c0d0e0f10-1112131415161718-01.", ""}, {"00-0102030405060708090a0b0c0d0e0f10-1112131415161718-1", "a=b,a=c"}, {"ff-", "="},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, parent, state string) {
		got, ok := Parse(parent, state)
		want := trace.SpanContextFromContext(propagation.TraceContext{}.Extract(context.Background(), propagation.MapCarrier{"traceparent": parent, "tracestate": state}))
		if len(state) > maxState {
			want = want.WithTraceState(trace.TraceState{})
		}
		if ok && len(parent) > 2 && parent[:2] == "00" && got.TraceFlags() != want.TraceFlags() {
			t.Errorf("%q: flags %v, want %v", parent, got.TraceFlags(), want.TraceFlags())
		}
		if ok != want.IsValid() || ok && (got.TraceID() != want.TraceID() || got.SpanID() != want.SpanID() || got.TraceState().String() != want.TraceState().String() || got.IsSampled() != want.IsSampled()) {
			t.Errorf("%q, %q: %+v, want %+v", parent, state, got, want)
		}
		if ok && len(parent) == parentLength && parent[:2] == "00" {
			if again, _ := Parse(Traceparent(got), state); again.TraceID() != got.TraceID() || again.IsSampled() != got.IsSampled() {
				t.Errorf("%q is written as %q", parent, Traceparent(got))
			}
		}
	})
}

func BenchmarkParse(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := Parse("00-0102030405060708090a0b0c0d0e0f10-1112131415161718-01", ""); !ok {
			b.Fatal("it is not read")
		}
	}
}
