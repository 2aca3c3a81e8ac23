package demo

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"

	"sallyport.dev/mcp/diag"
	"sallyport.dev/secret"
)

// note is one page of the private notes.
type note struct {
	ID    string `json:"id"`
	Title string `json:"title"`
	text  string
}

// notes is the content of the private server: a team's notebook.
var notes = []note{
	{"oncall", "On-call handbook", "Page the on-call engineer by the #ops-page channel.\nEscalate to the duty manager after 15 minutes without an answer.\nEvery page gets a note in the incident log, also a false one."},
	{"vpn", "Getting onto the VPN", "Ask IT for a hardware key first; software keys ended in March.\nThe profile is in the self-service portal under Network.\nIf the tunnel comes up and nothing resolves, the split DNS list is out of date: reinstall the profile."},
	{"db-restore", "Restoring the orders database", "Restores go to orders-restore, never over orders.\nTake the newest base backup and replay to five minutes before the incident.\nThe finance team signs off before traffic is moved."},
	{"release", "Release checklist", "Freeze on Wednesday noon, release on Thursday morning, never on a Friday.\nThe changelog is written before the tag.\nRoll back first, ask questions later."},
	{"expenses", "Travel and expenses", "Book trains, not flights, below five hours.\nReceipts go into the portal within 30 days.\nThe per-diem table is on page two."},
}

// notesServer is a private MCP server that demands a bearer token, as many do.
func notesServer(version string, key secret.Value) http.Handler {
	s := server.NewMCPServer(notesName, cmp.Or(version, "dev"),
		server.WithToolCapabilities(false), server.WithLogger(slog.New(slog.DiscardHandler)),
		server.WithInstructions("The team's private notes. Search first, then read by id."))
	s.AddTool(mcp.NewTool("search",
		mcp.WithDescription("Finds notes whose title or text contains the query."),
		mcp.WithString("query", mcp.Required(), mcp.Description("One or more words; all must occur.")),
		mcp.WithReadOnlyHintAnnotation(true)), searchNotes)
	s.AddTool(mcp.NewTool("read",
		mcp.WithDescription("Returns one note."),
		mcp.WithString("id", mcp.Required(), mcp.Description("The note's id, as search gives it.")),
		mcp.WithReadOnlyHintAnnotation(true)), readNote)
	s.AddTool(mcp.NewTool(eraseTool,
		mcp.WithDescription("Erases all notes."),
		mcp.WithDestructiveHintAnnotation(true)), eraseNotes)
	s.AddTools(diag.Whoami())
	return demandKey(key, diag.Handler(s))
}

// demandKey answers 401 to whoever does not have the key.
func demandKey(key secret.Value, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if !ok || !secret.New(token).Equal(key) {
			w.Header().Set("WWW-Authenticate", `Bearer realm="notes"`)
			http.Error(w, "this server needs its key", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// eraseTool is what the demo's policy keeps from agents.
const eraseTool = "erase"

// eraseNotes erases nothing: that it is called at all is a failure of the demo.
func eraseNotes(context.Context, mcp.CallToolRequest) (*mcp.CallToolResult, error) {
	return mcp.NewToolResultError("the policy of the demo should have kept this call away"), nil
}

func searchNotes(_ context.Context, r mcp.CallToolRequest) (*mcp.CallToolResult, error) {
	words := strings.Fields(strings.ToLower(r.GetString("query", "")))
	if len(words) == 0 {
		return mcp.NewToolResultError("query is required: give one or more words"), nil
	}
	found := []note{}
	var text strings.Builder
	for _, n := range notes {
		if n.has(words) {
			found = append(found, n)
			fmt.Fprintf(&text, "%s: %s\n", n.ID, n.Title)
		}
	}
	return mcp.NewToolResultStructured(map[string]any{"notes": found}, cmp.Or(text.String(), "no note has all these words")), nil
}

func (n note) has(words []string) bool {
	text := strings.ToLower(n.ID + " " + n.Title + " " + n.text)
	for _, word := range words {
		if !strings.Contains(text, word) {
			return false
		}
	}
	return true
}

func readNote(_ context.Context, r mcp.CallToolRequest) (*mcp.CallToolResult, error) {
	id := r.GetString("id", "")
	for _, n := range notes {
		if n.ID == id {
			return mcp.NewToolResultText("# " + n.Title + "\n\n" + n.text + "\n"), nil
		}
	}
	return mcp.NewToolResultError("there is no note with this id: search first"), nil
}
