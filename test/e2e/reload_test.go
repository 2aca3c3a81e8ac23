package e2e_test

import (
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"sallyport.dev/connector"
	"sallyport.dev/policy"
	"sallyport.dev/test/stack"
	"sallyport.dev/tunnel"
)

// reloadable starts a stack and returns the configuration of its connector, to be changed.
func reloadable(t *testing.T, transport tunnel.Transport, servers map[string]connector.Server) (*stack.Stack, *connector.Config) {
	t.Helper()
	base := new(connector.Config)
	s := stack.New(t, stack.Options{Transport: transport, Servers: servers, Connector: func(cfg *connector.Config) { *base = *cfg }})
	base.Servers = maps.Clone(base.Servers)
	return s, base
}

// Servers and policy change while the connector runs: new calls meet the new ones, and a call that is under way is finished.
func TestReloadServersAndPolicy(t *testing.T) {
	t.Parallel()
	eachTransport(t, func(t *testing.T, transport tunnel.Transport) {
		arrived, proceed := make(chan struct{}), make(chan struct{})
		finish := sync.OnceFunc(func() { close(proceed) })
		defer finish()
		slow := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			close(arrived)
			<-proceed
			fmt.Fprint(w, `{"from":"the old one"}`)
		})
		s, cfg := reloadable(t, transport, map[string]connector.Server{"old": {URL: slow.URL}, "stays": {URL: echoes(t)}})
		agent := s.Agent(t, true)
		if got := post(t, s, agent, "new", pingBody); got.status != http.StatusNotFound {
			t.Fatalf("a server that is not there yet gives %d", got.status)
		}
		finished := make(chan answer, 1)
		go func() { finished <- post(t, s, agent, "old", pingBody) }()
		within(t, patience, arrived, "the call")

		delete(cfg.Servers, "old")
		cfg.Servers["new"] = connector.Server{URL: echoes(t)}
		if waiting, err := s.Connector.Reload(*cfg); err != nil || len(waiting) > 0 {
			t.Fatalf("Reload: %q, %v", waiting, err)
		}
		t.Cleanup(func() {
			if t.Failed() {
				t.Log(s.Log)
			}
		})
		until(t, patience, "the new server answers", func() bool { return post(t, s, agent, "new", pingBody).status == http.StatusOK })
		finish()
		if got := <-finished; got.status != http.StatusOK || !strings.Contains(string(got.body), "the old one") {
			t.Errorf("the call that was under way gives %d %s", got.status, got.body)
		}
		until(t, patience, "the old server is gone", func() bool { return post(t, s, agent, "old", pingBody).status == http.StatusNotFound })

		deny := false
		rules, err := policy.New([]policy.Rule{{Servers: []string{"*"}, Allow: deny}})
		if err != nil {
			t.Fatal(err)
		}
		cfg.Policy = rules
		if _, err := s.Connector.Reload(*cfg); err != nil {
			t.Fatal(err)
		}
		mustRefuse(t, post(t, s, agent, "stays", pingBody), http.StatusForbidden, -32003, "no")
	})
}

// Secrets are replaced again and again under a flood of calls: none fails, each carries one of the two that are there while
// it is made, and what is there in the end is what counts.
func TestRotationDropsNoCall(t *testing.T) {
	t.Parallel()
	eachTransport(t, func(t *testing.T, transport tunnel.Transport) {
		const rotations, callers = 20, 4
		var newest atomic.Int64 // the least number that may still be used
		upstream := serve(t, func(w http.ResponseWriter, r *http.Request) {
			var n int64
			if _, err := fmt.Sscanf(r.Header.Get("Authorization"), "Bearer a-key-of-some-length-%d", &n); err != nil {
				t.Errorf("a call without a key: %v", err)
			}
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `{"key":%d}`, n)
		})
		server, path := keyed(t, connector.Server{URL: upstream.URL, AllowPlaintext: true})
		write := func(n int) {
			next := path + ".next"
			writeFile(t, next, fmt.Sprintf("a-key-of-some-length-%d", n))
			if err := os.Rename(next, path); err != nil {
				t.Error(err)
			}
		}
		write(0)
		if err := os.Chmod(path, 0o600); err != nil {
			t.Fatal(err)
		}
		s := stack.New(t, stack.Options{Transport: transport, Servers: map[string]connector.Server{"wiki": server}})
		agent := s.Agent(t, true)
		done := make(chan struct{})
		var crew sync.WaitGroup
		var calls atomic.Int64
		for range callers {
			crew.Go(func() {
				for {
					select {
					case <-done:
						return
					default:
					}
					least := newest.Load()
					got := post(t, s, agent, "wiki", pingBody)
					var n int64
					if _, err := fmt.Sscanf(string(got.body), `{"key":%d}`, &n); got.status != http.StatusOK || err != nil {
						t.Errorf("a call fails with %d %s", got.status, got.body)
						return
					}
					if n < least {
						t.Errorf("a call that began when key %d was there carried key %d", least, n)
					}
					calls.Add(1)
				}
			})
		}
		for n := 1; n <= rotations; n++ {
			before := calls.Load()
			until(t, patience, "calls are made", func() bool { return calls.Load() > before+callers || t.Failed() })
			write(n)
			newest.Store(int64(n))
		}
		close(done)
		crew.Wait()
		if got := post(t, s, agent, "wiki", pingBody); string(got.body) != fmt.Sprintf(`{"key":%d}`, rotations) {
			t.Errorf("in the end: %s", got.body)
		}
	})
}

