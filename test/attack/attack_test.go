package attack

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/go-json-experiment/json"
	"go.uber.org/goleak"

	"sallyport.dev/test/stack"
)

func TestMain(m *testing.M) {
	// net/http quotes what an upstream sends behind its answer into the log of the process, which cmd closes too.
	log.SetOutput(io.Discard)
	goleak.VerifyTestMain(m)
}

// attack is one thing that somebody tries, and what must come of it.
type attack struct {
	id   string  // in the catalogue of attacks
	what string  // what is sent, for the table
	over []proto // default both
	send request
	// script is how the hostile upstream answers; send then goes there.
	script *script
	key    string // names the script to the upstream; made by groups
	// do replaces send where one request is not enough.
	do   func(t *testing.T, r *rig, p proto) (answer, error)
	want want
}

// want is the only acceptable outcome.
type want struct {
	status int    // 0 with reset
	code   int    // of the JSON-RPC error; 0 for none
	reason string // in error.data.reason, or in error.reason
	reset  string // HTTP/2: the error in place of an answer
	cut    bool   // the answer has begun and is aborted
	more   []int  // statuses of further answers on the same connection
	closed bool   // the connection ends behind the answer
	hits   int    // requests that reach the upstream
	header []field
	check  func(t *testing.T, a answer, got []received)
}

// group is one file of attacks.
type group struct {
	name    string
	attacks []attack
	slow    bool // each takes seconds: they run beside one another, against upstreams that nothing else uses
}

func groups() []group {
	all := []group{
		{name: "Tokens", attacks: tokenAttacks()},
		{name: "Tokens of identity providers", attacks: providerAttacks()},
		{name: "Proofs of possession", attacks: proofAttacks()},
		{name: "Client certificates", attacks: certificateAttacks()},
		{name: "Tokens of the gateway's own", attacks: issuedAttacks()},
		{name: "Keys and tokens that are no more", attacks: append(turningAttacks(), endedAttacks()...), slow: true},
		{name: "Framing", attacks: framingAttacks()},
		{name: "Headers", attacks: headerAttacks()},
		{name: "Hosts", attacks: hostAttacks()},
		{name: "Methods and upgrades", attacks: methodAttacks()},
		{name: "Paths", attacks: pathAttacks()},
		{name: "Slow bodies", attacks: slowAttacks(), slow: true},
		{name: "Types and sizes", attacks: sizeAttacks()},
		{name: "JSON", attacks: jsonAttacks()},
		{name: "Identifiers in flight", attacks: idAttacks()},
		{name: "Mirrored headers", attacks: mirrorAttacks()},
		{name: "Method names", attacks: nameAttacks()},
		{name: "MCP sessions", attacks: sessionAttacks()},
		{name: "Sessions of HTTP+SSE", attacks: legacyAttacks()},
		{name: "A session that has gone", attacks: goneAttacks(), slow: true},
		{name: "Metadata and schemas", attacks: metaAttacks()},
		{name: "Credentials sent back", attacks: reflectionAttacks()},
		{name: "Answers", attacks: answerAttacks()},
		{name: "Slow answers", attacks: slowAnswerAttacks(), slow: true},
		{name: "Event streams", attacks: eventAttacks()},
		{name: "Shared answers", attacks: sharedAttacks()},
		{name: "Upstreams that are not who they should be", attacks: impostorAttacks()},
		{name: "A gateway that has been taken over", attacks: captorAttacks()},
		{name: "A gateway that has been taken over, and a connector that verifies agents", attacks: verifyingAttacks()},
		{name: "Tools that change, under quarantine", attacks: rugAttacks()},
		{name: "Policy", attacks: policyAttacks()},
		{name: "JSON and method names, with a policy that reads arguments", attacks: jsonAgain()},
		{name: "Sources of secrets, and callers' names", attacks: sourceAttacks()},
	}
	for i, g := range all {
		for j := range g.attacks {
			g.attacks[j].name(fmt.Sprintf("%d.%d", i, j), g.slow)
		}
	}
	return all
}

// name ties an attack with a script to the upstream that plays it.
func (a *attack) name(key string, slow bool) {
	if a.script == nil {
		return
	}
	if a.key == "" {
		a.key = key
	}
	if a.send.target == "" {
		a.send.target = hostilePath
		if slow {
			a.send.target = hastyPath
		}
	}
	a.send.fields = append(slices.Clip(a.send.fields), field{caseHeader, a.key})
}

