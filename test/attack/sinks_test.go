package attack

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"sallyport.dev/test/stack"
)

// spellings are the forms in which a secret could hide in text.
func spellings(secret string) [][]byte {
	encode := base64.RawStdEncoding.EncodeToString
	return [][]byte{
		[]byte(secret),
		[]byte(encode([]byte(secret))),
		[]byte(encode([]byte("Bearer " + secret))),
		[]byte(hex.EncodeToString([]byte(secret))),
	}
}

// mustLack fails if any of the secrets stands in the text.
func mustLack(t *testing.T, where string, text []byte, secrets ...string) {
	t.Helper()
	for _, secret := range secrets {
		for i, form := range spellings(secret) {
			if bytes.Contains(text, form) {
				t.Errorf("%s contains %s… (spelling %d)", where, secret[:14], i)
			}
		}
	}
}

// secrets are all of them.
func secrets() []string {
	return []string{credentialCanary, tenantCanary, foreignToken, stack.TunnelToken, stack.AgentToken, secondToken}
}

// searchAnswer looks for the canaries in every byte that an agent got.
func searchAnswer(t *testing.T, a answer) {
	t.Helper()
	mustLack(t, "the answer", a.all, append(secrets(), offenceCanary, claimCanary)...)
}

// searchLog looks in what the gateway and the connectors have logged since the
// last time, where no argument of a call may stand either.
func (r *rig) searchLog(t *testing.T) {
	t.Helper()
	log := r.Log.String()
	from := max(r.logged-256, 0) // a record may have been half written
	r.logged = len(log)
	mustLack(t, "the log", []byte(log[from:]), append(secrets(), argumentCanary, offenceCanary, claimCanary)...)
}

// stacksEvery is after how many attacks the stacks of all goroutines are
// searched: dumping them takes longer than the attacks.
const stacksEvery = 8

// searchDeep looks where secrets are kept: in the files of state_dir but those
// that configure them, and from time to time in the stacks of all goroutines.
func (r *rig) searchDeep(t *testing.T) {
	t.Helper()
	all := secrets()
	err := filepath.WalkDir(r.StateDir(), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(path, ".token") {
			return err
		}
		text, err := os.ReadFile(path)
		mustLack(t, path, text, all...)
		return err
	})
	if err != nil {
		t.Error(err)
	}
	if r.deep++; r.deep%stacksEvery == 1 {
		mustLack(t, "a stack dump", r.dump[:runtime.Stack(r.dump, true)], all...)
	}
}

// checkReceived holds what an upstream got against what must and must not go
// on from an agent.
func checkReceived(t *testing.T, got received, body string) {
	t.Helper()
	if got.uri != "/private" {
		t.Errorf("the upstream was asked for %q", got.uri)
	}
	if string(got.body) != body {
		t.Errorf("the upstream got another body: %.200q", got.body)
	}
	if len(got.trailer) > 0 {
		t.Errorf("the upstream got trailers: %v", got.trailer)
	}
	for name, want := range map[string]string{"Authorization": "Bearer " + credentialCanary, "X-Tenant": tenantCanary} {
		if values := got.header[name]; len(values) != 1 || values[0] != want {
			t.Errorf("the injected %s arrived %d times, or with another value", name, len(values))
		}
	}
	for name, values := range got.header {
		if !mayArrive(name) {
			t.Errorf("the upstream got the header %s", name)
		}
		for _, value := range values {
			mustLack(t, "the upstream's "+name, []byte(value), stack.AgentToken, secondToken)
		}
	}
}

// mayArrive lists what an honest call carries to an upstream; everything else
// must be named here before an attack may send it on.
func mayArrive(name string) bool {
	switch name {
	case "Authorization", "X-Tenant", "Content-Type", "Content-Length", "Accept", "Accept-Encoding",
		"Mcp-Protocol-Version", "Mcp-Method", "Mcp-Name", "Mcp-Session-Id", "Last-Event-Id", caseHeader:
		return true
	}
	return false
}
