package diag

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mark3labs/mcp-go/client"
	"github.com/mark3labs/mcp-go/client/transport"
	"github.com/mark3labs/mcp-go/mcp"
)

// TestServeStdio holds a conversation over two pipes, in both eras, which ends with its input.
func TestServeStdio(t *testing.T) {
	seen := t.TempDir()
	file := filepath.Join(seen, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for version, options := range eras() {
		t.Run(version, func(t *testing.T) {
			in, toServer := io.Pipe()
			fromServer, out := io.Pipe()
			ended := make(chan error, 1)
			go func() {
				ended <- ServeStdio(t.Context(), Config{Name: "local", Version: "1.2.3"}, in, out, Look{Environment: []string{"HOME=" + seen, "LANG=C"}, Home: seen, Paths: []string{seen, "/nonexistent"}})
				_ = out.Close()
			}()
			p := &peer{Client: client.NewClient(transport.NewIO(fromServer, toServer, io.NopCloser(strings.NewReader(""))), options...)}
			p.OnNotification(func(n mcp.JSONRPCNotification) {
				p.mu.Lock()
				defer p.mu.Unlock()
				p.seen = append(p.seen, n)
			})
			if err := p.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			hello, err := p.Initialize(t.Context(), mcp.InitializeRequest{})
			if err != nil || hello.ProtocolVersion != version || hello.ServerInfo.Name != "local" || hello.ServerInfo.Version != "1.2.3" {
				t.Fatalf("introduced itself as %+v, %v", hello, err)
			}
			list, err := p.ListTools(t.Context(), mcp.ListToolsRequest{})
			if err != nil || len(list.Tools) != 3 {
				t.Errorf("tools are %+v, %v", list, err)
			}
			if result, err := p.call(t.Context(), "echo", `{"n":123456789012345678901234567890}`, false); err != nil || string(result.RawStructuredContent) != `{"n":123456789012345678901234567890}` {
				t.Errorf("echo: %v, %v", result, err)
			}
			if result, err := p.call(t.Context(), "slow", `{"seconds":0.05,"steps":5}`, true); err != nil || text(t, result) != "done: 5 steps in 0.05 s" || p.count("notifications/progress") != 5 {
				t.Errorf("slow: %v, %v, %d progress notifications", result, err, p.count("notifications/progress"))
			}
			result, err := p.call(t.Context(), "look", `{}`, false)
			if err != nil {
				t.Fatal(err)
			}
			var view View
			if err := json.Unmarshal(result.RawStructuredContent, &view); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(view.Visible, []string{seen, file}) || !slices.Equal(view.Home, []string{"file"}) || !slices.Equal(view.Environment, []string{"HOME", "LANG"}) || view.Processes == 0 {
				t.Errorf("saw %+v", view)
			}
			if want := "\nhome: file\nvisible: " + seen + ", " + file + "\n"; !strings.HasSuffix(text(t, result), want) {
				t.Errorf("the text %q does not end with %q", text(t, result), want)
			}
			_ = toServer.Close()
			if err := <-ended; err != nil {
				t.Error(err)
			}
			_ = p.Close()
		})
	}
}
