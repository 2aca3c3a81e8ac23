package main

import (
	"bytes"
	_ "embed" // report.tmpl
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"text/template"
	"time"
)

// median is the middle of what f finds in each round.
func median(r result, f func(sample) float64) float64 {
	values := make([]float64, 0, len(r.samples))
	for _, s := range r.samples {
		values = append(values, f(s))
	}
	slices.Sort(values)
	middle := len(values) / 2
	if len(values)%2 == 1 {
		return values[middle]
	}
	return (values[middle-1] + values[middle]) / 2
}

// ratios are a path's rates over those of base in the same round: the median and the quartiles.
func ratios(r, base result) (middle, low, high float64) {
	values := make([]float64, 0, len(r.samples))
	for i, s := range r.samples {
		values = append(values, s.rate/base.samples[i].rate)
	}
	slices.Sort(values)
	return values[len(values)/2], values[len(values)/4], values[len(values)*3/4]
}

func microseconds(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// perChild joins the medians of each child's cost.
func perChild(r result, of func(s sample, child int) float64) string {
	if len(r.samples[0].cpu) == 0 {
		return "–"
	}
	var parts []string
	for i := range r.samples[0].cpu {
		parts = append(parts, fmt.Sprintf("%.0f", median(r, func(s sample) float64 { return of(s, i) })))
	}
	return strings.Join(parts, " + ")
}

// yardstick is the index of the path that the others are compared with.
const yardstick = 1

// writeTables writes the two tables in Markdown.
func writeTables(w io.Writer, results []result) error {
	var b bytes.Buffer
	base := results[yardstick]
	b.WriteString("| path | calls/s | against ReverseProxy | p50 ms | p99 ms | CPU µs a call | allocations a call |\n|---|--:|--:|--:|--:|--:|--:|\n")
	for _, r := range results {
		middle, low, high := ratios(r, base)
		fmt.Fprintf(&b, "| %s | %.0f | %.2f (%.2f–%.2f) | %.1f | %.1f | %s | %s |\n", r.name,
			median(r, func(s sample) float64 { return s.rate }), middle, low, high,
			median(r, func(s sample) float64 { return microseconds(s.p50) / 1000 }),
			median(r, func(s sample) float64 { return microseconds(s.p99) / 1000 }),
			perChild(r, func(s sample, i int) float64 { return microseconds(s.cpu[i]) }),
			perChild(r, func(s sample, i int) float64 { return s.mallocs[i] }))
	}
	b.WriteString("\n| path | call µs | above ReverseProxy | first event µs | above ReverseProxy |\n|---|--:|--:|--:|--:|\n")
	single := func(s sample) float64 { return microseconds(s.single) }
	event := func(s sample) float64 { return microseconds(s.firstEvent) }
	for _, r := range results {
		fmt.Fprintf(&b, "| %s | %.0f | %+.0f | %.0f | %+.0f |\n", r.name,
			median(r, single), median(r, single)-median(base, single), median(r, event), median(r, event)-median(base, event))
	}
	_, err := w.Write(b.Bytes())
	return err
}

//go:embed report.tmpl
var reportText string

// writeReport writes the page around the tables.
func writeReport(path string, p plan, results []result, parts partFigures, strangers float64) error {
	page, err := template.New("report").Parse(reportText)
	if err != nil {
		return err
	}
	var tables bytes.Buffer
	if err := writeTables(&tables, results); err != nil {
		return err
	}
	under, alone, _ := strings.Cut(tables.String(), "\n\n")
	var b bytes.Buffer
	err = page.Execute(&b, map[string]any{
		"Under": under, "Alone": strings.TrimSpace(alone), "Idle": strings.TrimSpace(idleTable(results)), "Silent": p.idle,
		"Local": strings.TrimSpace(parts.local.table(p.agents)), "Credentials": strings.TrimSpace(parts.credentials.table(p.agents)),
		"Policy": strings.TrimSpace(parts.decisions.table()), "Callers": strings.TrimSpace(parts.callers.table()), "TokenBytes": parts.callers.bytes, "Telling": strings.TrimSpace(parts.telling.table()),
		"Agents": p.agents, "Rounds": p.rounds, "Counted": len(results[0].samples), "Load": p.load, "Single": p.single,
		"Strangers": fmt.Sprintf("%.0f %%", 100*strangers),
		"Body":      len(callBody), "Answer": len(cannedAnswer),
		"Machine": machine(),
	})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, b.Bytes(), 0o644)
}

// machine says what the numbers were taken on.
func machine() string {
	model := "unknown processor"
	info, _ := os.ReadFile("/proc/cpuinfo") // elsewhere than on Linux the model stays unknown
	for line := range strings.Lines(string(info)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			model = strings.TrimSpace(value)
			break
		}
	}
	return fmt.Sprintf("%d × %s, %s/%s, %s", runtime.NumCPU(), model, runtime.GOOS, runtime.GOARCH, runtime.Version())
}
