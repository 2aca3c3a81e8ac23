package conformance_test

import (
	"maps"
	"slices"
	"testing"
)

// exemption is what a scenario asks of the server's own HTTP transport, which
// a command does not have. What the connector answers in its place is HTTP
// that the protocol allows, and the suite scores none of it against a server.
type exemption struct {
	revisions []string
	scenario  string
	checks    []string
	why       string
}

// exemptions lists what may differ behind stdio. An exemption that is not
// needed fails the test.
func exemptions() []exemption {
	return []exemption{
		{
			revisions: []string{"2025-11-25", "2026-07-28"}, scenario: "server-sse-multiple-streams",
			checks: []string{"server-sse-streams-functional"},
			why:    "the server over HTTP answers every POST by a stream; an answer that is one message is JSON from a command, and the suite then has no streams to look at",
		},
		{
			revisions: []string{"2025-11-25"}, scenario: "server-sse-polling",
			checks: []string{"server-sse-content-type", "server-sse-disconnect-resume", "server-sse-priming-event", "server-sse-retry-field", "stream-closed"},
			why:    "a server that lets clients poll ends the stream of a call itself and numbers its events; over stdio there is no stream to end, and no event to number",
		},
		{
			revisions: []string{"2026-07-28"}, scenario: "http-custom-header-server-validation",
			checks: []string{"sep-2243-server-reject-invalid-param-chars", "sep-2243-server-reject-param-mismatch", "sep-2243-server-validate-param-match"},
			why:    "headers that repeat arguments are compared with the body by a server that has the tools' schemas and gets headers; a command gets none, and acts on the body alone",
		},
	}
}

// excused returns the exemptions of a run.
func excused(rev revision, path path) (out []exemption) {
	if !path.stdio {
		return nil
	}
	for _, e := range exemptions() {
		if slices.Contains(e.revisions, rev.name) {
			out = append(out, e)
		}
	}
	return out
}

// without returns the checks that are not exempt.
func (r report) without(exempt []exemption) report {
	r.checks = maps.Clone(r.checks)
	maps.DeleteFunc(r.checks, func(c check, _ int) bool {
		return slices.ContainsFunc(exempt, func(e exemption) bool { return e.scenario == c.scenario && slices.Contains(e.checks, c.id) })
	})
	return r
}

// needed fails for every check of an exemption that has ended as it does
// directly.
func needed(t *testing.T, exempt []exemption, want, got report) {
	t.Helper()
	for _, e := range exempt {
		t.Logf("exempt behind stdio: %s: %q: %s", e.scenario, e.checks, e.why)
		for _, id := range e.checks {
			of := func(r report) map[check]int {
				m := maps.Clone(r.checks)
				maps.DeleteFunc(m, func(c check, _ int) bool { return c.scenario != e.scenario || c.id != id })
				return m
			}
			if maps.Equal(of(want), of(got)) {
				t.Errorf("%s: the check %s ends as it does directly: take it out of the exemptions", e.scenario, id)
			}
		}
	}
}
