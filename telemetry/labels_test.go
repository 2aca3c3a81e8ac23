package telemetry

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestLabelsAreBounded(t *testing.T) {
	l := NewLabels(2)
	if l.Label("a") != Other || l.Label("") != "" || !l.Admit("a") || !l.Admit("a") || !l.Admit("b") || l.Admit("c") || l.Admit("") {
		t.Error("what may be a label is not as it should be")
	}
	if l.Label("a") != "a" || l.Label("c") != Other || NewLabels(1).Admit(strings.Repeat("x", maxShort+1)) {
		t.Error("labels are not as admitted")
	}
	var names NameLabels
	wiki := ServerName{Name: "wiki"}
	if server, tool := names.Claimed(wiki, "search"); server != wiki || tool != Other {
		t.Error(server, tool)
	}
	for i := range 10_000 {
		names.Proven(wiki, fmt.Sprint("tool", i))
		names.Claimed(ServerName{"acme", fmt.Sprint("server", i)}, "")
	}
	seen := make(map[string]bool)
	for i := range 10_000 {
		_, tool := names.Claimed(wiki, fmt.Sprint("tool", i))
		seen[tool] = true
		server, _ := names.Claimed(ServerName{"acme", fmt.Sprint("server", i)}, "")
		seen[server.Name] = true
		if (server.Name == Other) != (server.Tunnel == Other) {
			t.Error(server)
		}
	}
	if len(seen) != maxLabelledTools+1+maxLabelledServers-1 { // and Other for both, and wiki's place
		t.Errorf("%d labels", len(seen))
	}
	if server, tool := names.Claimed(wiki, ""); server != wiki || tool != "" {
		t.Error(server, tool)
	}
}

func TestLifetimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got := make(map[string]time.Duration)
		l := NewLifetimes(func(name string, d time.Duration) { got[name] = d })
		l.Begin("ends", "ends")
		l.Begin("idles", "idles")
		time.Sleep(10 * time.Second)
		l.Alive("idles")
		l.Alive("never begun")
		l.End("ends")
		l.End("ends")
		time.Sleep(idleLifetime)
		l.Begin("another", "another")
		if len(got) != 2 || got["ends"] != 10*time.Second || got["idles"] != 10*time.Second {
			t.Errorf("%v", got)
		}
		time.Sleep(time.Second)
		clear(got)
		for i := range maxLifetimes + 10 {
			l.Begin(fmt.Sprint(i), fmt.Sprint(i))
		}
		if len(l.alive) != maxLifetimes || len(got) != 11 { // with "another"
			t.Errorf("%d are remembered, %d have ended", len(l.alive), len(got))
		}
	})
}
