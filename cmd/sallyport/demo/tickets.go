package demo

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"

	"sallyport.dev/mcp/diag"
	"sallyport.dev/secret"
)

const (
	clientName  = "demo-connector"
	tokenFor    = 5 * time.Minute
	maxTokens   = 1024 // that are remembered
	maxTokenReq = 4 << 10
)

// ticket is one request of a team's queue.
type ticket struct {
	ID    int    `json:"id"`
	State string `json:"state"`
	Title string `json:"title"`
}

// tickets is the content of the server behind OAuth.
var tickets = []ticket{
	{481, "open", "Printer on floor 3 prints every page twice"},
	{487, "open", "New colleague starts on Monday: laptop, badge, VPN"},
	{476, "done", "Staging certificate expires"},
}

// issuer is a small authorization server: it gives access tokens to a client that proves itself (RFC 6749, section 4.4),
// and knows them again.
type issuer struct {
	client secret.Value // the client's secret

	mu     sync.Mutex // guards tokens
	tokens map[string]time.Time
}

func newIssuer(client secret.Value) *issuer {
	return &issuer{client: client, tokens: make(map[string]time.Time)}
}

// token is the token endpoint.
func (i *issuer) token(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxTokenReq)
	name, password, ok := r.BasicAuth()
	if !ok || name != clientName || !secret.New(password).Equal(i.client) {
		w.Header().Set("WWW-Authenticate", `Basic realm="tokens"`)
		answerJSON(w, http.StatusUnauthorized, map[string]any{"error": "invalid_client"})
		return
	}
	if r.Method != http.MethodPost || r.PostFormValue("grant_type") != "client_credentials" {
		answerJSON(w, http.StatusBadRequest, map[string]any{"error": "unsupported_grant_type"})
		return
	}
	answerJSON(w, http.StatusOK, map[string]any{"access_token": i.give(), "token_type": "Bearer", "expires_in": int(tokenFor.Seconds())})
}

// give makes a token.
func (i *issuer) give() string {
	i.mu.Lock()
	defer i.mu.Unlock()
	token := "tickets-" + rand.Text() + rand.Text()
	if len(i.tokens) < maxTokens {
		i.tokens[token] = time.Now().Add(tokenFor)
	}
	return token
}

// knows reports whether a token is one of its own, and still good.
func (i *issuer) knows(token string) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return time.Now().Before(i.tokens[token])
}

// given returns all tokens that it has given.
func (i *issuer) given() (tokens []string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for token := range i.tokens {
		tokens = append(tokens, token)
	}
	slices.Sort(tokens)
	return tokens
}

// demand answers 401 to whoever has no good token (RFC 6750, section 3).
func (i *issuer) demand(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if !i.knows(token) {
			w.Header().Set("WWW-Authenticate", `Bearer realm="tickets", error="invalid_token"`)
			http.Error(w, "this server needs an access token", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func answerJSON(w http.ResponseWriter, status int, answer map[string]any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(answer) // whoever asked has left
}

// ticketsServer is a private MCP server that demands an access token, as those of larger products do.
func ticketsServer(version string, tokens *issuer) http.Handler {
	s := server.NewMCPServer(ticketsName, cmp.Or(version, "dev"),
		server.WithToolCapabilities(false), server.WithLogger(slog.New(slog.DiscardHandler)),
		server.WithInstructions("The team's tickets."))
	s.AddTool(mcp.NewTool("list",
		mcp.WithDescription("Lists the tickets, all or those in one state."),
		mcp.WithString("state", mcp.Description("open or done.")),
		mcp.WithReadOnlyHintAnnotation(true)), listTickets)
	s.AddTools(diag.Whoami())
	return tokens.demand(diag.Handler(s))
}

func listTickets(_ context.Context, r mcp.CallToolRequest) (*mcp.CallToolResult, error) {
	state := r.GetString("state", "")
	found := []ticket{}
	var text strings.Builder
	for _, t := range tickets {
		if state == "" || t.State == state {
			found = append(found, t)
			fmt.Fprintf(&text, "#%d (%s) %s\n", t.ID, t.State, t.Title)
		}
	}
	return mcp.NewToolResultStructured(map[string]any{"tickets": found}, cmp.Or(text.String(), "no ticket is in this state")), nil
}
