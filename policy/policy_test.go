package policy_test

import (
	"errors"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"sallyport.dev/auth"
	"sallyport.dev/config"
	"sallyport.dev/mcp"
	"sallyport.dev/policy"
)

func request(server string) policy.Request {
	return policy.Request{
		Principal: auth.Principal{Issuer: "https://idp.example", Subject: "ci"},
		Server:    server,
		Message:   mcp.Message{Kind: mcp.Request, Method: "tools/call", Name: "search"},
	}
}

func TestTheZeroDecisionDenies(t *testing.T) {
	if (policy.Decision{}).Allow {
		t.Fatal("the zero decision allows")
	}
}

func TestTheZeroPolicyDeniesEverything(t *testing.T) {
	var none policy.Policy
	for _, server := range []string{"wiki", "*", ""} {
		if got := none.Decide(request(server)); got.Allow || got.Rule != "default" || got.Reason == "" {
			t.Errorf("%q gives %+v", server, got)
		}
	}
	if !none.IsZero() || none.IsOpen() {
		t.Error("the zero policy does not know that it is one")
	}
}

func TestDecide(t *testing.T) {
	rules := func(list ...policy.Rule) policy.Policy {
		made, err := policy.New(list)
		if err != nil {
			t.Fatal(err)
		}
		return made
	}
	allow := func(names ...string) policy.Rule { return policy.Rule{Servers: names, Allow: true} }
	deny := func(names ...string) policy.Rule { return policy.Rule{Servers: names} }

	for _, test := range []struct {
		name   string
		policy policy.Policy
		server string
		allow  bool
		rule   string
	}{
		{"open", policy.Open(), "wiki", true, "open"},
		{"no rules", rules(), "wiki", false, "default"},
		{"named", rules(allow("wiki")), "wiki", true, "rule 1"},
		{"second of two", rules(allow("github"), allow("orders", "wiki")), "wiki", true, "rule 2"},
		{"first that allows", rules(allow("wiki"), allow("*")), "wiki", true, "rule 1"},
		{"not named", rules(allow("wiki")), "github", false, "default"},
		{"all", rules(allow("*")), "anything", true, "rule 1"},
		{"deny after allow wins", rules(allow("*"), deny("wiki")), "wiki", false, "rule 2"},
		{"deny before allow wins", rules(deny("wiki"), allow("*")), "wiki", false, "rule 1"},
		{"deny of another", rules(deny("wiki"), allow("*")), "github", true, "rule 2"},
		{"deny all", rules(allow("wiki"), deny("*")), "wiki", false, "rule 2"},
		{"no prefix match", rules(allow("wiki")), "wiki2", false, "default"},
		{"no case match", rules(allow("wiki")), "WIKI", false, "default"},
		{"star is no server's name", rules(allow("wiki")), "*", false, "default"},
		{"no server", rules(allow("*")), "", false, "default"},
		{"open and no server", policy.Open(), "", false, "default"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := test.policy.Decide(request(test.server))
			if got.Allow != test.allow || got.Rule != test.rule || got.Reason == "" {
				t.Errorf("got %+v, want allow %v by %s", got, test.allow, test.rule)
			}
		})
	}
}

func TestNobodyIsDeniedEvenByAnOpenPolicy(t *testing.T) {
	nobody := policy.Request{Server: "wiki"}
	if got := policy.Open().Decide(nobody); got.Allow {
		t.Errorf("got %+v", got)
	}
}

func TestAPolicyIsNotChangedThroughItsRules(t *testing.T) {
	names := []string{"wiki"}
	made, err := policy.New([]policy.Rule{{Servers: names, Allow: true}})
	if err != nil {
		t.Fatal(err)
	}
	names[0] = "orders"
	if made.Decide(request("orders")).Allow || !made.Decide(request("wiki")).Allow {
		t.Error("changing the caller's slice changes the policy")
	}
}

