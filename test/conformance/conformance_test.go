// Package conformance_test holds a server behind the tunnel to what the MCP
// conformance suite finds of the same server without it: every check must end
// alike, also where the server is a local command of the connector and speaks
// over stdio, but for what the table of exemptions names. It does not know what the checks are, nor whether the server should
// pass them.
package conformance_test

import (
	"crypto/tls"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"go.uber.org/goleak"

	"sallyport.dev/cell"
	"sallyport.dev/connector"
	"sallyport.dev/gateway"
	"sallyport.dev/test/stack"
	"sallyport.dev/tunnel"
)

func TestMain(m *testing.M) {
	cell.Main()
	goleak.VerifyTestMain(m)
}

// revision is one of the suite's sets of scenarios, and how the server that
// is tested must be started for it: no process of it speaks both.
type revision struct {
	name, flag string
	// passes is how many checks the server passes without us. Fewer mean that
	// the comparison compares less than it should.
	passes int
}

// The checks of 2026-07-28 that fail directly, 30, belong to an extension that
// the server does not have. The suite does not count them; they are compared
// all the same.
func revisions() []revision {
	return []revision{
		{name: "2025-11-25", flag: "-stateless=false", passes: 82},
		{name: "2026-07-28", flag: "-stateless=true", passes: 165},
	}
}

// path is how the suite reaches the server.
type path struct {
	tunnel tunnel.Transport // "" for none
	// stdio says that the server is a local command of the connector, and speaks no HTTP.
	stdio bool
}

// direct is the path without a tunnel.
func direct() path { return path{} }

func paths() []path {
	return []path{direct(), {tunnel: tunnel.QUIC}, {tunnel: tunnel.TCP}, {tunnel: tunnel.QUIC, stdio: true}}
}

func (p path) String() string {
	switch {
	case p == direct():
		return "direct"
	case p.stdio:
		return string(p.tunnel) + ", stdio"
	}
	return string(p.tunnel)
}

// One run after the other: some scenarios wait for seconds, and a busy machine
// would answer them too late.
func TestConformance(t *testing.T) {
	suite := findSuite(t)
	server := buildServer(t)
	table := newTable()
	for _, rev := range revisions() {
		t.Run(rev.name, func(t *testing.T) {
			var want report
			for _, path := range paths() {
				got := suite.run(t, rev, path, server)
				if path == direct() {
					want = got
					if want.passed < rev.passes {
						t.Errorf("the server alone passes %d checks, and passed %d when this test was written", want.passed, rev.passes)
					}
				}
				exempt := excused(rev, path)
				needed(t, exempt, want, got)
				table.add(rev, path, got, differ(t, path, want.without(exempt), got.without(exempt)))
			}
		})
	}
	t.Logf("\n%s", table)
}

// run calls the suite on a fresh server over one path.
func (s suite) run(t *testing.T, rev revision, path path, server string) report {
	t.Helper()
	peer := connector.Server{Command: []string{server}}
	f := &forwarder{listener: listen(t), dialer: new(net.Dialer)}
	if !path.stdio {
		f.target = startServer(t, server, rev.flag)
		peer = connector.Server{URL: "http://" + f.target + endpoint}
	}
	url := "http://" + f.address() + endpoint
	if path != direct() {
		const name = "server"
		tunnelled := stack.New(t, stack.Options{
			Transport: path.tunnel,
			Servers:   map[string]connector.Server{name: peer},
			// The suite calls as a page of the server itself would: the forwarder is the server to it.
			Gateway: func(c *gateway.Config) { c.Agents.Origins = []string{"http://" + f.address()} },
		})
		f.target = tunnelled.Addr
		f.dialer = &tls.Dialer{Config: &tls.Config{RootCAs: tunnelled.Roots, MinVersion: tls.VersionTLS13, NextProtos: []string{"http/1.1"}}}
		url = "http://" + f.address() + strings.TrimPrefix(tunnelled.URL(name), tunnelled.PublicURL)
	}
	f.run(t)
	got := s.call(t, rev, url)
	if got.err != nil { // a check that counts has failed, or the suite itself
		t.Errorf("%s: the suite ended with %v:\n%s", path, got.err, got.summary)
	}
	return got
}

// differ reports the checks that did not end as they do directly, and returns
// their scenarios. A check may come several times in a scenario.
func differ(t *testing.T, path path, want, got report) (scenarios []string) {
	t.Helper()
	all := maps.Clone(want.checks)
	maps.Copy(all, got.checks)
	for _, c := range slices.SortedFunc(maps.Keys(all), check.compare) {
		if without, with := want.checks[c], got.checks[c]; without != with {
			t.Errorf("%s: %s: the check %s, times directly: %d, through the tunnel: %d", path, c.scenario, c, without, with)
			scenarios = append(scenarios, c.scenario)
		}
	}
	return slices.Compact(scenarios)
}

// table is what a person wants to see of it all.
type table struct {
	text *strings.Builder
	rows *tabwriter.Writer
}

func newTable() table {
	text := new(strings.Builder)
	rows := tabwriter.NewWriter(text, 0, 0, 3, ' ', 0)
	_, _ = fmt.Fprintln(rows, "revision\tpath\tpassed\tfailed\ttime\tscenarios that differ from direct")
	return table{text, rows}
}

func (t table) add(rev revision, path path, r report, differ []string) {
	names := "none"
	switch {
	case path == direct():
		names = "-"
	case len(differ) > 0:
		names = strings.Join(differ, ", ")
	}
	_, _ = fmt.Fprintf(t.rows, "%s\t%s\t%d\t%d\t%s\t%s\n", rev.name, path, r.passed, r.failed, r.took.Round(100*time.Millisecond), names)
}

func (t table) String() string {
	_ = t.rows.Flush() // into memory
	return t.text.String()
}
