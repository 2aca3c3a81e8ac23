package secret_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"sallyport.dev/secret"
)

func TestParseRef(t *testing.T) {
	for _, good := range []string{"env:TOKEN", "env:_t0", "file:/run/secrets/wiki", "file:/with space/and:colon",
		"systemd:wiki-key.1", "exec:/usr/bin/get-key", "exec:/usr/bin/get-key --name=wiki a:b", "vault:kv/wiki#token", "vault:kv/a b/c.d/e#f-g_h.i",
		"vault:users/{principal.issuer}/{principal.subject}/jira#token"} {
		ref, err := secret.ParseRef(good)
		if err != nil || ref.String() != good || ref.IsZero() {
			t.Errorf("ParseRef(%q) = %q, %v", good, ref, err)
		}
		text, err := ref.MarshalText()
		if err != nil || string(text) != good {
			t.Errorf("MarshalText gives %q, %v", text, err)
		}
	}
	for _, test := range []struct{ text, says string }{
		{"", "empty"},
		{canary, "no scheme"},
		{"env:", "name of a variable"},
		{"env:9" + canary, "name of a variable"},
		{"env:" + canary, "name of a variable"},
		{"file:" + canary, "absolute path"},
		{"file:./" + canary, "absolute path"},
		{"file:/a\n" + canary, "absolute path"},
		{"file:/a\x00" + canary, "absolute path"},
		{"vault:" + canary, "MOUNT/PATH#FIELD"},
		{"vault:kv#" + canary, "MOUNT/PATH#FIELD"},
		{"vault:kv/" + canary, "MOUNT/PATH#FIELD"},
		{"vault:kv/x#" + canary + "#y", "MOUNT/PATH#FIELD"},
		{"vault:/kv/x#" + canary, "MOUNT/PATH#FIELD"},
		{"vault:kv//x#" + canary, "MOUNT/PATH#FIELD"},
		{"vault:kv/../x#" + canary, "MOUNT/PATH#FIELD"},
		{"vault:kv/./x#" + canary, "MOUNT/PATH#FIELD"},
		{"vault:kv/x%2f#" + canary, "MOUNT/PATH#FIELD"},
		{"vault:kv/x?v=1#" + canary, "MOUNT/PATH#FIELD"},
		{"vault:kv/x\\y#" + canary, "MOUNT/PATH#FIELD"},
		{"vault:kv/x\n#" + canary, "MOUNT/PATH#FIELD"},
		{"vault:kv/\xff#" + canary, "MOUNT/PATH#FIELD"},
		{"vault:kv/user-{principal.subject}#" + canary, "MOUNT/PATH#FIELD"},
		{"vault:kv/{principal.email}#" + canary, "MOUNT/PATH#FIELD"},
		{"vault:{principal.issuer}/x#" + canary, "MOUNT/PATH#FIELD"},
		{"vault:kv/x#{principal.subject}", "MOUNT/PATH#FIELD"},
		{"exec:" + canary, "a clean absolute path"},
		{"exec:/bin/../" + canary, "a clean absolute path"},
		{"exec:/bin/x  " + canary, "one space between them"},
		{"exec:/bin/x '" + canary + "'", "without quotes"},
		{"exec:/bin/x $" + canary, "without quotes"},
		{"exec:/bin/x {principal.subject}", "vault: alone"},
		{"file:/run/{principal.subject}", "vault: alone"},
		{"systemd:{principal.subject}", "vault: alone"},
		{canary + ":{x}", "vault: alone"},
		{"file:/a\u009b31m" + canary, "absolute path"},
		{"file:/a\xff" + canary, "absolute path"},
		{"exec:/bin/x \u0085" + canary, "clean absolute path"},
		{"exec:/bin/x \xff" + canary, "clean absolute path"},
		{"exec:/bin/x\t" + canary, "clean absolute path"},
		{"exec:/bin/x " + canary + " ", "one space between them"},
		{"exec: /bin/" + canary, "a clean absolute path"},
		{"exec:/bin/x \\" + canary, "without quotes"},
		{"vault:kv/x\u009b#" + canary, "MOUNT/PATH#FIELD"},
		{"vault:kv/x/#" + canary, "MOUNT/PATH#FIELD"},
		{"vault:kv/x#" + canary + "/y", "MOUNT/PATH#FIELD"},
		{"vault:kv/{Principal.Subject}#" + canary, "MOUNT/PATH#FIELD"},
		{"vault:kv/{principal.issuer}{principal.subject}#" + canary, "MOUNT/PATH#FIELD"},
		{"systemd:a/" + canary, "name of a credential"},
		{"systemd:" + canary + "\n", "name of a credential"},
		{"env:{principal.subject}", "vault: alone"},
		{"systemd:", "name of a credential"},
		{"systemd:../" + canary, "name of a credential"},
		{"systemd:.hidden", "name of a credential"},
		{canary + ":" + canary, "unknown scheme"},
		{"ENV:" + canary, "unknown scheme"},
		{" env:" + canary, "unknown scheme"},
		{"file:/" + strings.Repeat(canary, 300), "longer than"},
	} {
		ref, err := secret.ParseRef(test.text)
		if !errors.Is(err, secret.ErrNotReference) || !strings.Contains(err.Error(), test.says) {
			t.Errorf("ParseRef(%.40q) says %v, want %q", test.text, err, test.says)
			continue
		}
		leaks(t, "ParseRef", err.Error())
		if !ref.IsZero() {
			t.Errorf("ParseRef(%.40q) fails and still gives a reference", test.text)
		}
	}
}

