package demo

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"sallyport.dev/mcp/diag"
)

// hops is what the hops saw of one round of calls.
type hops struct {
	calls   []CallSeen
	reached map[string][]reached // by server
}

func (h *hops) add(server string, one reached) {
	if h.reached == nil {
		h.reached = make(map[string][]reached)
	}
	h.reached[server] = append(h.reached[server], one)
}

// sight is what one hop saw, in words.
type sight struct{ hop, text string }

func (r *round) saw(facts hops) []sight {
	d := r.demo
	var principal, rule string
	for _, c := range facts.calls {
		principal, rule = c.Principal, c.Rule
	}
	sights := []sight{
		{"agent", fmt.Sprintf("sent its own token (sha256:%s) and no key; got no key and no access token back", diag.Fingerprint(d.token.Reveal()))},
		{"gateway", fmt.Sprintf("principal %s; no key and no access token is in anything that it logged, stored or passed on", principal)},
		{"connector", fmt.Sprintf("%s allows the call; put the key (sha256:%s) in for %s alone", rule, diag.Fingerprint(d.key.Reveal()), d.notes.url())},
		{"connector", fmt.Sprintf("got an access token from %s by its client secret (sha256:%s), and put it in for %s alone",
			d.tickets.at("/token"), diag.Fingerprint(d.client.Reveal()), d.tickets.url())},
		{notesName, fmt.Sprintf("Authorization %s: the connector's key; the agent's token did not arrive", r.keys[notesName])},
		{"audit", r.denied},
		{ticketsName, fmt.Sprintf("Authorization %s: the access token, not the client secret; the agent's token did not arrive", r.keys[ticketsName])},
		{ordersName, "an agent's SQL, read-only, in the connector; the database has no port and no MCP server"},
		{diagName, "no Authorization at all: it is not bound to a credential"},
	}
	if d.local != nil {
		sights = append(sights, sight{localName, sawInCell(r.view)})
	}
	return sights
}

// prove checks each sentence of saw.
func (r *round) prove(facts hops) error {
	d := r.demo
	key, token, given := d.key.Reveal(), d.token.Reveal(), d.tokens.given()
	hidden := append([]string{key, d.client.Reveal()}, given...)
	var errs []error
	must := func(ok bool, problem string) {
		if !ok {
			errs = append(errs, fmt.Errorf("%w: over %s: %s", ErrProof, r.transport, problem))
		}
	}
	must(r.wire.sentOnly(token), "the agent sent something else than its token")
	for _, value := range hidden {
		must(!r.wire.holds(value), "a key or an access token went over the agent's connection")
		must(!r.logs.holds(value), "a key or an access token is in a log")
		stored, err := holdsFile(filepath.Join(d.dir, roleGateway), value)
		must(err == nil && !stored, "a key or an access token is in the gateway's files, or they cannot be read")
	}
	must(!r.logs.holds(token), "the agent's token is in a log")
	must(len(facts.calls) > 0, "no call was seen")
	for _, c := range facts.calls {
		must(c.Principal == d.public+"|"+principalName, "the gateway took the agent for someone else")
		must(c.Transport == r.transport, "a call went over "+c.Transport)
		must(c.answered() && c.Rule != "", "a call was not decided at the connector and answered by the server")
	}
	for _, name := range []string{diagName, notesName, ticketsName} {
		must(len(facts.reached[name]) > 0, "a server was not reached")
	}
	for _, one := range facts.reached[diagName] {
		must(one.authorization == "" && !strings.Contains(one.header, key), "the diagnostic server got a credential")
	}
	for _, one := range facts.reached[notesName] {
		must(one.authorization == "Bearer "+key, "the notes server did not get the connector's key")
	}
	for _, one := range facts.reached[ticketsName] {
		bearer, _ := strings.CutPrefix(one.authorization, "Bearer ")
		must(slices.Contains(given, bearer), "the tickets server did not get an access token of its own")
	}
	for _, one := range slices.Concat(facts.reached[notesName], facts.reached[diagName], facts.reached[ticketsName]) {
		must(!strings.Contains(one.header, token), "the agent's token reached a server")
	}
	must(strings.Contains(r.denied, noErasing), "the denied call is not in the audit log")
	must(r.keys[notesName] == "present (sha256:"+diag.Fingerprint(key)+")", "the notes server reports another key")
	if d.local != nil {
		proveView(r.view, must)
	}
	return errors.Join(errs...)
}

// holdsFile reports whether a file below dir contains the value.
func holdsFile(dir, value string) (bool, error) {
	found := false
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		found = found || strings.Contains(string(content), value)
		return err
	})
	return found, err
}
