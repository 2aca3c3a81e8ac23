package main

import (
	"fmt"
	"log/slog"
	"path/filepath"

	"github.com/spf13/cobra"

	"sallyport.dev/connector"
)

func newCredential() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "credential",
		Short:   "Check a connector's credentials, or print the keys of those that it mints",
		Example: "  sallyport credential check -c /etc/sallyport/connector.yaml\n  sallyport credential jwks -c /etc/sallyport/connector.yaml",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newCredentialCheck(), newCredentialJWKS())
	return cmd
}

func newCredentialCheck() *cobra.Command {
	var flags roleFlags
	cmd := &cobra.Command{
		Use:   "check -c FILE",
		Short: "Fetch every credential of a connector, and show where each may go",
		Long: `Fetches every secret that connector.yaml refers to, as the connector would, and access tokens too, and
says of each: for whom it is, where it may go, how it is put in, where it comes from, and whether it is
masked in answers. No value is shown. What depends on the caller is shown and not fetched, but the keys
and secrets that it needs whoever calls are. Leases that
were taken for it are given back.

Exits 2 if a secret cannot be had now.`,
		Example: "  sallyport credential check -c /etc/sallyport/connector.yaml",
		Args:    exactArgs(0, 0),
	}
	flags.addFile(cmd, "connector.yaml")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := flags.connector(cmd)
		if err != nil {
			return err
		}
		defer c.Close()
		bindings := c.Credentials(cmd.Context())
		out := cmd.OutOrStdout()
		var failures []error
		for _, b := range bindings {
			fmt.Fprintf(out, "%s\n  for    %s\n  to     %s\n  as     %s\n  from   %s\n", b.Name, b.For, b.To, b.As, b.From)
			switch {
			case b.Err != nil:
				fmt.Fprintf(out, "  state  FAILED: %v\n", b.Err)
				failures = append(failures, fmt.Errorf("%s: %w", b.Name, b.Err))
			default:
				fmt.Fprintf(out, "  state  %s\n", b.State)
			}
			for _, note := range b.Notes {
				fmt.Fprintf(out, "  note   %s\n", note)
			}
		}
		if len(bindings) == 0 {
			fmt.Fprintln(out, "no credentials")
		}
		return flags.inFile(failures...)
	}
	return cmd
}

func newCredentialJWKS() *cobra.Command {
	var flags roleFlags
	cmd := &cobra.Command{
		Use:   "jwks -c FILE",
		Short: "Print the public keys of the tokens that a connector mints, as a JWK Set",
		Long: `Prints the public halves of the keys with which the connector signs tokens (jwt: and oauth: in
connector.yaml), as a JWK Set (RFC 7517). Give it to the servers that are to accept them.`,
		Example: "  sallyport credential jwks -c /etc/sallyport/connector.yaml > jwks.json",
		Args:    exactArgs(0, 0),
	}
	flags.addFile(cmd, "connector.yaml")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := flags.connector(cmd)
		if err != nil {
			return err
		}
		defer c.Close()
		set, err := c.JWKS(cmd.Context())
		if err != nil {
			return flags.inFile(err)
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s\n", set)
		return failed(err)
	}
	return cmd
}

// connector makes a connector of the file, to look at and not to run.
func (f *roleFlags) connector(cmd *cobra.Command) (*connector.Connector, error) {
	cfg := connector.Config{Logger: slog.New(slog.DiscardHandler)}
	if err := f.load(cmd, &cfg); err != nil {
		return nil, err
	}
	var err error
	if cfg.File, err = filepath.Abs(f.path); err != nil {
		return nil, err
	}
	c, err := connector.New(cfg)
	return c, f.inFile(err)
}