func TestAttacks(t *testing.T) {
	all := groups()
	var rigs []*rig
	names := newNames(t)
	for _, transport := range stack.Transports() {
		rigs = append(rigs, newRig(t, transport, names, scriptsOf(all)))
	}
	table := new(table)
	runSlow(t, rigs, all, table)
	for _, r := range rigs {
		t.Run(string(r.transport), func(t *testing.T) { r.run(t, all, table) })
	}
	if !t.Failed() {
		table.compare(t, all)
	}
}

// each calls f for every attack and version of HTTP.
func each(groups []group, slow bool, f func(g group, a attack, p proto)) {
	for _, g := range groups {
		for _, a := range g.attacks {
			over := a.over
			if over == nil {
				over = []proto{h1, h2}
			}
			for _, p := range over {
				if g.slow == slow {
					f(g, a, p)
				}
			}
		}
	}
}

// runSlow runs all slow attacks at once on all rigs.
func runSlow(t *testing.T, rigs []*rig, groups []group, table *table) {
	var crew sync.WaitGroup
	for _, r := range rigs {
		each(groups, true, func(_ group, a attack, p proto) {
			crew.Go(func() {
				got, err := r.perform(t, a, p)
				if err != nil {
					t.Errorf("%s over HTTP/%s, %s: %v", a.what, p, r.transport, err)
					return
				}
				checkAnswer(t, a, got, nil)
				searchAnswer(t, got)
				table.add(a, p, r.transport, got, a.want.hits)
			})
		})
	}
	crew.Wait()
	for _, r := range rigs {
		for _, g := range groups {
			for _, a := range g.attacks {
				if n := r.hasty.played(a.key); g.slow && a.script != nil && n != 2*a.want.hits {
					t.Errorf("%s: %s: the upstream got %d requests over both versions of HTTP", r.transport, a.what, n)
				}
			}
		}
		if n := r.quiet.bytes.Load(); n > 0 {
			t.Errorf("%s: the upstream got %d bytes of slow attacks", r.transport, n)
		}
		r.searchLog(t)
	}
}

// run runs the other attacks one by one.
func (r *rig) run(t *testing.T, groups []group, table *table) {
	for _, target := range []string{wikiPath, vaultPath, quietPath, foreignPath} {
		for _, p := range []proto{h1, h2} {
			a, err := r.perform(t, attack{send: request{target: target}}, p)
			if err != nil || a.status != 200 {
				t.Fatalf("an honest call to %s over HTTP/%s: status %d, %v\n%s", target, p, a.status, err, r.Log)
			}
		}
	}
	base := r.settle(t)
	before := r.contacts()
	expected := 0
	each(groups, false, func(g group, a attack, p proto) {
		t.Run(fmt.Sprintf("%s/%s %s/HTTP %s", g.name, a.id, a.what, p), func(t *testing.T) {
			expected += a.want.hits
			r.runOne(t, a, p, table)
		})
	})
	after := r.contacts()
	if got := sum(after[others:]) - sum(before[others:]); got != expected && !t.Failed() {
		t.Errorf("in the end %d requests had reached the upstream, not %d", got, expected)
	}
	if !slices.Equal(before[:others], after[:others]) {
		t.Errorf("others were called: %v, %v before", after, before)
	}
	r.searchDeep(t)
	r.mustReturn(t, base)
}

// contacts counts the requests that each upstream has had.
func (r *rig) contacts() (list []int) {
	for _, u := range r.upstreams() {
		list = append(list, len(u.all()))
	}
	return list
}

func sum(list []int) (n int) {
	for _, i := range list {
		n += i
	}
	return n
}

func (r *rig) runOne(t *testing.T, a attack, p proto, table *table) {
	before, bytesBefore := r.contacts(), r.touched()
	got, err := r.perform(t, a, p)
	if err != nil {
		t.Fatalf("no answer: %v", err)
	}
	after := r.contacts()
	var records []received
	for i, u := range r.upstreams()[others:] {
		records = append(records, u.all()[before[others+i]:]...)
	}
	if len(records) != a.want.hits {
		t.Errorf("the upstream got %d requests, want %d", len(records), a.want.hits)
	}
	if a.want.hits == 0 && r.touched() != bytesBefore {
		t.Errorf("an upstream was touched: %d bytes", r.touched()-bytesBefore)
	}
	if !slices.Equal(before[:others], after[:others]) {
		t.Errorf("others were called: %v, %v before", after, before)
	}
	if a.do == nil {
		for _, record := range records {
			body := a.send.fill(r.host).body
			if a.script != nil && a.script.early {
				body = ""
			}
			checkReceived(t, record, body)
		}
	}
	checkAnswer(t, a, got, records)
	searchAnswer(t, got)
	r.searchLog(t)
	r.searchDeep(t)
	table.add(a, p, r.transport, got, len(records))
}

