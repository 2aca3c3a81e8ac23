package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/net/http/httpproxy"

	"sallyport.dev/auth"
	"sallyport.dev/cmd/sallyport/snippets"
	"sallyport.dev/connector"
)

// snippetFlags are the flags of snippets.
type snippetFlags struct {
	roleFlags
	url, tunnel      string
	clients, servers []string
	json             bool
}

func newSnippets() *cobra.Command {
	var flags snippetFlags
	cmd := &cobra.Command{
		Use:   "snippets -c FILE",
		Short: "Print what to type into Claude, ChatGPT, IDEs and other MCP clients",
		Long: `Prints ready lines for each server of a connector.yaml and each client, which are:
` + strings.Join(snippets.Clients(), ", ") + `.

The tunnel's name and public URL come from the gateway, which is dialled with the tunnel token and
attaches nothing; with --url and --tunnel nobody is asked. No token is printed.`,
		Example: "  sallyport snippets -c /etc/sallyport/connector.yaml --client claude-code\n" +
			"  sallyport snippets -c connector.yaml --url https://tunnel.example.com --tunnel acme --json",
		Args: exactArgs(0, 0),
	}
	flags.addFile(cmd, "connector.yaml")
	cmd.Flags().StringArrayVar(&flags.clients, "client", nil, "a client to print for; repeat it for more (default all)")
	cmd.Flags().StringArrayVar(&flags.servers, "server", nil, "a server to print for; repeat it for more (default all)")
	cmd.Flags().StringVar(&flags.url, "url", "", "the gateway's public URL, to ask nobody")
	cmd.Flags().StringVar(&flags.tunnel, "tunnel", "", "the tunnel's name, to ask nobody")
	cmd.Flags().BoolVar(&flags.json, "json", false, "print JSON")
	cmd.MarkFlagsRequiredTogether("url", "tunnel")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg := connector.Config{}
		if err := flags.load(cmd, &cfg); err != nil {
			return err
		}
		names := slices.Sorted(maps.Keys(cfg.Servers))
		for _, name := range flags.servers {
			if !slices.Contains(names, name) {
				return fmt.Errorf("--server: %s has no server %q; it has: %s", flags.path, name, strings.Join(names, ", "))
			}
		}
		if flags.servers != nil {
			names = flags.servers
		}
		if err := snippets.Check(flags.clients); err != nil {
			return fmt.Errorf("--client: %w", err)
		}
		ctx, stop := untilSignal(cmd.Context(), cmd.ErrOrStderr(), nil)
		defer stop()
		answer, err := flags.answer(ctx, cfg)
		if err != nil {
			return err
		}
		in := snippets.Config{Tunnel: answer.Tunnel, PublicURL: answer.Issuer, Variable: tokenVariable, CAFile: cfg.GatewayCA, Clients: flags.clients}
		for _, name := range names {
			sse := cfg.Servers[name].URL == "" && cfg.Servers[name].SSEURL != ""
			in.Servers = append(in.Servers, snippets.Server{Name: name, URL: answer.URLs[name], SSE: sse})
		}
		set, err := snippets.New(in)
		if err != nil {
			return failed(fmt.Errorf("what the gateway answered cannot be used: %w", err))
		}
		if flags.json {
			enc := json.NewEncoder(cmd.OutOrStdout())
			enc.SetEscapeHTML(false)
			return failed(enc.Encode(set))
		}
		return failed(set.Print(cmd.OutOrStdout()))
	}
	return cmd
}

// answer asks the gateway, or takes what --url and --tunnel say.
func (f *snippetFlags) answer(ctx context.Context, cfg connector.Config) (auth.AttachAnswer, error) {
	if f.url == "" {
		cfg.Version, cfg.Proxy = versionText(), httpproxy.FromEnvironment().ProxyFunc()
		c, err := connector.New(cfg)
		if err != nil {
			return auth.AttachAnswer{}, f.inFile(err)
		}
		answer, err := c.Describe(ctx)
		if err != nil {
			err = fmt.Errorf("the gateway was asked for the tunnel's name and URLs: %w\n  to ask nobody, give --url and --tunnel", err)
		}
		return answer, failed(err)
	}
	answer := auth.AttachAnswer{Tunnel: f.tunnel, Issuer: strings.TrimSuffix(f.url, "/"), URLs: make(map[string]string)}
	if u, err := url.Parse(answer.Issuer); err != nil || u.Path != "" || snippets.CheckPlace(f.tunnel, answer.Issuer) != nil {
		return answer, errors.New("--url and --tunnel: write https://host[:port], as the gateway's public_url has it, and a name of a-z, 0-9 and -")
	}
	for name := range cfg.Servers {
		answer.URLs[name] = answer.Issuer + "/t/" + f.tunnel + "/" + name + "/mcp"
	}
	return answer, nil
}
