package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"sallyport.dev/auth/issued"
	"sallyport.dev/gateway"
)

func newToken() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Make, list and revoke the gateway's own tokens for agents",
		Long: `Makes and ends tokens of the gateway's own, for agents without an identity provider. They are files in
the gateway's state_dir: a gateway that runs takes over what these commands do within seconds, and needs
not be asked. Run them as root or as the user that the gateway runs as.

Tokens look like this, for whoever searches for leaked ones, and end in a checksum:
  ` + issued.Pattern,
		Example: "  sallyport token create -c /etc/sallyport/gateway.yaml --name ci --tunnel acme --server wiki --ttl 24h --out ci.token\n" +
			"  sallyport token revoke -c /etc/sallyport/gateway.yaml --name ci",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newTokenCreate(), newTokenList(), newTokenRevoke(), newTokenRotate(), newTokenRetire(), newTokenCheck())
	return cmd
}

// tokenFlags are the flags of the commands on tokens.
type tokenFlags struct{ roleFlags }

// gateway reads the file.
func (f *tokenFlags) gateway(cmd *cobra.Command) (*gateway.Config, error) {
	var cfg gateway.Config
	if err := f.load(cmd, &cfg); err != nil {
		return nil, err
	}
	if err := cfg.Validate(); err != nil {
		return nil, f.inFile(err)
	}
	return &cfg, nil
}

// tokensDir is where the tokens of a gateway are known from.
func tokensDir(cfg *gateway.Config) string { return cfg.IssuedDir() }

// open gives the tokens of the file's gateway.
func (f *tokenFlags) open(cmd *cobra.Command) (*issued.Store, *gateway.Config, error) {
	cfg, err := f.gateway(cmd)
	if err != nil {
		return nil, nil, err
	}
	store, err := issued.NewStore(tokensDir(cfg), cfg.PublicURL)
	if err != nil {
		return nil, nil, f.inFile(err)
	}
	return store, cfg, nil
}

// completeIDs offers what the file's register has, for arguments that can be repeated, but for those already there.
func (f *tokenFlags) completeIDs(ids func(issued.Register) []string) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		store, _, err := f.open(cmd)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		r, err := store.List()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return slices.DeleteFunc(ids(r), func(id string) bool {
			id, _, _ = strings.Cut(id, "\t")
			return slices.Contains(args, id)
		}), cobra.ShellCompDirectiveNoFileComp
	}
}

// warnTorn says which lines of the register cannot be read.
func warnTorn(cmd *cobra.Command, r issued.Register) {
	if len(r.Torn) > 0 {
		fmt.Fprintf(cmd.ErrOrStderr(), "warning: %s: lines %s cannot be read: a token made then is not listed; sallyport token check tells its id\n",
			r.Path, strings.Trim(strings.Join(strings.Fields(fmt.Sprint(r.Torn)), ", "), "[]"))
	}
}

// tokenRow is a token as list --json shows it.
type tokenRow struct {
	ID      string         `json:"id"`
	Name    string         `json:"name"`
	State   issued.State   `json:"state"`
	Tunnels []string       `json:"tunnels"`
	Servers []string       `json:"servers"`
	Claims  map[string]any `json:"claims,omitempty"`
	Created time.Time      `json:"created"`
	Expires time.Time      `json:"expires"`
	Key     string         `json:"kid"`
}

// keyRow is a key as list --json shows it.
type keyRow struct {
	ID      string    `json:"kid"`
	Created time.Time `json:"created"`
	Signs   bool      `json:"signs"`
	Tokens  int       `json:"tokens"` // that are good
}

