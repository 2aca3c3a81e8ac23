package policy

import (
	"testing"

	"sallyport.dev/auth"
)

func TestPlus(t *testing.T) {
	rules := func(list ...Rule) Policy {
		p, err := New(list)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	wiki := rules(Rule{Servers: []string{"wiki"}, Allow: true})
	denyAll := rules(Rule{Servers: []string{AllServers}})
	cases := []struct {
		name   string
		policy Policy
		server string
		allow  bool
		rule   string
	}{
		{"the first list counts", wiki.Plus(rules()), "wiki", true, "rule 1"},
		{"the second list counts", rules(Rule{Servers: []string{"git"}, Allow: true}).Plus(wiki), "wiki", true, "rule 2"},
		{"what neither allows is denied", wiki.Plus(wiki), "git", false, "default"},
		{"a denial behind wins", wiki.Plus(denyAll), "wiki", false, "rule 2"},
		{"a denial before wins", denyAll.Plus(wiki), "wiki", false, "rule 1"},
		{"open wins", wiki.Plus(Open()), "git", true, "open"},
		{"nothing and nothing deny", Policy{}.Plus(Policy{}), "wiki", false, "default"},
		{"nothing adds nothing", wiki.Plus(Policy{}), "git", false, "default"},
	}
	for _, c := range cases {
		got := c.policy.Decide(Request{Principal: auth.Principal{Subject: "ci"}, Server: c.server})
		if got.Allow != c.allow || got.Rule != c.rule {
			t.Errorf("%s: got %v by %q", c.name, got.Allow, got.Rule)
		}
	}
	if !(Policy{}).Plus(Policy{}).IsZero() || wiki.Plus(Policy{}).IsZero() {
		t.Error("whether a policy was given is lost")
	}
}