func TestRefInsideJSONNeverEchoesAPastedSecret(t *testing.T) {
	var into struct{ Secret secret.Ref }
	err := json.Unmarshal([]byte(`{"Secret":"`+canary+`"}`), &into)
	if err == nil {
		t.Fatal("a pasted secret was taken for a reference")
	}
	leaks(t, "Unmarshal", err.Error())
	if err := json.Unmarshal([]byte(`{"Secret":"env:HOME"}`), &into); err != nil || into.Secret.String() != "env:HOME" {
		t.Errorf("env:HOME gives %q, %v", into.Secret, err)
	}
}

func TestPartsOfReferences(t *testing.T) {
	if argv, ok := mustParse(t, "exec:/bin/x a b").Exec(); !ok || strings.Join(argv, "|") != "/bin/x|a|b" {
		t.Errorf("Exec gives %q, %v", argv, ok)
	}
	path, field, ok := mustParse(t, "vault:users/{principal.issuer}/{principal.subject}/jira#token").Vault()
	if !ok || field != "token" || strings.Join(path, "|") != "users|{principal.issuer}|{principal.subject}|jira" {
		t.Errorf("Vault gives %q, %q, %v", path, field, ok)
	}
	for text, want := range map[string][2]bool{
		"env:HOME": {}, "vault:kv/x#y": {}, "vault:kv/{principal.issuer}/x#y": {true, false}, "vault:kv/{principal.subject}#y": {false, true},
	} {
		if issuer, subject := mustParse(t, text).NamesPrincipal(); issuer != want[0] || subject != want[1] {
			t.Errorf("%s: %v, %v", text, issuer, subject)
		}
	}
	for _, text := range []string{"exec:/bin/x", "vault:kv/x#y"} {
		if _, err := mustParse(t, text).Resolve(); !errors.Is(err, secret.ErrUnset) || !strings.Contains(err.Error(), "servers of a connector alone") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestResolveSystemd(t *testing.T) {
	ref := mustParse(t, "systemd:wiki")
	t.Setenv("CREDENTIALS_DIRECTORY", "run/credentials") // of no directory of systemd's
	if path, ok := ref.Path(); ok {
		t.Errorf("Path gives %q", path)
	}
	if _, err := ref.Resolve(); !errors.Is(err, secret.ErrUnset) || !strings.Contains(err.Error(), "LoadCredential=wiki:") {
		t.Errorf("without a directory: %v", err)
	}
	dir := t.TempDir()
	t.Setenv("CREDENTIALS_DIRECTORY", dir)
	if _, err := ref.Resolve(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without the credential: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "wiki"), []byte(canary+"\n"), 0o400); err != nil {
		t.Fatal(err)
	}
	if value, err := ref.Resolve(); err != nil || value.Reveal() != canary {
		t.Errorf("Resolve gives %v, %v", value, err)
	}
	if path, ok := ref.Path(); !ok || path != filepath.Join(dir, "wiki") {
		t.Errorf("Path gives %q, %v", path, ok)
	}
	if err := os.Chmod(filepath.Join(dir, "wiki"), 0o444); err != nil {
		t.Fatal(err)
	}
	if warnings := ref.Warnings(); warnings != nil {
		t.Errorf("systemd's mode is complained about: %q", warnings)
	}
}

func TestZeroRefResolvesToNothing(t *testing.T) {
	var none secret.Ref
	if _, err := none.Resolve(); !errors.Is(err, secret.ErrUnset) {
		t.Errorf("Resolve says %v", err)
	}
	if none.String() != "" || !none.IsZero() || none.Warnings() != nil {
		t.Error("the zero reference is not empty")
	}
	if _, ok := none.File(); ok {
		t.Error("the zero reference names a file")
	}
}

func TestResolveEnvironment(t *testing.T) {
	t.Setenv("SALLYPORT_TEST_SECRET", canary)
	value, err := mustParse(t, "env:SALLYPORT_TEST_SECRET").Resolve()
	if err != nil || value.Reveal() != canary {
		t.Fatalf("Resolve gives %v, %v", value, err)
	}
	t.Setenv("SALLYPORT_TEST_SECRET", "")
	if _, err := mustParse(t, "env:SALLYPORT_TEST_SECRET").Resolve(); !errors.Is(err, secret.ErrUnset) {
		t.Errorf("an empty variable gives %v", err)
	}
}

func TestResolveFile(t *testing.T) {
	for _, test := range []struct {
		name, content string
		mode          os.FileMode
		want          string
		fails         error
		says          string
	}{
		{name: "plain", content: canary, mode: 0o600, want: canary},
		{name: "newline", content: canary + "\n", mode: 0o400, want: canary},
		{name: "CRLF", content: canary + "\r\n", mode: 0o600, want: canary},
		{name: "only one newline goes", content: canary + "\n\n", mode: 0o600, want: canary + "\n"},
		{name: "a lone CR stays", content: canary + "\r", mode: 0o600, want: canary + "\r"},
		{name: "readable by all", content: canary, mode: 0o644, want: canary},
		{name: "largest", content: strings.Repeat("k", 64<<10), mode: 0o600, want: strings.Repeat("k", 64<<10)},
		{name: "too large", content: strings.Repeat(canary, 3000), mode: 0o600, fails: secret.ErrUnsafe, says: "larger than 64 KiB"},
		{name: "empty", mode: 0o600, fails: secret.ErrUnset, says: "is empty"},
		{name: "newline only", content: "\n", mode: 0o600, fails: secret.ErrUnset, says: "is empty"},
		{name: "writable by group", content: canary, mode: 0o620, fails: secret.ErrUnsafe, says: "chmod go-w /"},
		{name: "writable by others", content: canary, mode: 0o602, fails: secret.ErrUnsafe, says: "chmod go-w /"},
	} {
		t.Run(test.name, func(t *testing.T) {
			ref := mustParse(t, "file:"+write(t, test.content, test.mode))
			value, err := ref.Resolve()
			if !errors.Is(err, test.fails) || (test.fails != nil && !strings.Contains(err.Error(), test.says)) {
				t.Fatalf("Resolve says %v, want %q", err, test.says)
			}
			if err != nil {
				leaks(t, "Resolve", err.Error())
			}
			if value.Reveal() != test.want {
				t.Errorf("Resolve gives %d bytes, want %d", value.Len(), len(test.want))
			}
		})
	}
}

func TestResolveRefusesWhatIsNoRegularFile(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir, pipe} {
		if _, err := mustParse(t, "file:"+path).Resolve(); !errors.Is(err, secret.ErrUnsafe) {
			t.Errorf("%s gives %v", filepath.Base(path), err)
		}
	}
	_, err := mustParse(t, "file:"+filepath.Join(dir, "none")).Resolve()
	if !errors.Is(err, secret.ErrUnset) || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file gives %v", err)
	}
	if !strings.Contains(err.Error(), "none does not exist") {
		t.Errorf("a missing file is not called so: %v", err)
	}
}

