package sdk_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sallyport.dev/tunnel"
)

// The reference file server, which may use a folder of which the connector
// shows it a part: it lists and reads that part, and nothing else is there.
func TestServerFilesystem(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	shown, kept := filepath.Join(dir, "shown"), filepath.Join(dir, "kept")
	for _, folder := range []string{shown, kept} {
		if err := os.Mkdir(folder, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, "a.txt"), []byte(oddText), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	open := nodeServer(t, "server-filesystem", dir)
	deaf := events{progress: func() {}, asked: func() {}, notified: func(string) {}}
	for _, via := range []tunnel.Transport{"", tunnel.TCP, tunnel.QUIC} {
		c := cell{client: goSDK, server: filesystemStdio, revision: sessionful, over: streamable, tunnel: via, h2: via == tunnel.QUIC}
		t.Run(c.name(), func(t *testing.T) {
			to := target{over: stdio, revision: sessionful, local: open}
			if via != "" {
				at := open.configured()
				at.Read = append(at.Read, shown)
				to = behind(t, c, at)
			}
			agent, err := dialGoSDK(t.Context(), t, to, deaf)
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := agent.close(); err != nil {
					t.Error(err)
				}
			}()
			ask := func(tool, path string) (string, error) {
				return agent.call(t.Context(), request{tool, map[string]any{"path": path}})
			}
			if got, err := ask("list_directory", shown); err != nil || got != "[FILE] a.txt" {
				t.Errorf("the folder shown: %q, %v", got, err)
			}
			if got, err := ask("read_text_file", filepath.Join(shown, "a.txt")); err != nil || got != oddText {
				t.Errorf("the file shown: %q, %v", got, err)
			}
			list, err := ask("list_directory", dir)
			if err != nil || !strings.Contains(list, "[DIR] shown") {
				t.Errorf("the folder of both: %q, %v", list, err)
			}
			got, err := ask("read_text_file", filepath.Join(kept, "a.txt"))
			if via == "" { // as all that follows proves the connector's doing only if the server itself would do it
				if err != nil || got != oddText || !strings.Contains(list, "[DIR] kept") {
					t.Errorf("without a connector: %q, %q, %v", list, got, err)
				}
				return
			}
			if err == nil || strings.Contains(list, "kept") {
				t.Errorf("what is not shown: %q in %q, %v", got, list, err)
			}
			if got, err := ask("read_text_file", "/etc/shadow"); err == nil {
				t.Errorf("what the server itself may not read: %q", got)
			}
		})
	}
}

// A client that prefers the revision without sessions begins anew with
// initialize when a local server knows only earlier ones.
func TestOldServerOverStdio(t *testing.T) {
	t.Parallel()
	deaf := events{progress: func() {}, asked: func() {}, notified: func(string) {}}
	dialers := map[string]dialer{goSDK: dialGoSDK, mcpGo: dialMCPGo}
	for _, via := range []tunnel.Transport{tunnel.QUIC, tunnel.TCP} {
		for name, dial := range dialers {
			c := cell{client: name, server: referenceStdio, revision: stateless, over: streamable, tunnel: via, h2: via == tunnel.QUIC}
			t.Run(c.name(), func(t *testing.T) {
				at, peer := serveLocal(t, referenceStdio)
				agent, err := dial(t.Context(), t, behind(t, c, at.configured()), deaf)
				if err != nil {
					t.Fatal(err)
				}
				if got := agent.version(); got != sessionful {
					t.Errorf("the revision is %s", got)
				}
				if got, err := agent.call(t.Context(), peer.script.echo(oddText)); err != nil || got != peer.script.echoed+oddText {
					t.Errorf("echo: %q, %v", got, err)
				}
				if err := agent.close(); err != nil {
					t.Error(err)
				}
				if got := (transcript{at.record}).spoke(); len(got) != 1 || got[0] != sessionful {
					t.Errorf("what has come names the revisions %q", got)
				}
			})
		}
	}
}