func newTokenList() *cobra.Command {
	var flags tokenFlags
	var asJSON, all bool
	cmd := &cobra.Command{
		Use:   "list -c FILE",
		Short: "List the tokens that were made, and the keys that sign them",
		Long: `Lists what is known of the tokens that were made, and of the keys: which one signs, and how many good
tokens each has signed. The tokens themselves are kept nowhere.

A token is good, or revoked, or retired: the key that has signed it is gone. Expired ones are listed with
--all.`,
		Example: "  sallyport token list -c /etc/sallyport/gateway.yaml",
		Args:    exactArgs(0, 0),
	}
	flags.addFile(cmd, "gateway.yaml")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().BoolVar(&all, "all", false, "list expired tokens, too")
	cmd.ValidArgsFunction = cobra.NoFileCompletions
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		store, _, err := flags.open(cmd)
		if err != nil {
			return err
		}
		r, err := store.List()
		if err != nil {
			return failed(err)
		}
		warnTorn(cmd, r)
		if !all {
			now := time.Now()
			r.Tokens = slices.DeleteFunc(r.Tokens, func(t issued.Issued) bool { return !now.Before(t.Expires) })
		}
		if asJSON {
			return failed(writeJSON(cmd.OutOrStdout(), tokenRows(&r)))
		}
		return failed(printTokens(cmd, &r))
	}
	return cmd
}

func tokenRows(r *issued.Register) any {
	rows := struct {
		Tokens []tokenRow `json:"tokens"`
		Keys   []keyRow   `json:"keys"`
	}{[]tokenRow{}, []keyRow{}} // and not nil, which is no list in JSON
	for _, t := range r.Tokens {
		rows.Tokens = append(rows.Tokens, tokenRow{t.ID, t.Name, t.State, t.Grant.Tunnels, t.Grant.Servers, t.Claims, t.Created, t.Expires, t.Key})
	}
	for _, k := range r.Keys {
		rows.Keys = append(rows.Keys, keyRow{k.ID, k.Created, k.Signs, k.Tokens})
	}
	return rows
}

func printTokens(cmd *cobra.Command, r *issued.Register) error {
	table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	if len(r.Tokens) > 0 {
		fmt.Fprintln(table, "TOKEN\tNAME\tSTATE\tTUNNELS\tSERVERS\tEXPIRES\tKEY")
	} else {
		fmt.Fprintln(table, "no tokens")
	}
	for _, t := range r.Tokens {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", t.ID, t.Name, t.State, strings.Join(t.Grant.Tunnels, ","), strings.Join(t.Grant.Servers, ","),
			t.Expires.Local().Format(time.DateTime), t.Key)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if len(r.Keys) > 0 {
		fmt.Fprintln(table, "\nKEY\tMADE\tGOOD TOKENS\t")
	}
	for _, k := range r.Keys {
		signs := ""
		if k.Signs {
			signs = "signs"
		}
		fmt.Fprintf(table, "%s\t%s\t%d\t%s\n", k.ID, k.Created.Local().Format(time.DateTime), k.Tokens, signs)
	}
	return table.Flush()
}

