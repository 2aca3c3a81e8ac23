package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
)

// Stay runs the demo until ctx ends, and calls ready when calls can come.
func (d *Demo) Stay(ctx context.Context, ready func() error) error {
	return d.Run(ctx, func(ctx context.Context) error {
		return d.Connect(ctx, "auto", func(ctx context.Context) error {
			if err := ready(); err != nil {
				return err
			}
			<-ctx.Done()
			return nil
		})
	})
}

// PrintJSON writes the line that scripts read: servers with their URLs, the agent's token and the CA file.
func (d *Demo) PrintJSON(w io.Writer) error {
	type server struct {
		Name string `json:"name"`
		URL  string `json:"url"`
	}
	card := struct {
		Servers []server `json:"servers"`
		Token   string   `json:"token"`
		CAFile  string   `json:"ca_file"`
	}{Token: d.token.Reveal(), CAFile: d.gateway.CAFile()}
	for _, name := range d.names() {
		card.Servers = append(card.Servers, server{name, d.URL(name)})
	}
	return json.NewEncoder(w).Encode(card)
}

// PrintCard writes what runs and how to call it. Program is how the reader started this binary.
func (d *Demo) PrintCard(w io.Writer, program string) error {
	var b strings.Builder
	gateway := d.gatewayAddr()
	ca, token := quote(d.gateway.CAFile()), d.token.Reveal()
	way := fmt.Sprintf("  agent --https--> gateway %s <--%s-- connector ", gateway, strings.ToUpper(d.over))
	fmt.Fprintf(&b, "\nSallyport demo: %s, reached through a tunnel that was dialled from inside.\n\n", d.howMany())
	fmt.Fprintf(&b, "%s+--> orders  an SQLite database, which has no MCP server: the connector speaks MCP for it\n", way)
	fmt.Fprintf(&b, "%s+--> diag    %s\n", strings.Repeat(" ", len(way)), strings.TrimSuffix(d.diag.url(), "/mcp"))
	fmt.Fprintf(&b, "%s+--> notes   %s, with a key that only the connector has\n", strings.Repeat(" ", len(way)), strings.TrimSuffix(d.notes.url(), "/mcp"))
	fmt.Fprintf(&b, "%s+--> tickets %s, with an access token that only the connector can get\n", strings.Repeat(" ", len(way)), strings.TrimSuffix(d.tickets.url(), "/mcp"))
	if d.local != nil {
		fmt.Fprintf(&b, "%s+--> local   this program, as a command in a cell: without network, and without sight of the demo's files\n", strings.Repeat(" ", len(way)))
	} else {
		fmt.Fprintf(&b, "\nA fifth server, a local command, is left out: %v\n", d.without)
	}
	b.WriteByte('\n')
	for i, name := range d.names() {
		label := ""
		if i == 0 {
			label = "URLs"
		}
		fmt.Fprintf(&b, "  %-8s %s\n", label, d.URL(name))
	}
	fmt.Fprintf(&b, "  %-8s %s\n  %-8s %s\n", "token", token, "CA file", d.gateway.CAFile())
	fmt.Fprintf(&b, `%s
Call it, from another terminal:

  SALLYPORT_TOKEN=%s %s call --ca %s %s query '{"sql":"%s"}'

  %s

Or give it to an agent:

  claude mcp add --transport http sallyport-orders %s --header "Authorization: Bearer %s"

  and start it so that it trusts the demo's certificate: NODE_EXTRA_CA_CERTS=%s claude

Each call shows up below. Ctrl-C ends the demo and removes its keys.

`, d.tracesLine(), token, quote(program), ca, d.URL(ordersName), ordersQuery, d.Curl(), d.URL(ordersName), token, ca)
	_, err := io.WriteString(w, b.String())
	return err
}

// tracesLine says where traces are to be seen, if they are sent.
func (d *Demo) tracesLine() string {
	if d.cfg.Collector == "" {
		return ""
	}
	return fmt.Sprintf("  %-8s %s, as sallyport-gateway and sallyport-connector\n", "traces", d.cfg.Collector)
}

// Curl is a command line that asks the notes server for what reached it, ready for a shell.
func (d *Demo) Curl() string {
	return fmt.Sprintf(`curl --cacert %s -H "Authorization: Bearer %s" -H "Content-Type: application/json" -H "Accept: application/json, text/event-stream" -d '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"whoami","arguments":{}}}' %s`,
		quote(d.gateway.CAFile()), d.token.Reveal(), d.URL(notesName))
}

// PrintCall writes one line: the way that a call took, what it was, and how long it was under way.
func PrintCall(w io.Writer, now time.Time, c CallSeen) {
	who := "someone"
	if _, subject, ok := strings.Cut(c.Principal, "|"); ok {
		who = subject
	}
	what := strings.TrimSpace(c.Method + " " + c.Tool)
	way := fmt.Sprintf("%s -> gateway", who)
	took := fmt.Sprintf("%.1f ms", c.Gateway)
	if c.Transport != "" {
		way += fmt.Sprintf(" -> %s -> connector", c.Transport)
	}
	if c.Connector > 0 {
		took += fmt.Sprintf(", %.1f ms of it behind the tunnel", c.Connector)
	}
	if c.answered() || c.Outcome == "upstream" {
		way += " -> " + c.Server
	} else {
		way += fmt.Sprintf(" (%s)", c.Outcome)
	}
	fmt.Fprintf(w, "%s  %s  %s  %d  %s\n", now.Format("15:04:05"), way, clean(what), c.Status, took)
}

// clean keeps a stranger's words from steering the terminal, or filling it.
func clean(text string) string {
	const most = 60
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, text)
	return text[:min(len(text), most)]
}

// quote makes a word of a path for a POSIX shell.
func quote(word string) string {
	if strings.Trim(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-") == "" {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
