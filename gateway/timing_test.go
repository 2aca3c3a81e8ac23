package gateway

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport.dev/auth/oidc"
	"sallyport.dev/auth/providertest"
)

const (
	timingRounds = 400 // requests of each kind, one after another in turn
	timingTries  = 3   // the machine has other things to do
	timingFactor = 1.5 // between the medians
)

// TestTimingTellsNothing: what is refused takes the same time whether the tunnel, or the server, exists or not (attack 89).
func TestTimingTellsNothing(t *testing.T) {
	idp, trusted := newIssuer(t, "globex")
	trusted.Servers = []string{"granted"}
	g, _ := newVerifying(t, func(c *Config) {
		c.Logger = nil
		c.Tunnels = append(c.Tunnels, Tunnel{Name: "globex", TunnelToken: secretFile(t, c.StateDir, "globex.token", strings.Repeat("globex", 6))})
		c.Agents.Issuers = []oidc.Config{trusted}
	})
	attachFake(t, g, "one", answering(okAnswer), "wiki", "granted")
	token := func(path string, options ...providertest.Option) string {
		return idp.Issue(map[string]any{"aud": testPublicURL + path}, options...)
	}
	const wiki, nowhere, nobody = "/t/acme/wiki/mcp", "/t/acme/none/mcp", "/t/none/wiki/mcp"
	genuine := map[string]string{}
	for _, path := range []string{wiki, nowhere, nobody} {
		genuine[path] = token(path)
	}
	garbage := strings.Repeat("g", 48)
	forged := token(wiki, providertest.Head("kid", "none"))
	unsigned := token(wiki)
	unsigned = unsigned[:len(unsigned)-40] + strings.Repeat("A", 40)
	for _, test := range []struct {
		name   string
		status int
		token  func(path string) string
		paths  []string
	}{
		{"no token", 401, func(string) string { return "" }, []string{wiki, nowhere, nobody}},
		{"a token of nobody", 401, func(string) string { return garbage }, []string{wiki, nowhere, nobody}},
		{"a token of an unknown key", 401, func(string) string { return forged }, []string{wiki, nowhere, nobody}},
		{"a token with a forged signature", 401, func(string) string { return unsigned }, []string{wiki, nowhere, nobody}},
		{"a token for another server", 401, func(string) string { return genuine[wiki] }, []string{nowhere, nobody, "/t/globex/granted/mcp"}},
		{"a genuine token of another tunnel's issuer", 404, func(path string) string { return genuine[path] }, []string{wiki, nowhere, nobody}},
		{"a static token that is granted one server", 404, func(string) string { return testNarrowToken }, []string{wiki, nowhere, nobody}},
	} {
		t.Run(test.name, func(t *testing.T) {
			for try := 1; ; try++ {
				medians := medianTimes(t, g, test.status, test.token, test.paths)
				least, most := slices.Min(medians), slices.Max(medians)
				if float64(most) <= timingFactor*float64(least) {
					return
				}
				if try == timingTries {
					t.Fatalf("the medians for %v are %v", test.paths, medians)
				}
			}
		})
	}
}

// medianTimes sends requests to all paths in turn.
func medianTimes(t *testing.T, g *Gateway, status int, token func(string) string, paths []string) (medians []time.Duration) {
	t.Helper()
	took := make([][]time.Duration, len(paths))
	for range timingRounds {
		for i, path := range paths {
			r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(listTools))
			r.Host = "tunnel.example.com"
			r.Header.Set("Content-Type", "application/json")
			if value := token(path); value != "" {
				r.Header.Set("Authorization", "Bearer "+value)
			}
			w := httptest.NewRecorder()
			start := time.Now()
			g.handler.ServeHTTP(w, r)
			took[i] = append(took[i], time.Since(start))
			if w.Code != status {
				t.Fatalf("%s: status %d, want %d", path, w.Code, status)
			}
		}
	}
	for _, all := range took {
		slices.Sort(all)
		medians = append(medians, all[len(all)/2])
	}
	return medians
}

// TestUnknownTunnelLooksLikeOne: the metadata document and the challenge of a tunnel that does not exist say what those of one
// that does could say, and the same each time, at each gateway and after a restart.
func TestUnknownTunnelLooksLikeOne(t *testing.T) {
	var trusted []oidc.Config
	for _, tunnel := range []string{testTunnel, "globex"} {
		_, c := newIssuer(t, tunnel)
		c.Require = map[string]oidc.Requirement{"*": {Scopes: []string{"use." + tunnel}}}
		trusted = append(trusted, c)
	}
	sessionKey := secretFile(t, t.TempDir(), "session.key", strings.Repeat("session key ", 4))
	start := func() *Gateway {
		g, _ := newVerifying(t, func(c *Config) {
			c.SessionKey, c.Agents.Issuers = sessionKey, trusted
			c.Tunnels = append(c.Tunnels, Tunnel{Name: "globex", TunnelToken: secretFile(t, c.StateDir, "globex.token", strings.Repeat("globex", 6))})
		})
		return g
	}
	g := start()
	real := []map[string]any{document(t, g, testTunnel), document(t, g, "globex")}
	if reflect.DeepEqual(real[0], real[1]) || real[0]["authorization_servers"] == nil {
		t.Fatalf("the documents of two tunnels: %v", real)
	}
	seen := make([]int, len(real))
	unknown := make(map[string]map[string]any)
	for i := range 40 {
		name := "nobody-" + itoa(i)
		unknown[name] = document(t, g, name)
		at := slices.IndexFunc(real, func(d map[string]any) bool { return reflect.DeepEqual(d, unknown[name]) })
		if at < 0 {
			t.Fatalf("%s: %v", name, unknown[name])
		}
		seen[at]++
	}
	if slices.Contains(seen, 0) {
		t.Errorf("all unknown tunnels look like one: %v", seen)
	}
	again := start()
	for _, name := range slices.Sorted(maps.Keys(unknown)) {
		if !reflect.DeepEqual(document(t, g, name), unknown[name]) || !reflect.DeepEqual(document(t, again, name), unknown[name]) {
			t.Errorf("%s has another document later, or at a gateway with the same session_key", name)
		}
	}
}

// document is the metadata of a server of a tunnel, and its challenge, without the names that were asked for.
func document(t *testing.T, g *Gateway, tunnel string) (d map[string]any) {
	t.Helper()
	path := "/t/" + tunnel + "/wiki/mcp"
	ask := func(method, path string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, path, nil)
		r.Host = "tunnel.example.com"
		return play(g, r)
	}
	w := ask(http.MethodGet, metadataPrefix+path)
	if err := json.Unmarshal(w.Body.Bytes(), &d); err != nil || w.Code != http.StatusOK || d["resource"] != testPublicURL+path {
		t.Fatalf("%s: %d %s %v", tunnel, w.Code, w.Body, err)
	}
	delete(d, "resource")
	var challenges []string
	for _, c := range ask(http.MethodPost, path).Header().Values("WWW-Authenticate") {
		challenges = append(challenges, strings.ReplaceAll(c, path, "PATH"))
	}
	header := w.Header().Clone()
	header.Del("Content-Length") // the name's is in it
	d["challenges"], d["header"], d["members"] = challenges, header, strings.Count(w.Body.String(), `":`)
	return d
}
