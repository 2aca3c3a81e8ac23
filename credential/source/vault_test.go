package source_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sallyport.dev/address"
	"sallyport.dev/credential"
	"sallyport.dev/credential/source"
	"sallyport.dev/credential/source/vault"
	"sallyport.dev/credential/source/vaulttest"
)

func TestVaultKeyValue(t *testing.T) {
	v := vaulttest.New(t, true)
	v.Put("wiki", map[string]any{"token": canary, "user": "svc", "port": 8080, "on": true, "list": []string{"a"}, "empty": ""})
	v.Put("a b/c?d", map[string]any{"token": "escaped"})
	cfg := vaultConfig(t, v)
	cfg.Vault.TTL = time.Second
	k := keep(t, cfg)
	if got := get(t, of(t, k, "vault:kv/wiki#token")); got != canary {
		t.Errorf("got %q", got)
	}
	if got := get(t, of(t, k, "vault:kv/wiki#user", "vault:kv/wiki#token", "vault:kv/wiki#port", "vault:kv/wiki#on")); got != "svc "+canary+" 8080 true" {
		t.Errorf("several fields: %q", got)
	}
	if n := v.Count("GET kv/data/wiki"); n != 1 {
		t.Errorf("one path was read %d times", n)
	}
	for _, ref := range []string{"vault:kv/wiki#none", "vault:kv/wiki#list", "vault:kv/wiki#empty", "vault:kv/none#token", "vault:other/x#y", "vault:kv/forbidden#token"} {
		if got, err := of(t, k, ref).Fetch(t.Context(), credential.Principal{}); !errors.Is(err, credential.ErrUnavailable) || got.Values != nil {
			t.Errorf("%s gives %v", ref, err)
		} else {
			leaks(t, ref, err.Error())
		}
	}
	before := versionOf(t, of(t, k, "vault:kv/wiki#token"))
	v.Put("wiki", map[string]any{"token": "the next one"})
	wait(t, "the change counts", func() bool { return get(t, of(t, k, "vault:kv/wiki#token")) == "the next one" })
	if versionOf(t, of(t, k, "vault:kv/wiki#token")) == before {
		t.Error("another secret has the same version")
	}
	v.Put("wiki", nil)
	wait(t, "a deleted secret is given out no more", func() bool {
		_, err := of(t, k, "vault:kv/wiki#token").Fetch(t.Context(), credential.Principal{})
		return errors.Is(err, credential.ErrUnavailable)
	})
}

func versionOf(t *testing.T, s credential.Source) credential.Version {
	t.Helper()
	got, err := s.Fetch(t.Context(), credential.Principal{})
	if err != nil {
		t.Fatal(err)
	}
	return got.Version
}

func wait(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(15 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if holds() {
			return
		}
	}
	t.Errorf("it does not happen that %s", what)
}

// Leases are renewed while they are used, replaced near their end, and given back.
func TestVaultLeases(t *testing.T) {
	v := vaulttest.New(t, false)
	v.LeaseTTL, v.MaxTTL = 3*time.Second, 8*time.Second
	k, err := source.New(vaultConfig(t, v))
	if err != nil {
		t.Fatal(err)
	}
	s := of(t, k, "vault:database/creds/reader#username", "vault:database/creds/reader#password")
	pair := func() string {
		t.Helper()
		got := get(t, s)
		var n, m int
		if _, err := fmt.Sscanf(strings.ReplaceAll(got, "-", " "), "v reader %d password of reader %d", &n, &m); err != nil || n != m {
			t.Fatalf("user and password are of two leases: %q, %v", got, err)
		}
		return got
	}
	first := pair()
	wait(t, "a lease is renewed", func() bool { return pair() == first && v.Count("PUT sys/leases/renew") > 0 })
	wait(t, "another is taken near its longest life", func() bool { return pair() != first })
	if v.Leases() == 0 {
		t.Error("no lease is out")
	}
	k.Close()
	if v.Leases() != 0 || v.Logins() != 0 || v.Count("PUT sys/leases/revoke") == 0 || v.Count("POST auth/token/revoke-self") != 1 {
		t.Errorf("in the end %d leases and %d logins are out: %q", v.Leases(), v.Logins(), v.Requests())
	}
	if _, err := s.Fetch(t.Context(), credential.Principal{}); !errors.Is(err, credential.ErrUnavailable) {
		t.Errorf("a closed keeper gives %v", err)
	}
}