func TestNewRefuses(t *testing.T) {
	for _, names := range [][]string{nil, {}, {""}, {"Wiki"}, {"wi*"}, {"*", "wiki"}, {"wiki", "*"}, {"a", "a"}, {strings.Repeat("a", 64)}} {
		made, err := policy.New([]policy.Rule{{Servers: []string{"ok"}, Allow: true}, {Servers: names, Allow: true}})
		if !errors.Is(err, policy.ErrInvalid) || !strings.Contains(err.Error(), "rule 2") || !made.IsZero() {
			t.Errorf("%q gives %v", names, err)
		}
	}
}

type file struct {
	Policy policy.Policy `yaml:"policy"`
}

func TestYAML(t *testing.T) {
	const rules = "policy:\n  - { servers: [wiki, github], allow: true }\n  - servers: [orders]\n    allow: false\n"
	for _, test := range []struct {
		name, text string
		zero, open bool
		servers    string
	}{
		{"word", "policy: open", false, true, ""},
		{"quoted word", `policy: "open"`, false, true, ""},
		{"rules", rules, false, false, "wiki github orders"},
		{"all", `policy: [{ servers: ["*"], allow: true }]`, false, false, ""},
		{"no rules", "policy: []", false, false, ""},
		{"missing", "{}", true, false, ""},
		{"null", "policy:", true, false, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			var got file
			if err := config.Decode("connector.yaml", []byte(test.text), &got); err != nil {
				t.Fatal(err)
			}
			if got.Policy.IsZero() != test.zero || got.Policy.IsOpen() != test.open {
				t.Errorf("zero %v, open %v", got.Policy.IsZero(), got.Policy.IsOpen())
			}
			if names := strings.Join(got.Policy.Servers(), " "); names != test.servers {
				t.Errorf("servers %q, want %q", names, test.servers)
			}
		})
	}
	var got file
	if err := config.Decode("connector.yaml", []byte(rules), &got); err != nil {
		t.Fatal(err)
	}
	if !got.Policy.Decide(request("github")).Allow || got.Policy.Decide(request("orders")).Allow {
		t.Error("the rules of the file are not those that decide")
	}
}

