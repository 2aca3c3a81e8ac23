package snippets

import (
	"fmt"
	"io"
	"strings"
)

// How a snippet is known to work, in words.
var statuses = map[string]string{
	"tried":      "tried",
	"documented": "from its documentation, not tried",
	"not yet":    "does not work yet",
}

// Print writes the snippets for people.
func (s *Set) Print(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, `Snippets for the tunnel %[1]s at %[2]s.

$%[3]s stands for an agent's token: one of agents.tokens in the gateway's configuration whose tunnels and
servers cover these, or ask whoever runs the gateway. The connector's tunnel token is another one, and opens
nothing for agents. To have it in bash or zsh, and not in the history:

  read -rs %[3]s && export %[3]s

What each client accepts, and with which version it was tried, is in docs/guides/clients.md.
`, s.Tunnel, s.PublicURL, s.Variable)
	if s.CAFile != "" {
		fmt.Fprintf(&b, `
The gateway's certificate is signed by a CA of yours: %s
on this machine. Copy the file to where the client runs. Clients in a vendor's cloud cannot be told to trust it.
`, s.CAFile)
	}
	for _, card := range s.Servers {
		fmt.Fprintf(&b, "\n== %s: %s\n", card.Name, card.URL)
		for _, snippet := range card.Snippets {
			fmt.Fprintf(&b, "\n-- %s (%s; %s)\n   %s\n", snippet.Title, snippet.Client, statuses[snippet.Status], snippet.Where)
			if snippet.Note != "" {
				fmt.Fprintf(&b, "   %s\n", snippet.Note)
			}
			fmt.Fprintf(&b, "\n%s\n", snippet.Text)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}