func TestVaultLogins(t *testing.T) {
	_, role := writeSecret(t, vaulttest.RoleID)
	_, id := writeSecret(t, vaulttest.SecretID)
	_, jwt := writeSecret(t, vaulttest.ServiceJWT)
	_, token := writeSecret(t, vaulttest.RootToken)
	_, wrong := writeSecret(t, canary)
	for name, test := range map[string]struct {
		auth vault.Auth
		ok   bool
	}{
		"token":                {vault.Auth{Token: mustRef(t, token)}, true},
		"approle":              {vault.Auth{AppRole: &vault.AppRole{RoleID: mustRef(t, role), SecretID: mustRef(t, id)}}, true},
		"kubernetes":           {vault.Auth{Kubernetes: &vault.Kubernetes{Role: vaulttest.Role, JWT: mustRef(t, jwt)}}, true},
		"jwt":                  {vault.Auth{JWT: &vault.JWT{Role: vaulttest.Role, JWT: mustRef(t, jwt)}}, true},
		"wrong token":          {vault.Auth{Token: mustRef(t, wrong)}, false},
		"wrong secret id":      {vault.Auth{AppRole: &vault.AppRole{RoleID: mustRef(t, role), SecretID: mustRef(t, wrong)}}, false},
		"wrong role":           {vault.Auth{JWT: &vault.JWT{Role: "other", JWT: mustRef(t, jwt)}}, false},
		"wrong mount":          {vault.Auth{JWT: &vault.JWT{Role: vaulttest.Role, JWT: mustRef(t, jwt), Mount: "oidc"}}, false},
		"a token that is gone": {vault.Auth{Token: mustRef(t, "file:/none/there")}, false},
	} {
		t.Run(name, func(t *testing.T) {
			v := vaulttest.New(t, false)
			v.Namespace = "team/a"
			v.Put("wiki", map[string]any{"token": "the-secret"})
			s := of(t, keep(t, source.Config{Vault: vault.Config{Address: v.URL, Namespace: "team/a", Auth: test.auth}}), "vault:kv/wiki#token")
			got, err := s.Fetch(t.Context(), credential.Principal{})
			if test.ok && (err != nil || got.Values[0].Reveal() != "the-secret") {
				t.Errorf("got %v", err)
			}
			if !test.ok {
				if !errors.Is(err, credential.ErrUnavailable) {
					t.Errorf("got %v", err)
				}
				leaks(t, name, fmt.Sprint(err))
			}
		})
	}
}

// A login that was revoked is replaced at once, by one login however many calls wait.
func TestVaultLoginIsReplaced(t *testing.T) {
	v := vaulttest.New(t, false)
	v.Put("a", map[string]any{"token": "one"})
	v.Put("b", map[string]any{"token": "two"})
	k := keep(t, vaultConfig(t, v))
	if got := get(t, of(t, k, "vault:kv/a#token")); got != "one" {
		t.Fatalf("got %q", got)
	}
	v.Revoke()
	var crew sync.WaitGroup
	for range 20 {
		crew.Go(func() {
			if got, err := of(t, k, "vault:kv/b#token").Fetch(t.Context(), credential.Principal{}); err != nil || got.Values[0].Reveal() != "two" {
				t.Errorf("got %v", err)
			}
		})
	}
	crew.Wait()
	if n := v.Count("POST auth/approle/login"); n != 2 {
		t.Errorf("%d logins", n)
	}
}

// Whatever a hostile or broken Vault does: an error in time, nothing of it in the error, nobody else is asked, and it works
// again afterwards.
func TestVaultThatMisbehaves(t *testing.T) {
	var elsewhere atomic.Int64
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	defer other.Close()
	for _, fault := range []vaulttest.Fault{
		vaulttest.Huge, vaulttest.Redirect, vaulttest.HTML, vaulttest.Types, vaulttest.Sealed, vaulttest.Echo, vaulttest.Broken, vaulttest.Hang, vaulttest.Endless,
	} {
		t.Run(string(fault), func(t *testing.T) {
			t.Parallel()
			v := vaulttest.New(t, false)
			v.Elsewhere = other.URL
			v.Put("wiki", map[string]any{"token": canary})
			v.Put("next", map[string]any{"token": canary})
			cfg := vaultConfig(t, v)
			k := keep(t, cfg)
			get(t, of(t, k, "vault:kv/wiki#token")) // logged in
			v.Misbehave(fault)
			began := time.Now()
			_, err := of(t, k, "vault:kv/next#token").Fetch(t.Context(), credential.Principal{})
			if !errors.Is(err, credential.ErrUnavailable) {
				t.Fatalf("got %v", err)
			}
			leaks(t, "the error", err.Error())
			if took := time.Since(began); took > 31*time.Second {
				t.Errorf("it took %s", took)
			}
			if got := get(t, of(t, k, "vault:kv/wiki#token")); got != canary {
				t.Error("what is kept is not given out any more")
			}
			v.Misbehave("")
			wait(t, "it works again", func() bool {
				got, err := of(t, k, "vault:kv/next#token").Fetch(t.Context(), credential.Principal{})
				return err == nil && got.Values[0].Reveal() == canary
			})
		})
	}
	t.Cleanup(func() {
		if n := elsewhere.Load(); n > 0 {
			t.Errorf("a redirect was followed %d times", n)
		}
	})
}

