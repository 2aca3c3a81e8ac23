package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/spf13/cobra"

	"sallyport.dev/auth"
	"sallyport.dev/auth/issued"
	"sallyport.dev/gateway"
	"sallyport.dev/secret"
)

// createFlags are the flags of create.
type createFlags struct {
	tokenFlags
	name             string
	tunnels, servers []string
	ttl              time.Duration
	claims           []string
	out              string
}

func newTokenCreate() *cobra.Command {
	var flags createFlags
	cmd := &cobra.Command{
		Use:   "create -c FILE --name NAME --tunnel TUNNEL… --server SERVER…",
		Short: "Make a token for an agent",
		Long: `Makes a token and prints it, alone, on standard output; what it is goes to standard error. It is kept
nowhere: who loses it makes another one, and revokes it by its id. The first token makes the key that
signs, too. A gateway that runs knows the token within seconds.

The name is the caller's in the rules of policy and in logs; the claims are for conditions of rules. The
value of a claim is JSON if it can be read as JSON, and else a text: --claim level=3 is a number,
--claim 'teams=["a","b"]' a list, --claim team=a a text.`,
		Example: "  sallyport token create -c /etc/sallyport/gateway.yaml --name ci --tunnel acme --server wiki --server tickets --ttl 24h --out ci.token\n" +
			"  sallyport token create -c /etc/sallyport/gateway.yaml --name bot --tunnel acme --server '*' --claim team=support | vault kv put secret/bot token=-",
		Args: exactArgs(0, 0),
	}
	flags.addFile(cmd, "gateway.yaml")
	cmd.Flags().StringVar(&flags.name, "name", "", "name of the holder: visible ASCII without spaces and |, at most 64 characters (required)")
	cmd.Flags().StringArrayVar(&flags.tunnels, "tunnel", nil, "tunnel that it may use, or '*'; repeat it for more (required)")
	cmd.Flags().StringArrayVar(&flags.servers, "server", nil, "server of those tunnels that it may use, or '*'; repeat it for more (required)")
	cmd.Flags().DurationVar(&flags.ttl, "ttl", 24*time.Hour, "how long it is good: 1m to 8784h, which are 366 days")
	cmd.Flags().StringArrayVar(&flags.claims, "claim", nil, "claim for the rules of policy, KEY=VALUE; repeat it for more")
	cmd.Flags().StringVar(&flags.out, "out", "", "new file for the token, with mode 0600, in place of standard output")
	_ = cmd.MarkFlagFilename("out") // only completions need it
	_ = cmd.RegisterFlagCompletionFunc("tunnel", flags.completeTunnels)
	cmd.ValidArgsFunction = cobra.NoFileCompletions
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		order, err := flags.order(cmd)
		if err != nil {
			return err
		}
		store, cfg, err := flags.open(cmd)
		if err != nil {
			return err
		}
		if err := flags.checkOrder(cfg, &order); err != nil {
			return err
		}
		return flags.create(cmd, store, order)
	}
	return cmd
}

func (f *createFlags) completeTunnels(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	cfg, err := f.gateway(cmd)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return append(tunnelNames(cfg), "*"), cobra.ShellCompDirectiveNoFileComp
}

// order reads what the token shall say.
func (f *createFlags) order(cmd *cobra.Command) (issued.Order, error) {
	for _, required := range []struct {
		flag  string
		given bool
	}{{"name", f.name != ""}, {"tunnel", len(f.tunnels) > 0}, {"server", len(f.servers) > 0}} {
		if !required.given {
			return issued.Order{}, fmt.Errorf("--%s is required; see %s --help", required.flag, cmd.CommandPath())
		}
	}
	if f.ttl < issued.MinTTL || f.ttl > issued.MaxTTL {
		return issued.Order{}, errors.New("--ttl: write 1m to 8784h, which are 366 days")
	}
	claims, err := parseClaims(f.claims)
	return issued.Order{Name: f.name, Grant: auth.Grant{Tunnels: f.tunnels, Servers: f.servers}, TTL: f.ttl.Truncate(time.Second), Claims: claims}, err
}

// parseClaims reads KEY=VALUE.
func parseClaims(pairs []string) (map[string]any, error) {
	if len(pairs) == 0 {
		return nil, nil
	}
	claims := make(map[string]any)
	for _, pair := range pairs {
		key, text, ok := strings.Cut(pair, "=")
		if !ok || key == "" {
			return nil, fmt.Errorf("--claim: write KEY=VALUE, not %q", pair)
		}
		if _, twice := claims[key]; twice {
			return nil, fmt.Errorf("--claim: %q is given twice; write a list: --claim '%s=[…]'", key, key)
		}
		var value any
		if json.Unmarshal([]byte(text), &value) != nil {
			value = text
		}
		claims[key] = value
	}
	return claims, nil
}