func TestResolveFollowsALinkAndChecksItsTarget(t *testing.T) {
	link := filepath.Join(t.TempDir(), "link")
	target := write(t, canary, 0o600)
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
	ref := mustParse(t, "file:"+link)
	if value, err := ref.Resolve(); err != nil || value.Reveal() != canary {
		t.Fatalf("Resolve gives %v, %v", value, err)
	}
	if err := os.Chmod(target, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := ref.Resolve(); !errors.Is(err, secret.ErrUnsafe) {
		t.Errorf("a writable target gives %v", err)
	}
}

func TestWarnings(t *testing.T) {
	for _, test := range []struct {
		mode os.FileMode
		want int
	}{{0o600, 0}, {0o400, 0}, {0o640, 1}, {0o604, 1}} {
		path := write(t, canary, test.mode)
		warnings := mustParse(t, "file:"+path).Warnings()
		if len(warnings) != test.want {
			t.Errorf("mode %o gives %q", test.mode, warnings)
		}
		for _, warning := range warnings {
			leaks(t, "Warnings", warning)
			if !strings.Contains(warning, "chmod go-rwx "+path) {
				t.Errorf("the warning does not say what to do: %s", warning)
			}
		}
	}
	if mustParse(t, "env:HOME").Warnings() != nil || mustParse(t, "file:/none/there").Warnings() != nil {
		t.Error("something unexamined is warned about")
	}
}

func FuzzParseRefNeverEchoes(f *testing.F) {
	f.Add("env:TOKEN")
	f.Add("file:/run/secret")
	f.Add("vault:kv/x#y")
	f.Add("vault:kv/{principal.issuer}/{principal.subject}#y")
	f.Add("exec:/bin/x a")
	f.Add("systemd:x")
	f.Add("hunter2:hunter2")
	f.Fuzz(func(t *testing.T, text string) {
		ref, err := secret.ParseRef(text)
		if err == nil {
			if ref.String() != text {
				t.Errorf("%q came back as %q", text, ref)
			}
			return
		}
		marked := "zqzq" + text + "zqzq"
		if _, err := secret.ParseRef(marked); err == nil || strings.Contains(err.Error(), "zqzq") {
			t.Errorf("ParseRef(%q) says %v", marked, err)
		}
	})
}

func mustParse(t *testing.T, text string) secret.Ref {
	t.Helper()
	ref, err := secret.ParseRef(text)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

// write makes a file with exactly that mode, whatever the umask is.
func write(t *testing.T, content string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}