func TestYAMLRefuses(t *testing.T) {
	const canary = "c4n4ry-Q7w9"
	for _, test := range []struct{ name, text, want string }{
		{"another word", "policy: closed", "connector.yaml:1: policy: is neither the word open nor a list of rules"},
		{"true", "policy: true", ":1: policy: is neither"},
		{"a rule alone", "policy: { servers: [a], allow: true }", ":1: policy: is neither"},
		{"open in a list", "policy: [open]", ":1: policy: a rule is written as"},
		{"a value", "policy: " + canary, ":1: policy: is neither"},
		{"unknown key", "policy:\n  - { servers: [a], allow: true }\n  - servers: [a]\n    allow: true\n    server: " + canary, ":5: policy: unknown key \"server\" in a rule (known here: servers, allow, name, from, when, mode, limits, check, approve)"},
		{"secret as key", "policy:\n  - { servers: [a], allow: true, key:" + canary + " }", ":2: policy: unknown key in a rule"},
		{"condition as list", "policy:\n  - { servers: [a], allow: true, when: [" + canary + "] }", ":2: policy: when is a condition in quotes"},
		{"empty condition", "policy:\n  - { servers: [a], allow: true, when: '' }", ":2: policy: when is a condition in quotes"},
		{"blank condition", "policy:\n  - { servers: [a], allow: true, when: ' ' }", ":2: policy: when: it is empty"},
		{"check", "policy:\n  - { servers: [a], allow: true, check: https://" + canary + " }", ":2: policy: check is written as"},
		{"check without url", "policy:\n  - { servers: [a], allow: true,\n      check: { of: [result] } }", ":3: policy: check: url: write http(s)"},
		{"check over http", "policy:\n  - { servers: [a], allow: true, check: { url: 'http://" + canary + ".internal/x' } }", ":2: policy: check: url: plain http is for"},
		{"check with a user", "policy:\n  - { servers: [a], allow: true, check: { url: 'https://" + canary + "@opa/x' } }", ":2: policy: check: url: write http(s)"},
		{"check of something", "policy:\n  - { servers: [a], allow: true, check: { url: 'https://opa/x', of: [" + canary + "] } }", ":2: policy: of is a list"},
		{"check of nothing", "policy:\n  - { servers: [a], allow: true, check: { url: 'https://opa/x', of: [] } }", ":2: policy: of is a list"},
		{"check for long", "policy:\n  - { servers: [a], allow: true, check: { url: 'https://opa/x', timeout: 31s } }", ":2: policy: check: timeout"},
		{"check that denies", "policy:\n  - { servers: [a], allow: false, check: { url: 'https://opa/x' } }", ":2: policy: check: it has the last word"},
		{"approve", "policy:\n  - { servers: [a], allow: true, approve: " + canary + " }", ":2: policy: approve is the word human"},
		{"approve for long", "policy:\n  - { servers: [a], allow: true, approve: { timeout: 2h } }", ":2: policy: approve: timeout"},
		{"webhook without key", "policy:\n  - { servers: [a], allow: true, approve: { webhook: 'https://" + canary + "/x' } }", ":2: policy: approve: key: write the Ed25519"},
		{"webhook over http", "policy:\n  - { servers: [a], allow: true, approve: { webhook: 'http://" + canary + "/x' } }", ":2: policy: approve: webhook: plain http"},
		{"key without webhook", "policy:\n  - { servers: [a], allow: true, approve: { key: " + canary + " } }", ":2: policy: approve: key and ca_file belong"},
		{"approve what is denied", "policy:\n  - { servers: [a], allow: false, approve: human }", ":2: policy: approve: a human has the last word"},
		{"mode", "policy:\n  - { servers: [a], allow: true, mode: " + canary + " }", ":2: policy: mode is enforce (the default) or report"},
		{"report without condition", "policy:\n  - { servers: [a], allow: true,\n      mode: report }", ":3: policy: mode: a rule that allows everything denies nothing"},
		{"from", "policy:\n  - { servers: [a], allow: true, from: client }", ":2: policy: from is agent (the default) or server"},
		{"name", "policy:\n  - { servers: [a], allow: true,\n      name: Ops Only }", ":3: policy: name: it is 1 to 40 of a-z"},
		{"name of ours", "policy:\n  - { servers: [a], allow: true, name: default }", ":2: policy: name: it is 1 to 40 of a-z"},
		{"name twice", "policy:\n  - { servers: [a], allow: true, name: x }\n  - { servers: [b], allow: true, name: x }", ":3: policy: name: another rule has it"},
		{"limits", "policy:\n  - { servers: [a], allow: true, limits: 5 }", ":2: policy: limits are written as"},
		{"no limits", "policy:\n  - { servers: [a], allow: true, limits: {} }", ":2: policy: limits are written as"},
		{"unknown limit", "policy:\n  - { servers: [a], allow: true, limits: { speed: 5 } }", ":2: policy: unknown key \"speed\" in limits (known here: rate"},
		{"rate", "policy:\n  - { servers: [a], allow: true, limits: { rate: 60 } }", ":2: policy: rate is a number of messages and a time"},
		{"rate of nothing", "policy:\n  - { servers: [a], allow: true, limits: { rate: 0/1m } }", ":2: policy: rate is"},
		{"rate in a year", "policy:\n  - { servers: [a], allow: true, limits: { rate: 1/8760h } }", ":2: policy: limits: rate: write a number"},
		{"concurrent", "policy:\n  - { servers: [a], allow: true, limits: { concurrent: 0 } }", ":2: policy: concurrent is a number of calls"},
		{"result", "policy:\n  - { servers: [a], allow: true, limits: { result: 1MiB } }", ":2: policy: result is a number of bytes"},
		{"limits that deny", "policy:\n  - { servers: [a], allow: false,\n      limits: { rate: 1/1s } }", ":3: policy: limits: they bound what a rule allows"},
		{"limits of servers", "policy:\n  - { servers: [a], allow: true, from: server, limits: { rate: 1/1s } }", ":2: policy: limits: they bound what clients send"},
		{"no servers", "policy:\n  - { allow: true }", ":2: policy: a rule has no servers"},
		{"no allow", "policy:\n  - { servers: [a] }", ":2: policy: a rule has no allow"},
		{"allow as text", "policy:\n  - { servers: [a], allow: \"true\" }", ":2: policy: allow is true or false"},
		{"allow as yes", "policy:\n  - { servers: [a], allow: yes }", ":2: policy: allow is true or false"},
		{"allow null", "policy:\n  - { servers: [a], allow: }", ":2: policy: allow is true or false"},
		{"servers as text", "policy:\n  - { servers: a, allow: true }", ":2: policy: servers is a list of names"},
		{"servers empty", "policy:\n  - { servers: [], allow: true }", ":2: policy: servers is empty"},
		{"servers null", "policy:\n  - { servers: , allow: true }", ":2: policy: servers is a list"},
		{"pattern", "policy:\n  - { servers: [\"wi*\"], allow: true }", ":2: policy: servers holds a name that no server can have"},
		{"star and name", "policy:\n  - { servers: [\"*\", a], allow: true }", ":2: policy: servers has \"*\" beside names"},
		{"nested", "policy:\n  - { servers: [[a]], allow: true }", ":2: policy: servers holds something that is no name"},
		{"key twice", "policy:\n  - { servers: [a], allow: false, allow: true }", ":2: key \"allow\" is given twice"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var got file
			err := config.Decode("connector.yaml", []byte(test.text), &got)
			if err == nil {
				t.Fatal("it is accepted")
			}
			if !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), canary) {
				t.Errorf("it says %v, want %s", err, test.want)
			}
			if !got.Policy.IsZero() {
				t.Error("a refused policy is in force")
			}
		})
	}
}