// checkOrder finds what the file says against it: one name is one principal, and a tunnel that does not exist would show
// as a 404 for every call.
func (f *createFlags) checkOrder(cfg *gateway.Config, order *issued.Order) error {
	used := map[string]string{} // who has a name already
	for _, t := range cfg.Agents.Tokens {
		used[t.Name] = "agents.tokens"
	}
	if c := cfg.Agents.Certificates; c != nil {
		for _, p := range c.Principals {
			used[p.Name] = "agents.certificates"
		}
	}
	if key := used[order.Name]; key != "" {
		return fmt.Errorf("--name: %s of %s has the name %q already, and one name is one principal: choose another one", key, f.path, order.Name)
	}
	names := tunnelNames(cfg)
	for _, name := range order.Grant.Tunnels {
		if name != "*" && !slices.Contains(names, name) {
			return fmt.Errorf(`--tunnel: %s has no tunnel %q: write one of %q, or "*"`, f.path, name, names)
		}
	}
	return nil
}

func tunnelNames(cfg *gateway.Config) []string {
	names := make([]string, len(cfg.Tunnels))
	for i, t := range cfg.Tunnels {
		names[i] = t.Name
	}
	return names
}

// create makes the token and gives it to whoever asked, or revokes it if that fails.
func (f *createFlags) create(cmd *cobra.Command, store *issued.Store, order issued.Order) error {
	out, done := cmd.OutOrStdout(), func() error { return nil }
	if f.out != "" { // before the token is made: it may not be writable
		file, err := os.OpenFile(f.out, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return failed(fmt.Errorf("--out: %w", err))
		}
		out, done = file, func() error { return errors.Join(file.Sync(), file.Close()) }
	}
	c, token, err := store.Create(order)
	if err == nil {
		_, err = io.WriteString(out, token.Reveal()+"\n")
	}
	if err = errors.Join(err, done()); err != nil {
		if f.out != "" {
			os.Remove(f.out)
		}
		if c.ID != "" {
			_, revoking := store.Revoke([]string{c.ID})
			err = errors.Join(err, revoking)
		}
		return failed(err)
	}
	errOut := cmd.ErrOrStderr()
	fmt.Fprintf(errOut, "token %s of %s: tunnels %v, servers %v, until %s, signed with key %s\n",
		c.ID, c.Name, c.Grant.Tunnels, c.Grant.Servers, c.Expires.Local().Format(time.DateTime), c.Key)
	fmt.Fprintf(errOut, "to end it: sallyport token revoke -c %s %s\n", shellWord(f.path), c.ID)
	return nil
}

func newTokenCheck() *cobra.Command {
	var flags tokenFlags
	cmd := &cobra.Command{
		Use:   "check -c FILE [TOKENFILE]",
		Short: "Say what a token holds, and whether it is good",
		Long: `Reads one token from a file, or from standard input, and says what it holds and whether the gateway of
FILE would take it. The token is not repeated.

Exits 0 if it is good, and 1 if it is not.`,
		Example: "  sallyport token check -c /etc/sallyport/gateway.yaml ci.token",
		Args:    exactArgs(0, 1),
	}
	flags.addFile(cmd, "gateway.yaml")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 1 && strings.HasPrefix(args[0], issued.Prefix) {
			return errors.New("this is a token, which nobody should see on a command line: revoke it, and give the next one by a file or standard input")
		}
		cfg, err := flags.gateway(cmd)
		if err != nil {
			return err
		}
		token, err := readToken(cmd, args)
		if err != nil {
			return err
		}
		verifier, err := issued.New(issued.Config{Dir: tokensDir(cfg), Issuer: cfg.PublicURL})
		if err != nil {
			return failed(err)
		}
		if c, err := issued.Read(token.Reveal()); err == nil {
			printContents(cmd.OutOrStdout(), &c)
		}
		if _, err := verifier.Verify(cmd.Context(), auth.Presented{Token: token.Reveal()}); err != nil {
			return failed(fmt.Errorf("it is not good: %w", err))
		}
		fmt.Fprintln(cmd.OutOrStdout(), "it is good")
		return nil
	}
	return cmd
}

// readToken takes the token from the file that is named, or from standard input.
func readToken(cmd *cobra.Command, args []string) (secret.Value, error) {
	if len(args) == 1 {
		path, err := filepath.Abs(args[0])
		if err != nil {
			return secret.Value{}, err
		}
		ref, err := secret.ParseRef("file:" + path)
		if err != nil {
			return secret.Value{}, err
		}
		return ref.Resolve()
	}
	const limit = 64 << 10 // as of a file
	raw, err := io.ReadAll(io.LimitReader(cmd.InOrStdin(), limit))
	if err != nil {
		return secret.Value{}, failed(fmt.Errorf("read the token: %w", err))
	}
	text := strings.TrimSuffix(strings.TrimSuffix(string(raw), "\n"), "\r")
	if text == "" {
		return secret.Value{}, fmt.Errorf("no token on standard input; see %s --help", cmd.CommandPath())
	}
	return secret.New(text), nil
}

func printContents(out io.Writer, c *issued.Contents) {
	fmt.Fprintf(out, "token    %s\nname     %s\nissuer   %q\ntunnels  %s\nservers  %s\n", c.ID, c.Name, c.Issuer, strings.Join(c.Grant.Tunnels, ", "), strings.Join(c.Grant.Servers, ", "))
	if text, err := json.Marshal(c.Claims, json.Deterministic(true)); err == nil && c.Claims != nil {
		fmt.Fprintf(out, "claims   %q\n", text)
	}
	fmt.Fprintf(out, "made     %s\nexpires  %s\nkey      %s\n", c.Created.Local().Format(time.DateTime), c.Expires.Local().Format(time.DateTime), c.Key)
}
