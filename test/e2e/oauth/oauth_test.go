package oauth_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"
)

// dialer signs in with a client, and connects it.
type dialer func(ctx context.Context, t *testing.T, to signIn) (caller, error)

func dialers() map[string]dialer {
	return map[string]dialer{goSDK: dialGoSDK, mcpGo: dialMCPGo, mcpRemote: dialMCPRemote}
}

// Clients that others wrote sign in at a real provider and call a private
// server, which never sees their tokens, while policy and log see who it is.
func TestClients(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	// Who names no resource gets tokens for this one, as where a company ties a client to an API.
	w.provider.tell(t, "default "+w.url(wiki))
	seen := new(table)
	t.Run("together", func(t *testing.T) {
		for name, dial := range dialers() {
			for _, by := range registrations() {
				t.Run(name+" by "+string(by), func(t *testing.T) {
					t.Parallel()
					seen.set(name, column(by), signsIn(t, w, name, dial, by))
				})
			}
			t.Run(name+" renews", func(t *testing.T) {
				t.Parallel()
				seen.set(name, renewing, renews(t, w, name, dial))
			})
			t.Run(name+" where more is needed", func(t *testing.T) {
				t.Parallel()
				seen.set(name, starting, starts(t, w, name, dial))
			})
		}
		for _, server := range []string{opaque, rs256, ps256, eddsa} {
			t.Run("tokens "+server, func(t *testing.T) {
				t.Parallel()
				to := signIn{world: w, server: server, by: public, user: "user of " + server}
				calls(t, w, dialGoSDK, to)
				opensNothingElse(t, w, to.user)
			})
		}
		t.Run(mcpRemote+" told what is needed", func(t *testing.T) {
			t.Parallel()
			calls(t, w, dialMCPRemote, signIn{world: w, server: drafts, by: public, user: "user who knows", scope: "mcp wiki.write"})
		})
		t.Run("bound token", func(t *testing.T) {
			t.Parallel()
			boundToken(t, w)
		})
	})
	t.Run("new keys", func(t *testing.T) { newKeys(t, w) })
	t.Run("more is needed", func(t *testing.T) { stepUp(t, w, seen) })
	w.keptSecret(t)
	seen.compare(t)
}

// calls signs in and calls the private server, and reports whether the client
// can.
func calls(t *testing.T, w *world, dial dialer, to signIn) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, err := dial(ctx, t, to)
	if errors.Is(err, errNotOffered) {
		return false
	}
	if err != nil {
		t.Fatal(err)
	}
	echoes(ctx, t, c, to.user)
	if err := c.close(); err != nil {
		t.Error(err)
	}
	if to.by == unattended {
		to.user = secretClient
	}
	w.sawCall(t, to.server, to.user)
	return true
}

// opensNothingElse fails if a token of a user for one server is good for
// another.
func opensNothingElse(t *testing.T, w *world, user string) {
	t.Helper()
	got := w.provider.granted(t, func(e event) bool { return e.User == user })
	if len(got) == 0 {
		t.Fatalf("%s has no token", user)
	}
	h := &holder{client: w.client}
	resp, text := h.do(t.Context(), t, w.url(wiki), `{"jsonrpc":"2.0","id":1,"method":"ping"}`, map[string]string{
		"Authorization": "Bearer " + got[0].Token, "Content-Type": "application/json", "Accept": "application/json, text/event-stream",
	})
	if resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("at another server: %s: %s", resp.Status, text)
	}
}

// echoes fails unless a call of the tool works.
func echoes(ctx context.Context, t *testing.T, c caller, text string) {
	t.Helper()
	if got, err := c.echo(ctx, text); err != nil || got != text {
		t.Errorf("the tool answers %q, %v", got, err)
	}
}

// signsIn reports whether a client offers this way to sign in.
func signsIn(t *testing.T, w *world, name string, dial dialer, by registration) string {
	return yes(calls(t, w, dial, signIn{world: w, server: wiki, by: by, user: name + " by " + string(by)}))
}

// renews reports whether a client gets a new token for one that has expired,
// without its user.
func renews(t *testing.T, w *world, name string, dial dialer) string {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	user := name + " renews"
	c, err := dial(ctx, t, signIn{world: w, server: brief, by: dynamic, user: user})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.close() }()
	select {
	case <-time.After(1100 * time.Millisecond): // the token's life
	case <-ctx.Done():
	}
	echoes(ctx, t, c, user)
	renewed := w.provider.granted(t, func(e event) bool { return e.User == user && e.Grant == "refresh_token" })
	return yes(len(renewed) > 0)
}

// starts reports whether a client is connected when it has been started once,
// to a server that needs more than the others.
func starts(t *testing.T, w *world, name string, dial dialer) string {
	to := signIn{world: w, server: drafts, by: public, user: name + " writes", home: t.TempDir(), port: freePort(t)}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, err := dial(ctx, t, to)
	once := yes(err == nil)
	if err != nil {
		t.Logf("a second start is needed: %.200v", err)
		if c, err = dial(ctx, t, to); err != nil {
			t.Fatal(err)
		}
	}
	echoes(ctx, t, c, to.user)
	_ = c.close()
	w.sawCall(t, drafts, to.user)
	return once
}

// stepUp lets a server need more than what its clients have signed in for
// while they are connected, and notes which of them ask for it. The server has
// no streams: a client of which two requests are refused at once may sign in
// twice, one time against the other.
func stepUp(t *testing.T, w *world, seen *table) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	connected := make(map[string]caller)
	for name, dial := range dialers() {
		c, err := dial(ctx, t, signIn{world: w, server: calm, by: public, user: name + " steps up"})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.close() }()
		echoes(ctx, t, c, name)
		connected[name] = c
	}
	w.require(t, calm, "wiki.read")
	for name, c := range connected {
		_, err := c.echo(ctx, name)
		more := w.provider.granted(t, func(e event) bool { return e.User == name+" steps up" && strings.Contains(e.Scope, "wiki.read") })
		if (err == nil) != (len(more) > 0) {
			t.Errorf("%s: tokens %v, and then %v", name, more, err)
		}
		seen.set(name, stepping, yes(err == nil))
	}
}

// newKeys lets the provider sign with new keys. The gateway knows them half a
// minute after it has last asked, and takes tokens of the old ones meanwhile.
func newKeys(t *testing.T, w *world) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	old, err := dialGoSDK(ctx, t, signIn{world: w, server: wiki, by: public, user: "user of old keys"})
	if err != nil {
		t.Fatal(err)
	}
	w.provider.tell(t, "rotate")
	to := signIn{world: w, server: wiki, by: public, user: "user of new keys"}
	for {
		echoes(ctx, t, old, "old")
		c, err := dialGoSDK(ctx, t, to)
		if err == nil {
			echoes(ctx, t, c, "new")
			echoes(ctx, t, old, "old")
			_ = c.close()
			break
		}
		select {
		case <-time.After(2 * time.Second):
		case <-ctx.Done():
			t.Fatalf("the new keys are not known: %v", err)
		}
	}
	_ = old.close()
	w.sawCall(t, wiki, to.user)
}