// A policy is strict without the loader too: a decoder that knows nothing of strictness finds the same faults.
func TestYAMLRefusesByItself(t *testing.T) {
	for text, want := range map[string]string{
		"policy: [{ servers: [a], allow: true, allow: true }]": "given twice",
		"policy: [{ servers: [a], allow: true, x: 1 }]":        "unknown key \"x\"",
		"a: &r { servers: [a], allow: true }\npolicy: [*r]":    "a rule is written as",
		"policy:\n  - { x: 1 }\n  - { y: 1 }":                  "line 3: unknown key \"y\"",
	} {
		var got file
		err := yaml.Unmarshal([]byte(text), &got)
		if err == nil || !strings.Contains(err.Error(), want) || !got.Policy.IsZero() {
			t.Errorf("%q gives %v, want %s", text, err, want)
		}
	}
}

func FuzzPolicyYAML(f *testing.F) {
	f.Add("open")
	f.Add("[{ servers: [a, b], allow: true }]")
	f.Add("[{ servers: ['*'], allow: false, when: x }]")
	f.Fuzz(func(t *testing.T, text string) {
		var got policy.Policy
		if err := yaml.Unmarshal([]byte(text), &got); err != nil {
			if !got.IsZero() {
				t.Errorf("refused and in force: %v", err)
			}
			return
		}
		decision := got.Decide(request("zz-not-named"))
		if decision.Allow && !got.IsOpen() && !strings.ContainsAny(text, `*\`) { // a backslash may spell the star
			t.Errorf("%q allows a server that it does not name", text)
		}
	})
}

func TestIsEmpty(t *testing.T) {
	none, err := policy.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	one, err := policy.New([]policy.Rule{{Servers: []string{policy.AllServers}, Allow: true}})
	if err != nil {
		t.Fatal(err)
	}
	if !none.IsEmpty() || one.IsEmpty() || policy.Open().IsEmpty() || (policy.Policy{}).IsEmpty() {
		t.Errorf("%v %v %v %v", none.IsEmpty(), one.IsEmpty(), policy.Open().IsEmpty(), policy.Policy{}.IsEmpty())
	}
}