// touched counts the bytes that all upstreams have read.
func (r *rig) touched() (n int64) {
	for _, u := range r.upstreams() {
		n += u.bytes.Load()
	}
	return n
}

func (r *rig) perform(t *testing.T, a attack, p proto) (answer, error) {
	switch {
	case a.do != nil:
		return a.do(t, r, p)
	case p == h2:
		return r.sendH2(context.Background(), a.send)
	default:
		return r.sendH1(context.Background(), a.send)
	}
}

// refusal is the part of an error's body that programs read.
type refusal struct {
	Error struct {
		Code   int    `json:"code"`
		Reason string `json:"reason"`
		Data   struct {
			Reason    string `json:"reason"`
			Delivered string `json:"delivered"`
		} `json:"data"`
	} `json:"error"`
}

func refusalOf(a answer) (code int, reason, delivered string) {
	body := a.body
	switch kind := a.header.Get("Content-Type"); {
	case a.status == 200 && kind == "text/event-stream":
		body = lastEvent(body)
	case a.status < 400 || !strings.HasPrefix(kind, "application/json"):
		return 0, "", ""
	}
	var list []refusal
	if len(body) > 0 && body[0] != '[' { // a batch is answered by an array
		body = slices.Concat([]byte{'['}, body, []byte{']'})
	}
	if json.Unmarshal(body, &list) != nil || len(list) == 0 {
		return 0, "", ""
	}
	e := list[0]
	if e.Error.Data.Reason != "" {
		return e.Error.Code, e.Error.Data.Reason, e.Error.Data.Delivered
	}
	return e.Error.Code, e.Error.Reason, "no"
}

// lastEvent is the data of the last event of a stream, which stands in one line.
func lastEvent(stream []byte) []byte {
	i := bytes.LastIndex(stream, []byte("data: "))
	if i < 0 || !bytes.HasSuffix(stream, []byte("\n\n")) {
		return nil
	}
	return bytes.TrimSpace(stream[i+len("data: "):])
}

// deliveredOf is what an error must say of the call's delivery.
func deliveredOf(code int, reason string) string {
	switch code {
	case -32003:
		if reason == "result_denied" {
			return "yes"
		}
	case -32012, -32014:
		return "unknown"
	case -32017, -32019:
		return "yes"
	}
	return "no"
}

func checkAnswer(t *testing.T, a attack, got answer, records []received) {
	t.Helper()
	w := a.want
	code, reason, delivered := refusalOf(got)
	if got.status != w.status || code != w.code || reason != w.reason || got.reset != w.reset || got.cut != w.cut {
		t.Errorf("%s: answer %d %d %q %s, cut %v, want %d %d %q %s, cut %v\n%.300s", a.what, got.status, code, reason, got.reset, got.cut,
			w.status, w.code, w.reason, w.reset, w.cut, got.body)
	}
	if reason != "" && delivered != deliveredOf(code, reason) {
		t.Errorf("%s: the error %d says delivered: %q", a.what, code, delivered)
	}
	if !slices.Equal(got.more, w.more) {
		t.Errorf("%s: further answers %v, want %v", a.what, got.more, w.more)
	}
	if w.closed && !got.closed {
		t.Errorf("%s: the connection stays open", a.what)
	}
	for _, f := range w.header {
		if v := got.header.Get(f.name); v != f.value {
			t.Errorf("%s: %s is %q, want %q", a.what, f.name, v, f.value)
		}
	}
	if w.check != nil {
		w.check(t, got, records)
	} else if w.hits == 1 && a.do == nil && a.script == nil && string(got.body) != string(stack.Echo(records[0].body)) && len(records) == 1 {
		t.Errorf("%s: the agent got another body than the upstream sent", a.what)
	}
}
