package policy_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"sallyport.dev/auth"
	"sallyport.dev/config"
	"sallyport.dev/mcp"
	"sallyport.dev/policy"
)

// ask makes a request of the principal ops of the server orders.
func ask(method, name string, change ...func(*policy.Request)) policy.Request {
	r := policy.Request{
		Principal: auth.Principal{Issuer: "https://idp.example", Subject: "olga", Claims: map[string]any{
			"team": "ops", "level": 3.0, "groups": []any{"eng", "oncall"}, "mfa": true,
		}},
		Server:  "orders",
		Message: mcp.Message{Kind: mcp.Request, Method: method, Name: name},
		Source:  netip.MustParseAddr("10.1.2.3"),
		Time:    time.Date(2026, 11, 26, 15, 4, 5, 0, time.UTC),
	}
	for _, c := range change {
		c(&r)
	}
	return r
}

// arguments gives a request arguments.
func arguments(raw string) func(*policy.Request) {
	return func(r *policy.Request) {
		r.Message.Arguments = []byte(raw)
		r.Message.Params = []byte(`{"name":"` + r.Message.Name + `","arguments":` + raw + `}`)
	}
}

func mustNew(t testing.TB, rules ...policy.Rule) policy.Policy {
	t.Helper()
	p, err := policy.New(rules)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func when(condition string) policy.Rule {
	return policy.Rule{Servers: []string{"orders"}, When: condition, Allow: true}
}

func deny(condition string) policy.Rule {
	return policy.Rule{Servers: []string{"orders"}, When: condition}
}

// Each name that a condition may use has the value that it says.
func TestConditions(t *testing.T) {
	query := ask("tools/call", "query", arguments(`{"sql":"SELECT 1","limit":9007199254740993,"ratio":0.5,"tags":["a","b"],"deep":{"er":[{"x":1}]}}`))
	for condition, request := range map[string]policy.Request{
		`principal.issuer == "https://idp.example" && principal.subject == "olga"`: query,
		`principal.claims.team == "ops" && mcp.tool in ["query", "explain"]`:       query,
		`principal.claims.level >= 3`:                                              query,
		`principal.claims.groups.exists(g, g == "oncall")`:                         query,
		`"oncall" in principal.claims.groups`:                                      query,
		`principal.claims.mfa == true && !has(principal.claims.guest)`:             query,
		`server == "orders" && mcp.method == "tools/call"`:                         query,
		`mcp.args.limit == 9007199254740993`:                                       query,
		`mcp.args.ratio < 1 && mcp.args.tags.all(t, t in ["a", "b", "c"])`:         query,
		`mcp.args.deep.er[0].x == 1`:                                               query,
		`mcp.args.sql.matches("(?i)^select ")`:                                     query,
		`size(mcp.args.sql) < 100 && mcp.params.name == "query"`:                   query,
		`ip(source.ip).family() == 4 && cidr("10.0.0.0/8").containsIP(source.ip)`:  query,
		`now.getHours("UTC") == 15 && now < timestamp("2027-01-01T00:00:00Z")`:     query,
		`mcp.prompt == "summary" && mcp.tool == "" && mcp.resource == ""`:          ask("prompts/get", "summary"),
		`mcp.resource.startsWith("docs://") && mcp.tool == "" && mcp.prompt == ""`: ask("resources/read", "docs://a/b"),
		`mcp.resource == "docs://{id}"`:                                            ask("completion/complete", "docs://{id}", func(r *policy.Request) { r.Message.Ref = "ref/resource" }),
		`mcp.prompt == "p"`:                                                        ask("completion/complete", "p", func(r *policy.Request) { r.Message.Ref = "ref/prompt" }),
		`mcp.method == "logging/setLevel" && mcp.params.level == "error"`: ask("logging/setLevel", "", func(r *policy.Request) {
			r.Message.Params = []byte(`{"level":"error"}`)
		}),
		`size(mcp.args) == 0`: ask("tools/call", "x"),
	} {
		if d := mustNew(t, when(condition)).Decide(request); !d.Allow || d.Rule != "rule 1" {
			t.Errorf("%s does not allow: %+v", condition, d)
		}
		if d := mustNew(t, policy.Rule{Servers: []string{"*"}, Allow: true}, deny(condition)).Decide(request); d.Allow || d.Rule != "rule 2" {
			t.Errorf("%s does not deny: %+v", condition, d)
		}
		if d := mustNew(t, when("!("+condition+")")).Decide(request); d.Allow {
			t.Errorf("not %s allows", condition)
		}
	}
}

// What cannot be evaluated counts against the call: it is no match of a rule that allows, and one of a rule that denies.
func TestConditionsThatFail(t *testing.T) {
	for condition, request := range map[string]policy.Request{
		`principal.claims.tenant == "x"`:                   ask("tools/call", "query"),
		`mcp.args.limit < 10`:                              ask("tools/call", "query"),
		`mcp.args.limit < 11`:                              ask("tools/call", "query", arguments(`{"limit":"9"}`)),
		`mcp.args.path == "/tmp"`:                          ask("tools/call", "read", arguments(`{"path":"/tmp","Path":"/etc/passwd"}`)),
		`mcp.args["limit"] == 5`:                           ask("tools/call", "query", arguments(`{"limit":1e999}`)),
		`mcp.args.all(k, k == "sql")`:                      ask("tools/call", "query", arguments(`["sql"]`)),
		`has(mcp.params.mode) && mcp.params.mode == "url"`: ask("elicitation/create", "", func(r *policy.Request) { r.ParamsUnknown = true }),
		`size(mcp.args) == 0`:                              ask("tools/call", "query", func(r *policy.Request) { r.ParamsUnknown = true }),
		`source.ip == "10.0.0.1"`:                          ask("tools/call", "query", func(r *policy.Request) { r.Source = netip.Addr{} }),
		`now > timestamp(0)`:                               ask("tools/call", "query", func(r *policy.Request) { r.Time = time.Time{} }),
		`principal.claims.team == "ops"`:                   ask("tools/call", "query", func(r *policy.Request) { r.Principal.Claims = nil }),
		`mcp.args.list.all(x, x == x)`:                     ask("tools/call", "query", arguments(`{"list":[`+strings.Repeat("1,", 200_000)+`1]}`)),
		`int(mcp.args.n) < 5`:                              ask("tools/call", "query", arguments(`{"n":"canary-4"}`)),
		`mcp.args.text.matches("^(a+)+$")`:                 ask("tools/call", "query", arguments(`{"text":"`+strings.Repeat("a", 4<<20)+`"}`)),
	} {
		began := time.Now()
		allowing := mustNew(t, when(condition)).Decide(request)
		if allowing.Allow || allowing.Rule != "default" || !strings.Contains(allowing.Reason, "could not be evaluated") {
			t.Errorf("%s: %+v", condition, allowing)
		}
		denying := mustNew(t, policy.Rule{Servers: []string{"*"}, Allow: true}, deny(condition)).Decide(request)
		if denying.Allow || denying.Rule != "rule 2" || !strings.Contains(denying.Reason, "could not be evaluated") {
			t.Errorf("%s: %+v", condition, denying)
		}
		if strings.Contains(allowing.Reason+denying.Reason, "canary") {
			t.Errorf("%s: a value is repeated", condition)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("%s takes %s", condition, took)
		}
	}
}

// Conditions that are no good are refused when they are read, with their place.
func TestConditionsThatAreRefused(t *testing.T) {
	for condition, want := range map[string]string{
		`mcp.tool = "x"`:        "line 1, column 10",
		`mcp.tool == 5`:         "line 1, column 10: found no matching overload",
		`mcp.tool`:              "it gives a string, and must be true or false",
		`mcp.args.force`:        "it gives a value of any type",
		`principal.name == "x"`: "there are principal.issuer, principal.subject",
		`tool == "x"`:           "undeclared reference to 'tool'",
		`mcp.tool.matches("(")`: "",
		"mcp.tool == \"a\" &&\n mcp.tol == \"b\"":                                                                                     "line 2, column",
		strings.Repeat("(", 100) + "true" + strings.Repeat(")", 100):                                                                  "",
		`true` + strings.Repeat(" || true", 600):                                                                                      "",
		`mcp.args.a.all(a, mcp.args.b.all(b, mcp.args.c.all(c, a == b && b == c)))`:                                                   "take loops out of loops",
		`["a","b"].all(a, ["a","b"].all(b, mcp.args.x.exists(c, mcp.args.y.exists(d, mcp.args.z.exists(e, a == b && c == d && e)))))`: "take loops out of loops",
		`mcp.args.x.map(x, mcp.args.x.map(y, mcp.args.x)).size() > 0`:                                                                 "",
	} {
		made, err := policy.New([]policy.Rule{when(condition)})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "rule 1: when") || !made.IsZero() {
			t.Errorf("%.60s: %v, want %s", condition, err, want)
		}
	}
}

