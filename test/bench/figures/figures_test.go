package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sallyport.dev/cell"
)

// TestMain lets the test binary be the children of the runs that it tests.
func TestMain(m *testing.M) {
	cell.Main()
	if len(os.Args) == 2 && (os.Args[1] == roleArgument || os.Args[1] == echoArgument) {
		main()
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// TestRun runs everything once, briefly: each path answers, and the report has a line for each.
func TestRun(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := plan{rounds: 2, agents: 4, load: 50 * time.Millisecond, single: 20 * time.Millisecond, streams: 2, idle: 20, profiles: t.TempDir()}
	results, err := p.run(t.Context(), self)
	if err != nil {
		t.Fatal(err)
	}
	if len(results) != 6 {
		t.Fatalf("%d paths were measured", len(results))
	}
	for _, r := range results {
		for _, s := range r.samples {
			if s.rate <= 0 || s.p50 <= 0 || s.p99 < s.p50 || s.single <= 0 || s.firstEvent <= 0 {
				t.Errorf("%s: %+v", r.name, s)
			}
		}
	}
	parts, err := p.measureParts(t.Context(), self)
	if err != nil {
		t.Fatal(err)
	}
	results, strangers := quietest(results)
	path := filepath.Join(t.TempDir(), "docs", "performance.md")
	if err := writeReport(path, p, results, parts, strangers); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		if n := strings.Count(string(page), "| "+r.name+" |"); n != 2 {
			t.Errorf("%s is in %d tables", r.name, n)
		}
	}
	if n := strings.Count(string(page), "in a cell, "); n != 2 || middle(parts.local.bridge) <= 0 || middle(parts.local.namespaces) <= 0 {
		t.Errorf("%d kinds of cells were measured: %+v", n, parts.local)
	}
	if middle(parts.credentials.smallKeyed) <= 0 || middle(parts.credentials.bulkKeyed) <= 0 || middle(parts.credentials.plain) <= 0 || middle(parts.credentials.inject) <= 0 {
		t.Errorf("credentials were not measured: %+v", parts.credentials)
	}
	for i, way := range parts.telling.ways {
		if !strings.Contains(string(page), "| "+way.name+" |") || middle(parts.telling.rates[i]) <= 0 {
			t.Errorf("%s was not measured", way.name)
		}
	}
	if parts.telling.took == 0 {
		t.Error("the collector has got nothing")
	}
	if n := strings.Count(string(page), ", silent streams |"); n != 2 {
		t.Errorf("silent streams were measured over %d transports", n)
	}
	if strings.Contains(string(page), "<no value>") || strings.Contains(string(page), "%!") {
		t.Errorf("the page has holes:\n%s", page)
	}
	profiles, err := filepath.Glob(filepath.Join(p.profiles, "*.pprof"))
	if err != nil || len(profiles) != 18 {
		t.Errorf("%d profiles, %v", len(profiles), err)
	}
}

func TestQuietestKeepsTheRoundsWithTheFewestStrangers(t *testing.T) {
	a := result{name: "a", samples: []sample{{rate: 1, strangers: 0.1}, {rate: 2, strangers: 0.9}, {rate: 3}, {rate: 4}}}
	b := result{name: "b", samples: []sample{{rate: 5}, {rate: 6}, {rate: 7, strangers: 0.5}, {rate: 8, strangers: 0.2}}}
	kept, strangers := quietest([]result{a, b})
	if strangers != 0.2 || len(kept[0].samples) != 2 || kept[0].samples[0].rate != 1 || kept[0].samples[1].rate != 4 || kept[1].samples[1].rate != 8 {
		t.Errorf("kept %+v, strangers %v", kept, strangers)
	}
}

func TestRatiosAreTakenWithinARound(t *testing.T) {
	base := result{samples: []sample{{rate: 100}, {rate: 10}, {rate: 1}, {rate: 100}, {rate: 100}}}
	r := result{samples: []sample{{rate: 50}, {rate: 20}, {rate: 1}, {rate: 25}, {rate: 75}}}
	if middle, low, high := ratios(r, base); middle != 0.75 || low != 0.5 || high != 1 {
		t.Errorf("median %v, quartiles %v and %v", middle, low, high)
	}
}

func TestUnknownOrdersAndJobsFail(t *testing.T) {
	for _, in := range []string{"", "{", `{"Role":"king"}`, `{"Role":"proxy"}` + "\nsing\n"} {
		if err := command(t.Context(), []string{roleArgument}, strings.NewReader(in), new(bytes.Buffer)); err == nil {
			t.Errorf("%q was accepted", in)
		}
	}
}