func TestVaultThatIsNotTheRightOne(t *testing.T) {
	v := vaulttest.New(t, true)
	v.Put("wiki", map[string]any{"token": canary})
	untrusted := vaultConfig(t, v)
	untrusted.Vault.CAFile = ""
	_, err := of(t, keep(t, untrusted), "vault:kv/wiki#token").Fetch(t.Context(), credential.Principal{})
	if !errors.Is(err, credential.ErrUnavailable) || v.Count("POST") > 0 {
		t.Errorf("an unknown certificate: %v, %q", err, v.Requests())
	}
	named := vaultConfig(t, v) // its certificate is for the address alone
	named.Vault.Address = strings.Replace(v.URL, "127.0.0.1", "localhost", 1)
	_, err = of(t, keep(t, named), "vault:kv/wiki#token").Fetch(t.Context(), credential.Principal{})
	if !errors.Is(err, credential.ErrUnavailable) || !strings.Contains(err.Error(), "for another host") || v.Count("POST") > 0 {
		t.Errorf("a certificate of another host: %v, %q", err, v.Requests())
	}
	elsewhere := vaultConfig(t, v)
	allowed, err := address.Parse([]string{"10.0.0.0/8"})
	if err != nil {
		t.Fatal(err)
	}
	elsewhere.Control = allowed.Control
	if _, err := of(t, keep(t, elsewhere), "vault:kv/wiki#token").Fetch(t.Context(), credential.Principal{}); !errors.Is(err, address.ErrRefused) {
		t.Errorf("an address that is not allowed: %v", err)
	}
	gone := vaultConfig(t, v)
	k := keep(t, gone)
	v.Stop()
	if _, err := of(t, k, "vault:kv/wiki#token").Fetch(t.Context(), credential.Principal{}); !errors.Is(err, credential.ErrUnavailable) {
		t.Errorf("a Vault that has gone: %v", err)
	}
	if _, err := keep(t, source.Config{}).Source(mustRef(t, "vault:kv/wiki#token")); !errors.Is(err, credential.ErrConfig) {
		t.Errorf("no Vault is configured: %v", err)
	}
}

// Each principal has what stands under his own names, and whatever could lead elsewhere is refused.
func TestVaultPrincipals(t *testing.T) {
	v := vaulttest.New(t, false)
	bob, twin := alice, alice
	bob.Subject, twin.Issuer = "bob", "https://other.test"
	v.Put("users/corp/alice@example.com", map[string]any{"token": "of-alice"})
	v.Put("users/corp/bob", map[string]any{"token": "of-bob"})
	v.Put("users/other/alice@example.com", map[string]any{"token": "of-the-other-alice"})
	v.Put("users/corp", map[string]any{"token": "of-nobody"})
	v.Put("admin", map[string]any{"token": "of-the-admin"})
	cfg := vaultConfig(t, v)
	cfg.Issuers = map[string]string{alice.Issuer: "corp", twin.Issuer: "other"}
	s := of(t, keep(t, cfg), "vault:kv/users/{principal.issuer}/{principal.subject}#token")
	for range 2 {
		for who, want := range map[credential.Principal]string{alice: "of-alice", bob: "of-bob", twin: "of-the-other-alice"} {
			if got := getFor(t, s, who); got != want {
				t.Errorf("%+v gets %q", who, got)
			}
		}
	}
	asked := len(v.Requests())
	for _, hostile := range []string{
		"", ".", "..", "../../admin", "a/b", `a\b`, "a#b", "a?b", "a%2fb", "%2e%2e", "a\x00b", "a\nb", "a\x7f", "a\u0085", " a", "a ", "a\u2003", "\xff", "{principal.issuer}", strings.Repeat("a", 129),
	} {
		for _, who := range []credential.Principal{{Issuer: alice.Issuer, Subject: hostile}, {Issuer: hostile, Subject: "bob"}} {
			got, err := s.Fetch(t.Context(), who)
			if !errors.Is(err, credential.ErrUnavailable) || got.Values != nil {
				t.Errorf("%+q gives %v", who, err)
			} else if len(hostile) > 2 && strings.Contains(err.Error(), hostile) && !strings.Contains("vault:kv/users/{principal.issuer}/{principal.subject}#token", hostile) {
				t.Errorf("the error repeats %q", hostile)
			}
		}
	}
	if _, err := s.Fetch(t.Context(), credential.Principal{}); !errors.Is(err, credential.ErrUnavailable) {
		t.Errorf("nobody gets %v", err)
	}
	if now := v.Requests(); len(now) != asked {
		t.Errorf("a hostile name reached Vault: %q", now[asked:])
	}
	if _, err := s.Fetch(t.Context(), credential.Principal{Issuer: alice.Issuer, Subject: strings.Repeat("a", 128)}); !errors.Is(err, credential.ErrUnavailable) || !strings.Contains(err.Error(), "nothing at that path") {
		t.Errorf("the longest name gives %v", err)
	}
}