// What cannot be used changes nothing, and what must wait for a restart is named.
func TestReloadThatIsRefusedOrWaits(t *testing.T) {
	t.Parallel()
	s, cfg := reloadable(t, tunnel.QUIC, map[string]connector.Server{"wiki": {URL: echoes(t)}})
	agent := s.Agent(t, true)
	for name, change := range map[string]func(*connector.Config){
		"no server":          func(c *connector.Config) { c.Servers = nil },
		"a URL that is none": func(c *connector.Config) { c.Servers = map[string]connector.Server{"wiki": {URL: "wiki"}} },
		"a CA file that is not there": func(c *connector.Config) {
			c.Servers = map[string]connector.Server{"wiki": {URL: echoes(t), CAFile: "/none/ca.crt"}}
		},
		"a policy for a server that is not there": func(c *connector.Config) {
			c.Policy, _ = policy.New([]policy.Rule{{Servers: []string{"elsewhere"}, Allow: true}})
		},
	} {
		changed := *cfg
		change(&changed)
		if _, err := s.Connector.Reload(changed); err == nil {
			t.Errorf("%s is taken over", name)
		}
		if got := post(t, s, agent, "wiki", pingBody); got.status != http.StatusOK {
			t.Errorf("after %s the server gives %d", name, got.status)
		}
	}
	changed := *cfg
	changed.Servers = map[string]connector.Server{
		"wiki": cfg.Servers["wiki"],
		"cmd":  {Command: []string{"/bin/true"}},
	}
	changed.Connections, changed.MaxProcesses = 1, 7
	waiting, err := s.Connector.Reload(changed)
	if want := []string{"connections", "max_processes", "servers.cmd"}; err != nil || !slices.Equal(waiting, want) {
		t.Errorf("waiting for a restart: %q, %v, want %q", waiting, err, want)
	}
	if got := post(t, s, agent, "cmd", pingBody); got.status != http.StatusNotFound {
		t.Errorf("a command that waits gives %d", got.status)
	}
}

// The process takes over what its file says, and keeps the old one while the file cannot be used.
func TestProcessReloadsItsFile(t *testing.T) {
	t.Parallel()
	binary := build(t)
	d := deploy(t, echoes(t), "quic")
	start(t, binary, "gateway", d.gateway).says(t, "gateway is up", 1)
	p := start(t, binary, "connector", d.connector)
	p.says(t, `"msg":"attached"`, 2)
	d.call(t)
	good, err := os.ReadFile(d.connector)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, d.connector, string(good)+"surprise: true\n")
	p.says(t, fmt.Sprintf("%s:%d", d.connector, strings.Count(string(good), "\n")+1), 1) // the line
	p.says(t, "the old one stays in use", 1)
	d.call(t)
	writeFile(t, d.connector, string(good)+"connections: 3\n")
	p.says(t, "configuration reloaded", 1)
	p.says(t, "a change waits for a restart", 1)
	d.call(t)
	d.serve(t, fmt.Sprintf("{ other: { url: %q }, echo: { url: %q } }", echoes(t), echoes(t)))
	p.says(t, "configuration reloaded", 2)
	p.says(t, `"msg":"attached"`, 4) // with the new names
	d.call(t)
	p.terminate(t)
}
