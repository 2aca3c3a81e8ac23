package main

import (
	"os"

	"github.com/spf13/cobra"

	"sallyport.dev/mcp/diag"
)

// newServeStdio is the demo's local server. The demo's connector starts it in a cell; by hand it answers MCP as any such
// command does.
func newServeStdio() *cobra.Command {
	return &cobra.Command{
		Use:    "serve-stdio [PATH...]",
		Short:  "Be the demo's local server: MCP over standard input and output",
		Hidden: true,
		Args:   cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, paths []string) error {
			cfg := diag.Config{Name: "local", Version: versionText()}
			look := diag.Look{Environment: os.Environ(), Home: os.Getenv("HOME"), Paths: paths}
			return failed(diag.ServeStdio(cmd.Context(), cfg, cmd.InOrStdin(), cmd.OutOrStdout(), look))
		},
	}
}