func newTokenRevoke() *cobra.Command {
	var flags tokenFlags
	var name string
	cmd := &cobra.Command{
		Use:   "revoke -c FILE {ID… | --name NAME}",
		Short: "End tokens before their time",
		Long: `Revokes tokens by id, as list shows them, or all that are good of one name. Gateways that run refuse them
within 10 s; calls that are under way end as they would. If one id is none, nothing is revoked.`,
		Example: "  sallyport token revoke -c /etc/sallyport/gateway.yaml --name ci",
		Args:    exactArgs(0, 1000),
	}
	flags.addFile(cmd, "gateway.yaml")
	cmd.Flags().StringVar(&name, "name", "", "revoke all tokens of this name")
	cmd.ValidArgsFunction = flags.completeIDs(func(r issued.Register) (ids []string) {
		for _, t := range r.Tokens {
			if t.State == issued.Good {
				ids = append(ids, t.ID+"\t"+t.Name)
			}
		}
		return ids
	})
	cmd.RunE = func(cmd *cobra.Command, ids []string) error {
		if (name == "") == (len(ids) == 0) {
			return fmt.Errorf("name the tokens by id, or write --name; see %s --help", cmd.CommandPath())
		}
		store, _, err := flags.open(cmd)
		if err != nil {
			return err
		}
		if name != "" {
			r, err := store.List()
			if err != nil {
				return failed(err)
			}
			warnTorn(cmd, r)
			for _, t := range r.Tokens {
				if t.Name == name && t.State == issued.Good {
					ids = append(ids, t.ID)
				}
			}
			if len(ids) == 0 {
				return failed(fmt.Errorf("no good token has the name %q: see sallyport token list", name))
			}
		}
		before, err := store.Revoke(ids)
		if err != nil {
			return failed(err)
		}
		for _, t := range before {
			switch t.State {
			case issued.Good:
				fmt.Fprintf(cmd.OutOrStdout(), "%s %s: revoked\n", t.ID, t.Name)
			case issued.Unknown:
				fmt.Fprintf(cmd.OutOrStdout(), "%s: revoked; the register does not have it\n", t.ID)
			default:
				fmt.Fprintf(cmd.OutOrStdout(), "%s %s: was %s before\n", t.ID, t.Name, t.State)
			}
		}
		return nil
	}
	return cmd
}

func newTokenRotate() *cobra.Command {
	var flags tokenFlags
	cmd := &cobra.Command{
		Use:   "rotate -c FILE",
		Short: "Make a new key, which signs tokens from now on",
		Long: `Makes a new key. Tokens that older keys have signed stay good until they expire or their key is retired:
rotate, give every agent a new token, then retire the old key.`,
		Example: "  sallyport token rotate -c /etc/sallyport/gateway.yaml",
		Args:    exactArgs(0, 0),
	}
	flags.addFile(cmd, "gateway.yaml")
	cmd.ValidArgsFunction = cobra.NoFileCompletions
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		store, _, err := flags.open(cmd)
		if err != nil {
			return err
		}
		key, err := store.Rotate()
		if err != nil {
			return failed(err)
		}
		out := cmd.OutOrStdout()
		fmt.Fprintf(out, "new tokens are signed with key %s\n", key)
		r, err := store.List()
		if err != nil {
			return failed(err)
		}
		for _, k := range r.Keys {
			if k.ID != key {
				fmt.Fprintf(out, "key %s verifies %d good tokens; to end it: sallyport token retire -c %s %s\n", k.ID, k.Tokens, shellWord(flags.path), k.ID)
			}
		}
		return nil
	}
	return cmd
}

func newTokenRetire() *cobra.Command {
	var flags tokenFlags
	cmd := &cobra.Command{
		Use:   "retire -c FILE KID",
		Short: "Delete an old key, and so end all tokens that it has signed",
		Long: `Deletes a key, as list shows them, and says how many good tokens that ends. Gateways that run refuse them
within 10 s. The key that signs cannot be retired: rotate first.`,
		Example: "  sallyport token retire -c /etc/sallyport/gateway.yaml q1zT0xW3bJm5cD8e",
		Args:    exactArgs(1, 1),
	}
	flags.addFile(cmd, "gateway.yaml")
	complete := flags.completeIDs(func(r issued.Register) (ids []string) {
		for _, k := range r.Keys {
			if !k.Signs {
				ids = append(ids, k.ID)
			}
		}
		return ids
	})
	cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, to string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return complete(cmd, args, to)
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if strings.HasPrefix(args[0], issued.Prefix) {
			return errors.New("this is a token, which nobody should see on a command line: revoke it, and name a key; see sallyport token list")
		}
		store, _, err := flags.open(cmd)
		if err != nil {
			return err
		}
		ended, err := store.Retire(args[0])
		if err != nil {
			return failed(err)
		}
		fmt.Fprintf(cmd.OutOrStdout(), "key %s is gone, and with it %d good tokens\n", args[0], ended)
		return nil
	}
	return cmd
}
