package backends

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Span is a span as a backend knows it.
type Span struct {
	// Trace and ID name it, in hexadecimal; Parent is another span's ID, or "".
	Trace, ID, Parent string
	// Service is service.name of the process that made it, and Resource the rest of what is known of that.
	Service  string
	Resource map[string]string
	// Operation is its name, and Kind a word: server, client, internal.
	Operation, Kind string
	// Tags are its attributes, as text.
	Tags map[string]string
	// Links are the spans of other traces, or of this one, that it belongs to otherwise.
	Links []Link
	// Start and Duration are in microseconds at best.
	Start    time.Time
	Duration time.Duration
	// Warnings are the backend's, such as of clocks that differ.
	Warnings []string
	// Children are the spans whose parent it is, the earliest first.
	Children []*Span
}

// Link is another span.
type Link struct{ Trace, Span string }

// Trace is a trace as a tree.
type Trace struct {
	ID string
	// Roots are the spans whose parent is not there.
	Roots []*Span
	// Spans are all of them, by the time when they began.
	Spans []*Span
}

// newTrace makes a tree of spans.
func newTrace(id string, spans []*Span) *Trace {
	slices.SortFunc(spans, func(a, b *Span) int {
		return cmp.Or(a.Start.Compare(b.Start), cmp.Compare(b.Duration, a.Duration), cmp.Compare(a.Operation, b.Operation), cmp.Compare(a.ID, b.ID))
	})
	t := &Trace{ID: id, Spans: spans}
	known := make(map[string]*Span, len(spans))
	for _, s := range spans {
		known[s.ID] = s
	}
	for _, s := range spans {
		if parent := known[s.Parent]; parent != nil && parent != s {
			parent.Children = append(parent.Children, s)
		} else {
			t.Roots = append(t.Roots, s)
		}
	}
	return t
}

// Find returns the first span of a service and kind, or nil.
func (t *Trace) Find(service, kind string) *Span {
	for _, s := range t.Spans {
		if s.Service == service && s.Kind == kind {
			return s
		}
	}
	return nil
}

// Services counts the spans of each service.
func (t *Trace) Services() map[string]int {
	count := make(map[string]int)
	for _, s := range t.Spans {
		count[s.Service]++
	}
	return count
}

// Text says how a trace is shown. The zero Text shows services, kinds and names alone, which are the same for each run.
type Text struct {
	// Tags are shown, where a span has them; AllTags shows all.
	Tags    []string
	AllTags bool
	// Times shows when spans began after the first, and for how long they took.
	Times bool
	// Phases shows internal spans too, which are there only if they took long enough.
	Phases bool
}

// Text shows a trace as indented lines, one for each span.
func (t *Trace) Text(how Text) string {
	var b strings.Builder
	for _, root := range t.Roots {
		root.text(&b, how, t.Spans[0].Start, 0)
	}
	return b.String()
}

func (s *Span) text(b *strings.Builder, how Text, first time.Time, depth int) {
	if s.Kind == "internal" && !how.Phases {
		return
	}
	fmt.Fprintf(b, "%s%s %s: %s", strings.Repeat("  ", depth), s.Service, strings.ToUpper(s.Kind), s.Operation)
	if how.Times {
		fmt.Fprintf(b, "  [+%s, %s]", s.Start.Sub(first), s.Duration)
	}
	if len(s.Links) > 0 {
		fmt.Fprintf(b, " (links: %d)", len(s.Links))
	}
	b.WriteByte('\n')
	tags := how.Tags
	if how.AllTags {
		tags = slices.Sorted(maps.Keys(s.Tags))
	}
	for _, tag := range tags {
		if value, ok := s.Tags[tag]; ok {
			fmt.Fprintf(b, "%s  . %s=%s\n", strings.Repeat("  ", depth), tag, value)
		}
	}
	for _, child := range s.Children {
		child.text(b, how, first, depth+1)
	}
}