// The places of errors are those of the file.
func TestPlacesInTheFile(t *testing.T) {
	for text, want := range map[string]string{
		"policy:\n  - servers: [a]\n    when: 'mcp.tol == \"x\"'\n    allow: true":                                          "c.yaml:3: policy: when: line 1, column 4: undeclared",
		"policy:\n  - servers: [a]\n    when: |\n      mcp.tool == \"x\" &&\n      mcp.tol == \"y\"\n    allow: true":       "c.yaml:5: policy: when: line 2, column 4: undeclared",
		"policy:\n  - { servers: [a], allow: true }\n  - servers: []\n    when: 'mcp.tol == \"x\"'\n    allow: true":        "c.yaml:3: policy: servers is empty",
		"policy:\n  - { servers: [a], allow: true }\n  - servers: [b]\n    when: 'mcp.tool == \"x\" && x'\n    allow: true": "c.yaml:4: policy: when: line 1, column 20: undeclared",
	} {
		err := config.Decode("c.yaml", []byte(text), &file{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\n%v\nwant %s", text, err, want)
		}
	}
}

// Rules about tools need not spell out the protocol; and they open nothing to those whom they can never allow anything.
func TestConversationsOpen(t *testing.T) {
	p := mustNew(t,
		policy.Rule{Servers: []string{"orders"}, When: `principal.claims.team == "ops" && mcp.tool in ["query"]`, Allow: true},
		policy.Rule{Servers: []string{"wiki"}, Allow: true},
		policy.Rule{Servers: []string{"vault"}, When: `mcp.tool == "read"`, Allow: true},
		policy.Rule{Servers: []string{"vault"}, When: `principal.subject == "mallory" || mcp.method == "resources/list"`},
	)
	other := func(r *policy.Request) { r.Principal.Claims = map[string]any{"team": "sales"} }
	vault := func(r *policy.Request) { r.Server = "vault" }
	mallory := func(r *policy.Request) { r.Server, r.Principal.Subject = "vault", "mallory" }
	for _, method := range []string{
		"", "initialize", "notifications/initialized", "ping", "server/discover", "notifications/cancelled", "notifications/progress",
		"notifications/roots/list_changed", "tools/list", "prompts/list", "resources/list", "resources/templates/list",
	} {
		if d := p.Decide(ask(method, "")); !d.Allow || d.Rule != "rule 1" {
			t.Errorf("%s of ops: %+v", method, d)
		}
		if d := p.Decide(ask(method, "", other)); d.Allow {
			t.Errorf("%s of sales: %+v", method, d)
		}
		if d := p.Decide(ask(method, "", vault)); d.Allow != (method != "resources/list") {
			t.Errorf("%s at vault: %+v", method, d)
		}
		if d := p.Decide(ask(method, "", mallory)); d.Allow || d.Rule != "rule 4" {
			t.Errorf("%s of mallory: %+v", method, d)
		}
	}
	for _, method := range []string{
		"resources/read", "prompts/get", "completion/complete", "logging/setLevel", "resources/subscribe", "resources/unsubscribe", "subscriptions/listen",
		"tasks/list", "tasks/get", "vendor/x", "Initialize", "tools/List", "sampling/createMessage",
	} {
		if d := p.Decide(ask(method, "x")); d.Allow {
			t.Errorf("%s: %+v", method, d)
		}
	}
	if d := p.Decide(ask("tools/call", "drop")); d.Allow {
		t.Errorf("another tool: %+v", d)
	}
}

// What the server asks of the client is allowed by rules about that alone.
func TestFromServer(t *testing.T) {
	asks := func(r *policy.Request) { r.FromServer = true }
	all := policy.Rule{Servers: []string{"orders"}, Allow: true}
	ask1 := policy.Rule{Servers: []string{"orders"}, FromServer: true, When: `mcp.method == "elicitation/create"`, Allow: true}
	for _, test := range []struct {
		policy policy.Policy
		method string
		allow  bool
	}{
		{mustNew(t, all), "elicitation/create", false},
		{mustNew(t, all), "roots/list", false},
		{mustNew(t, all), "ping", true},
		{mustNew(t, ask1), "ping", false},
		{mustNew(t, all, ask1), "elicitation/create", true},
		{mustNew(t, all, ask1), "sampling/createMessage", false},
		{policy.Open(), "sampling/createMessage", true},
	} {
		if d := test.policy.Decide(ask(test.method, "", asks)); d.Allow != test.allow {
			t.Errorf("%s: %+v", test.method, d)
		}
	}
	if d := mustNew(t, ask1).Decide(ask("elicitation/create", "")); d.Allow {
		t.Errorf("a rule about the server lets the client: %+v", d)
	}
}

// A rule in report mode stops nothing and says what it would have stopped.
func TestReportMode(t *testing.T) {
	allowing := when(`mcp.tool == "query"`)
	allowing.Report, allowing.Name = true, "queries"
	denying := deny(`mcp.tool == "drop"`)
	denying.Report, denying.Name = true, "no-drop"
	all := policy.Rule{Servers: []string{"orders"}, Allow: true}
	for _, test := range []struct {
		name   string
		policy policy.Policy
		tool   string
		allow  bool
		rule   string
		would  string
	}{
		{"a rule that allows", mustNew(t, allowing), "query", true, "queries", ""},
		{"what it does not allow", mustNew(t, allowing), "drop", true, "queries", "queries"},
		{"what another allows", mustNew(t, allowing, all), "drop", true, "rule 2", ""},
		{"what another denies", mustNew(t, allowing, deny(`true`)), "drop", false, "rule 2", ""},
		{"a rule that denies", mustNew(t, denying, all), "drop", true, "rule 2", "no-drop"},
		{"what it does not deny", mustNew(t, denying, all), "query", true, "rule 2", ""},
		{"nothing allows", mustNew(t, denying), "drop", false, "default", ""},
		{"both", mustNew(t, denying, allowing), "drop", true, "queries", "no-drop queries"},
	} {
		d := test.policy.Decide(ask("tools/call", test.tool))
		if d.Allow != test.allow || d.Rule != test.rule || strings.Join(d.WouldDeny, " ") != test.would {
			t.Errorf("%s: %+v", test.name, d)
		}
	}
	if got := mustNew(t, denying, all, allowing).NotEnforced(); strings.Join(got, " ") != "no-drop queries" {
		t.Errorf("not enforced: %q", got)
	}
}

func TestLimitsOfTheRuleThatAllows(t *testing.T) {
	limited := when(`mcp.tool == "query"`)
	limited.Limits = policy.Limits{Rate: 60, Per: time.Minute, Concurrent: 2, Arguments: 10, Result: 20}
	p := mustNew(t, when(`mcp.tool == "free"`), limited)
	if d := p.Decide(ask("tools/call", "query")); !d.Allow || d.Limits == nil || *d.Limits != limited.Limits {
		t.Errorf("%+v", d)
	}
	if d := p.Decide(ask("tools/call", "free")); !d.Allow || d.Limits != nil {
		t.Errorf("%+v", d)
	}
	var got file
	if err := config.Decode("c.yaml", []byte("policy: [{ servers: [orders], allow: true, limits: { rate: 60/1m, concurrent: 2, arguments: 10, result: 20 } }]"), &got); err != nil {
		t.Fatal(err)
	}
	if d := got.Policy.Decide(ask("tools/call", "query")); d.Limits == nil || *d.Limits != limited.Limits {
		t.Errorf("from the file: %+v", d.Limits)
	}
}

// A list shows what could be called with some arguments.
func TestShows(t *testing.T) {
	p := mustNew(t,
		when(`mcp.tool == "query" && mcp.args.limit < 100`),
		when(`mcp.resource.startsWith("docs://")`),
		when(`mcp.tool == "admin" && principal.claims.level > 5`),
		when(`mcp.tool in ["drop", "dump"]`),
		deny(`mcp.tool == "drop"`),
		deny(`mcp.tool == "dump" && mcp.args.all(k, k == "x")`),
	)
	for name, shown := range map[string]bool{"query": true, "admin": false, "drop": false, "dump": true, "other": false, "Query": false, "query ": false} {
		if got := p.Shows(ask("tools/call", name)); got != shown {
			t.Errorf("%q is shown: %v", name, got)
		}
	}
	for uri, shown := range map[string]bool{"docs://a": true, "file:///etc/passwd": false, "docs://a/../b": false} {
		if got := p.Shows(ask("resources/read", uri)); got != shown {
			t.Errorf("%q is shown: %v", uri, got)
		}
	}
	if policy.Open().Shows(ask("tools/call", "x")) != true || (policy.Policy{}).Shows(ask("tools/call", "x")) {
		t.Error("open shows nothing, or none shows all")
	}
}

// A URI that leads elsewhere than it seems to is allowed by no rule.
func TestResourcesThatClimb(t *testing.T) {
	p := mustNew(t, when(`mcp.resource.startsWith("file:///docs/")`))
	for _, uri := range []string{"file:///docs/a", "file:///docs/a%20b", "file:///docs/a%2Fb", "file:///docs/..a", "file:///docs/v1.2", "file:///docs/", "file:///docs/a?x=1.2",
		"file:///docs/Größe", "file:///docs/%C3%BC.md", "file:///docs/日本語…/100.md", "file:///docs/می\u200cخواهم.md", "file:///docs/Screen%20Shot%201.02%E2%80%AFPM.png",
		"file:///docs/问题：一？", "file:///docs/ünder.%20Seite%20.md", "file:///docs/❤\ufe0f", "file:///docs/a.%20b/c", "file:///docs/a%252Fb", "file:///docs/C:\\x",
	} {
		if d := p.Decide(ask("resources/read", uri)); !d.Allow {
			t.Errorf("%s: %+v", uri, d)
		}
	}
	for _, uri := range []string{
		"file:///docs/../etc/passwd", "file:///docs/./a", "file:///docs/..", "file:///docs/%2e%2e/etc", "file:///docs/%2E%2e/etc", "file:///docs/.%2e/etc",
		"file:///docs/..%2fetc", "file:///docs/..%5cetc", `file:///docs/..\etc`, "file:///docs/%252e%252e/etc", "file:///docs/%25252e%25252e/etc",
		"file:///docs/a%zz", "file:///docs/..;x/etc", "file:///docs/..#x",

		// What parsers of URLs leave out, wherever it stands.
		"file:///docs/.\t./etc", "file:///docs/\t../etc", "file:///docs/.\n./etc", "file:///docs/..\r/etc", "file:///docs/.%2\te/etc", "file:///docs/.%09./etc",
		"file:///docs/.%0a./etc", "file:///docs/.%250D./etc", "file:///docs/a\tb", "file:///docs/a%09b", "file:///docs/a%2509b", "\tfile:///docs/a",
		// What ends a text, or its reader cuts off an end.
		"file:///docs/..\x00/etc", "file:///docs/..%00/etc", "file:///docs/a%00b", "file:///docs/a\x7f", "file:///docs/a%7F", "file:///docs/a\u0085", "file:///docs/a%C2%85",
		"file:///docs/.. ", "file:///docs/..%20/etc", "file:///docs/%20../etc", "file:///docs/. ./etc", "file:///docs/.%20./etc", "file:///docs/..%2520/etc", "file:///docs/... /etc",
		"file:///docs/a b", "file:///docs/a\u00a0b", "file:///docs/..%C2%A0/etc", "file:///docs/..%E3%80%80/etc", "file:///docs/a\u2028b", "file:///docs/a%E2%80%A9b",
		// What is not seen.
		"file:///docs/.\ufeff./etc", "file:///docs/.%EF%BB%BF./etc", "file:///docs/a\ufeff", "file:///docs/.\u200b./etc", "file:///docs/.\u00ad./etc", "file:///docs/a\u200bb",
		"file:///docs/.\u200d./etc", "file:///docs/.%E2%80%8D./etc", "file:///docs/a\u202eb", "file:///docs/.\ufe0f./etc", "file:///docs/.\u034f./etc", "file:///docs/.\U000e0041./etc",
		// What is taken for a dot, a slash or an escape.
		"file:///docs/．．/etc", "file:///docs/.．/etc", "file:///docs/%EF%BC%8E%EF%BC%8E/etc", "file:///docs/‥/etc", "file:///docs/…/etc", "file:///docs/․․/etc", "file:///docs/。。/etc", "file:///docs/｡｡/etc",
		"file:///docs/﹒﹒/etc", "file:///docs/..／etc", "file:///docs/a／b", "file:///docs/..＼etc", "file:///docs/a%EF%BC%BCb", "file:///docs/％2e％2e/etc", "file:///docs/a℀b",
		// What is no UTF-8, and which old decoders take for a dot or a slash.
		"file:///docs/%c0%ae%c0%ae/etc", "file:///docs/..%c0%afetc", "file:///docs/%e0%80%ae%e0%80%ae/etc", "file:///docs/\xff", "file:///docs/%u002e%u002e/etc", "file:///docs/%fe%ff",
	} {
		for _, method := range []string{"resources/read", "resources/subscribe", "resources/unsubscribe"} {
			if d := p.Decide(ask(method, uri)); d.Allow {
				t.Errorf("%s of %s: %+v", method, uri, d)
			}
		}
	}
}

// FuzzDecide: whatever a call says, a rule about one tool allows that tool alone, and nothing panics.
func FuzzDecide(f *testing.F) {
	f.Add("tools/call", "query", `{"limit":5}`)
	f.Add("resources/read", "docs://..", `[]`)
	f.Add("initialize", "", ``)
	p := mustNew(f, when(`mcp.tool == "query" && mcp.args.limit < 100`), deny(`mcp.args.exists(k, k == "force")`))
	f.Fuzz(func(t *testing.T, method, name, args string) {
		r := ask(method, name)
		if args != "" {
			r.Message.Arguments = []byte(args)
		}
		d := p.Decide(r)
		if d.Allow && (method != "tools/call" || name != "query") && d.Limits == nil && d.Reason == "the rule allows it" {
			t.Errorf("%q of %q with %q: %+v", method, name, args, d)
		}
		if d.Allow && !p.Shows(r) && method == "tools/call" {
			t.Errorf("%q of %q is allowed and not shown", method, name)
		}
	})
}
