package attack

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sallyport.dev/auth/authtest"
	"sallyport.dev/connector"
	"sallyport.dev/credential/inject"
	"sallyport.dev/credential/source"
	"sallyport.dev/credential/source/vault"
	"sallyport.dev/credential/source/vaulttest"
	"sallyport.dev/secret"
	"sallyport.dev/test/stack"
)

// programs are sources of secrets that fail, by what they do.
var programs = []struct{ name, what, text string }{
	{"hangs", "a program that hangs", "sleep 60"},
	{"floods", "a program that prints 10 MiB", "head -c 10485760 /dev/zero"},
	{"exits", "a program that prints the secret and fails", "echo " + credentialCanary + "; exit 1"},
	{"silent", "a program that prints nothing", "true"},
	{"lines", "a program whose secret would begin another header", "printf '" + credentialCanary + "\\r\\nX-Evil: 1'"},
}

// failing are servers whose secrets cannot be had, behind one upstream, and the own one of each caller.
func failing(t *testing.T, dir, upstream string) (map[string]connector.Server, *vaulttest.Vault, source.Config) {
	t.Helper()
	server := func(ref string) connector.Server {
		parsed, err := secret.ParseRef(ref)
		if err != nil {
			t.Fatal(err)
		}
		return connector.Server{URL: upstream + "/private", AllowPlaintext: true, Credentials: []connector.Credential{
			{Header: &inject.Header{Name: "Authorization", Template: "Bearer {secret}"}, Secret: parsed},
		}}
	}
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	servers := map[string]connector.Server{
		"gone":     server("file:" + filepath.Join(dir, "none")),
		"long":     server("file:" + write("long", strings.Repeat("x", 10<<20), 0o600)),
		"writable": server("file:" + write("writable", credentialCanary, 0o666)),
		"empty":    server("file:" + write("empty", "\n", 0o600)),
		"unset":    server("env:SALLYPORT_ATTACK_UNSET"),
		"own":      server("vault:kv/users/{principal.issuer}/{principal.subject}#key"),
	}
	for _, p := range programs {
		servers[p.name] = server("exec:" + write(p.name, "#!/bin/sh\n"+p.text+"\n", 0o700))
	}
	v := vaulttest.New(t, false)
	v.Put("users/gate/"+authtest.Subject, map[string]any{"key": credentialCanary})
	return servers, v, source.Config{
		Exec:  source.Exec{Timeout: 300 * time.Millisecond},
		Vault: vault.Config{Address: v.URL, Auth: vault.Auth{Token: stack.SecretFile(t, dir, "vault.token", vaulttest.RootToken)}},
	}
}

// sourceAttacks are sources of secrets that fail or lie, and principals whose names could lead to another's secret.
func sourceAttacks() (list []attack) {
	unavailable := want{status: 503, code: -32015, reason: "credential_unavailable"}
	genuine := func(c *captor, server, subject string) order {
		a := c.genuine(server)
		a.Principal.Subject = subject
		claims := authtest.Claims(a, time.Now())
		return order{line: "POST /t/" + stack.Tunnel + "/" + server + "/mcp HTTP/1.1", assertions: []string{authtest.Forge(authtest.Header(), claims, authtest.Key())}}
	}
	add := func(id, what string, w want, do func(t *testing.T, r *rig) (answer, error)) {
		list = append(list, attack{id: id, what: what, over: []proto{nobody}, want: w, do: func(t *testing.T, r *rig, _ proto) (answer, error) { return do(t, r) }})
	}
	for _, s := range []struct{ name, what string }{
		{"gone", "a file that is gone"}, {"long", "a file of 10 MiB"}, {"writable", "a file that others may write"}, {"empty", "a file with a line end alone"}, {"unset", "a variable that is not set"},
	} {
		add("A4.3", s.what, unavailable, func(_ *testing.T, r *rig) (answer, error) {
			return r.captor.send(genuine(r.captor, s.name, authtest.Subject))
		})
	}
	for _, p := range programs {
		add("A4.3", p.what, unavailable, func(_ *testing.T, r *rig) (answer, error) {
			return r.captor.send(genuine(r.captor, p.name, authtest.Subject))
		})
	}
	add("A4.8", "a caller's own secret, from Vault", want{status: 200, hits: 1, check: func(t *testing.T, _ answer, got []received) {
		t.Helper()
		for _, record := range got {
			if a := record.header["Authorization"]; len(a) != 1 || a[0] != "Bearer "+credentialCanary {
				t.Errorf("the secret arrived %d times, or is another", len(a))
			}
		}
	}}, func(_ *testing.T, r *rig) (answer, error) {
		return r.captor.send(genuine(r.captor, "own", authtest.Subject))
	})
	for i, fault := range []vaulttest.Fault{vaulttest.Huge, vaulttest.Redirect, vaulttest.HTML, vaulttest.Types, vaulttest.Sealed, vaulttest.Echo, vaulttest.Broken} {
		add("A4.3", "a Vault that answers: "+string(fault), unavailable, func(_ *testing.T, r *rig) (answer, error) {
			r.secrets.Elsewhere = r.trap.url
			r.secrets.Misbehave(fault)
			defer r.secrets.Misbehave("")
			return r.captor.send(genuine(r.captor, "own", fmt.Sprintf("nobody-%d", i)))
		})
	}
	for _, subject := range []string{
		"carol", "../" + authtest.Subject, "..", ".", "a/../" + authtest.Subject, `..\\` + authtest.Subject, authtest.Subject + "#key", authtest.Subject + "?version=1",
		authtest.Subject + "%2f..", "%2e%2e", `a\u0000b`, `a\nb`, "{principal.issuer}", strings.Repeat("a", 129), strings.ToUpper(authtest.Subject), authtest.Subject + " ",
	} {
		what := subject
		if len(what) > 60 {
			what = fmt.Sprintf("%d bytes", len(subject))
		}
		add("A4.8", "a caller named `"+what+"`", unavailable, func(_ *testing.T, r *rig) (answer, error) {
			a := r.captor.genuine("own")
			claims := strings.Replace(authtest.Claims(a, time.Now()), `"sub":"`+authtest.Subject+`"`, `"sub":"`+subject+`"`, 1)
			return r.captor.send(order{line: "POST /t/" + stack.Tunnel + "/own/mcp HTTP/1.1", assertions: []string{authtest.Forge(authtest.Header(), claims, authtest.Key())}})
		})
	}
	return list
}
