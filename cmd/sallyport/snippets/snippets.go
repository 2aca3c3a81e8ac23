// Package snippets writes what to type into an MCP client so that it reaches a server through a gateway: one file below
// clients for each client. It does not know how a gateway is asked, nor any token: where one belongs stands the name of
// a variable.
package snippets

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// ErrClient means that there is no snippet for a client.
var ErrClient = errors.New("snippets: no such client")

// ErrServer means that a name or a URL is not one that a gateway gives, so that it goes into no command line.
var ErrServer = errors.New("snippets: not a server of a gateway")

// Config says for what snippets are written.
type Config struct {
	// Tunnel is the tunnel's name, and PublicURL the gateway's public URL. Required.
	Tunnel, PublicURL string
	// Variable is the environment variable that holds an agent's token. Required.
	Variable string
	// CAFile is the file of a private CA that signed the gateway's certificate. Optional.
	CAFile string
	// Servers are the servers that agents reach. Required.
	Servers []Server
	// Clients are names of clients. Optional; default all.
	Clients []string
}

// Server is a server as agents reach it.
type Server struct {
	// Name is its name under the tunnel, and URL its canonical URL, which ends in /mcp.
	Name, URL string
	// SSE says that it speaks the legacy HTTP+SSE transport alone, at …/sse.
	SSE bool
}

// Set is every snippet that was asked for.
type Set struct {
	Tunnel    string `json:"tunnel"`
	PublicURL string `json:"public_url"`
	Variable  string `json:"token_variable"`
	CAFile    string `json:"ca_file,omitempty"`
	Servers   []Card `json:"servers"`
}

// Card has one server's snippets.
type Card struct {
	Name      string    `json:"name"`
	URL       string    `json:"url"`
	Transport string    `json:"transport"` // http or sse
	Snippets  []Snippet `json:"snippets"`
}

// Snippet is what to type into one client.
type Snippet struct {
	Client string `json:"client"`
	Title  string `json:"title"`
	Where  string `json:"where"`
	Kind   string `json:"kind"`   // shell, json, toml or text
	Status string `json:"status"` // tried, documented or not yet
	Note   string `json:"note,omitempty"`
	Text   string `json:"text"`
}

// Check reports a client that is not known.
func Check(clients []string) error {
	for _, name := range clients {
		if !slices.Contains(Clients(), name) {
			return fmt.Errorf("%w as %q; there are: %s", ErrClient, name, strings.Join(Clients(), ", "))
		}
	}
	return nil
}

// CheckPlace reports a tunnel's name or a public URL that no gateway has.
func CheckPlace(tunnel, publicURL string) error {
	if !isName(tunnel) || !isURL(publicURL) {
		return fmt.Errorf("%w: tunnel %q at %q", ErrServer, tunnel, publicURL)
	}
	return nil
}

// New checks what a gateway said, and writes the snippets.
func New(cfg Config) (*Set, error) {
	if err := errors.Join(Check(cfg.Clients), CheckPlace(cfg.Tunnel, cfg.PublicURL)); err != nil {
		return nil, err
	}
	names := cfg.Clients
	if len(names) == 0 {
		names = Clients()
	}
	set := &Set{Tunnel: cfg.Tunnel, PublicURL: cfg.PublicURL, Variable: cfg.Variable, CAFile: cfg.CAFile}
	for _, s := range cfg.Servers {
		stem, ok := strings.CutSuffix(s.URL, "/mcp")
		if !isName(s.Name) || !isURL(s.URL) || !ok {
			return nil, fmt.Errorf("%w: %q at %q", ErrServer, s.Name, s.URL)
		}
		card := Card{Name: s.Name, URL: s.URL, Transport: "http"}
		if s.SSE {
			card.URL, card.Transport = stem+"/sse", "sse"
		}
		for _, name := range names {
			snippet, err := write(name, values{Card: card, SSE: s.SSE, PublicURL: cfg.PublicURL, Variable: cfg.Variable, CAFile: cfg.CAFile})
			if err != nil {
				return nil, err
			}
			card.Snippets = append(card.Snippets, snippet)
		}
		set.Servers = append(set.Servers, card)
	}
	return set, nil
}

const (
	letters   = "abcdefghijklmnopqrstuvwxyz"
	nameChars = letters + "0123456789-"
	urlChars  = nameChars + "ABCDEFGHIJKLMNOPQRSTUVWXYZ" + "._:/[]"
)

func isName(s string) bool { return s != "" && strings.Trim(s, nameChars) == "" }

// isURL holds a URL to the characters that are the same in a shell's here-document, in JSON and in TOML.
func isURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" && strings.Trim(s, urlChars) == ""
}