func FuzzPrincipalsNeverShareAPath(f *testing.F) {
	f.Add("alice", "corp", "bob", "corp")
	f.Add("a/b", "c", "b", "c/a")
	v := vaulttest.New(f, false)
	k := keep(f, vaultConfig(f, v))
	s := of(f, k, "vault:kv/users/{principal.issuer}/{principal.subject}#token")
	f.Fuzz(func(t *testing.T, subject, issuer, otherSubject, otherIssuer string) {
		read := func(who credential.Principal) (path string) {
			before := len(v.Requests())
			_, _ = s.Fetch(t.Context(), who) // there is nothing
			for _, r := range v.Requests()[before:] {
				if strings.HasPrefix(r, "GET kv/data/") {
					path = r
				}
			}
			return path
		}
		a, b := credential.Principal{Issuer: issuer, Subject: subject}, credential.Principal{Issuer: otherIssuer, Subject: otherSubject}
		first, second := read(a), read(b)
		if first != "" && first == second && a != b {
			t.Errorf("%+q and %+q are read at %s", a, b, first)
		}
		for _, path := range []string{first, second} {
			if path != "" && (strings.Count(path, "/") != 4 || strings.Contains(path, "..%") || !strings.HasPrefix(path, "GET kv/data/users/")) {
				t.Errorf("%+q, %+q: %s", a, b, path)
			}
		}
	})
}

func TestVaultConfig(t *testing.T) {
	_, file := writeSecret(t, "x")
	good := vault.Auth{Token: mustRef(t, file)}
	ref := mustRef(t, file)
	for name, cfg := range map[string]vault.Config{
		"no scheme":              {Address: "vault.internal", Auth: good},
		"plain http":             {Address: "http://vault.internal:8200", Auth: good},
		"a path":                 {Address: "https://vault.internal/v1", Auth: good},
		"a user":                 {Address: "https://a:b@vault.internal", Auth: good},
		"no auth":                {Address: "https://vault.internal"},
		"no address":             {Auth: good},
		"two ways":               {Address: "https://vault.internal", Auth: vault.Auth{Token: ref, JWT: &vault.JWT{Role: "r", JWT: ref}}},
		"no role":                {Address: "https://vault.internal", Auth: vault.Auth{JWT: &vault.JWT{JWT: ref}}},
		"no secret id":           {Address: "https://vault.internal", Auth: vault.Auth{AppRole: &vault.AppRole{RoleID: ref}}},
		"itself":                 {Address: "https://vault.internal", Auth: vault.Auth{Token: mustRef(t, "vault:kv/a#b")}},
		"a strange path":         {Address: "https://vault.internal", Auth: vault.Auth{JWT: &vault.JWT{Role: "r", JWT: ref, Mount: "../sys"}}},
		"a short ttl":            {Address: "https://vault.internal", TTL: time.Millisecond, Auth: good},
		"a ca that is not there": {Address: "https://vault.internal", CAFile: "/none/ca.crt", Auth: good},
	} {
		if k, err := source.New(source.Config{Vault: cfg}); !errors.Is(err, credential.ErrConfig) {
			t.Errorf("%s gives %v", name, err)
			if k != nil {
				k.Close()
			}
		}
	}
	defaults := vault.Config{Address: "https://vault.internal", Auth: vault.Auth{Kubernetes: &vault.Kubernetes{Role: "r"}}}
	if err := defaults.Validate(); err != nil || defaults.Auth.Kubernetes.Mount != "kubernetes" || defaults.TTL != 5*time.Minute {
		t.Errorf("%+v, %v", defaults.Auth.Kubernetes, err)
	}
}
