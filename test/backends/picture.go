package backends

import (
	"fmt"
	"html"
	"strings"
	"time"
	"unicode/utf8"
)

// Sizes of a picture, in pixels.
const (
	width      = 960
	rowHeight  = 30
	headHeight = 46
	nameWidth  = 430
	barLeft    = nameWidth + 10
	barWidth   = width - barLeft - 90
	indent     = 16
	nameChars  = 56 // that have room beside the bars
)

// hops are the colours of services, in the order of their first spans.
var hops = []string{"#4878d0", "#ee854a", "#6acc64", "#956cb4", "#d65f5f", "#8c613c"}

// style is readable on light and on dark pages. Fonts are those that are there.
const style = `
  text { font: 12.5px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; fill: #1f2328 }
  .quiet { fill: #59636e }
  .page { fill: #ffffff }
  .odd { fill: #f3f5f8 }
  .grid { stroke: #d1d9e0 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 }
    .quiet { fill: #9198a1 }
    .page { fill: #0d1117 }
    .odd { fill: #161b22 }
    .grid { stroke: #3d444d }
  }
`

// Picture draws a trace as a waterfall, in SVG: a row for each span with its hop, name, place in time and duration.
func (t *Trace) Picture(title string) string {
	type row struct {
		span  *Span
		depth int
	}
	var rows []row
	var walk func([]*Span, int)
	walk = func(spans []*Span, depth int) {
		for _, s := range spans {
			rows = append(rows, row{s, depth})
			walk(s.Children, depth+1)
		}
	}
	walk(t.Roots, 0)
	var first, last time.Time
	for _, r := range rows {
		if first.IsZero() || r.span.Start.Before(first) {
			first = r.span.Start
		}
		if end := r.span.Start.Add(r.span.Duration); end.After(last) {
			last = end
		}
	}
	whole := max(last.Sub(first), time.Microsecond)
	at := func(when time.Time) float64 {
		return barLeft + barWidth*float64(when.Sub(first))/float64(whole)
	}
	colours := make(map[string]string)
	var services []string
	for _, r := range rows {
		if _, known := colours[r.span.Service]; !known {
			colours[r.span.Service] = hops[len(services)%len(hops)]
			services = append(services, r.span.Service)
		}
	}

	height := headHeight + rowHeight*len(rows) + 44
	var b strings.Builder
	put := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	put(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-labelledby="title">`, width, height, width, height)
	put(`<title id="title">%s</title>`, html.EscapeString(title))
	put(`<style>%s</style>`, style)
	put(`<rect class="page" width="%d" height="%d" rx="6"/>`, width, height)
	for i := range 5 {
		x := float64(barLeft) + barWidth*float64(i)/4
		put(`<line class="grid" x1="%.1f" y1="%d" x2="%.1f" y2="%d"/>`, x, headHeight-8, x, height-40)
		put(`<text class="quiet" x="%.1f" y="%d" text-anchor="middle">%s</text>`, x, headHeight-16, short(whole*time.Duration(i)/4))
	}
	for i, r := range rows {
		top := headHeight + rowHeight*i
		if i%2 == 0 {
			put(`<rect class="odd" x="0" y="%d" width="%d" height="%d" opacity="0.6"/>`, top, width, rowHeight)
		}
		left := 12 + indent*r.depth
		put(`<rect x="%d" y="%d" width="4" height="%d" fill="%s"/>`, left, top+6, rowHeight-12, colours[r.span.Service])
		hop := r.span.Service
		if r.span.Kind != "" && r.span.Kind != "internal" {
			hop += " " + strings.ToUpper(r.span.Kind)
		}
		name := clip(r.span.Operation, nameChars-2*r.depth-utf8.RuneCountInString(hop))
		put(`<text x="%d" y="%d">%s<tspan class="quiet" dx="9">%s</tspan></text>`, left+11, top+20, html.EscapeString(name), html.EscapeString(hop))
		x, end := at(r.span.Start), at(r.span.Start.Add(r.span.Duration))
		put(`<rect x="%.1f" y="%d" width="%.1f" height="%d" rx="2" fill="%s"%s/>`, x, top+8, max(end-x, 2), rowHeight-16, colours[r.span.Service], pale(r.span))
		put(`<text class="quiet" x="%d" y="%d" text-anchor="end">%s</text>`, width-12, top+20, short(r.span.Duration))
	}
	x := 12
	for _, s := range services {
		put(`<rect x="%d" y="%d" width="12" height="12" rx="2" fill="%s"/>`, x, height-27, colours[s])
		put(`<text x="%d" y="%d">%s</text>`, x+18, height-17, html.EscapeString(s))
		x += 18 + 8*utf8.RuneCountInString(s) + 24
	}
	put(`</svg>`)
	return b.String()
}

// pale marks phases, which are not hops.
func pale(s *Span) string {
	if s.Kind == "internal" {
		return ` opacity="0.55"`
	}
	return ""
}

// clip cuts a text that has no room.
func clip(text string, most int) string {
	if most = max(most, 8); utf8.RuneCountInString(text) <= most {
		return text
	}
	return string([]rune(text)[:most-1]) + "…"
}

// short is a duration as people read it.
func short(d time.Duration) string {
	switch {
	case d >= time.Second:
		return fmt.Sprintf("%.2f s", d.Seconds())
	case d >= 10*time.Millisecond:
		return fmt.Sprintf("%.1f ms", d.Seconds()*1e3)
	case d >= time.Millisecond:
		return fmt.Sprintf("%.2f ms", d.Seconds()*1e3)
	}
	return fmt.Sprintf("%d µs", d.Microseconds())
}
