package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"sallyport.dev/cmd/sallyport/agent"
)

func newTools() *cobra.Command {
	var flags clientFlags
	cmd := &cobra.Command{
		Use:   "tools URL",
		Short: "List the tools of an MCP server",
		Long: `Lists the tools of an MCP server: name, first line of the description, required arguments.
The token comes from --token-file, ` + tokenVariable + ` or --token; a token in the command line can be seen
by other users of the machine.`,
		Example: "  " + tokenVariable + "=… sallyport tools https://tunnel.example.com/t/acme/wiki/mcp",
		Args:    exactArgs(1, 1),
	}
	flags.add(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx, stop := untilSignal(cmd.Context(), cmd.ErrOrStderr(), nil)
		defer stop()
		a, err := flags.dial(ctx, args[0])
		if err != nil {
			return err
		}
		defer a.Close()
		tools, err := a.Tools(ctx)
		if err != nil {
			return failed(err)
		}
		if flags.json {
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s\n", a.Raw())
			return failed(err)
		}
		return failed(agent.PrintTools(cmd.OutOrStdout(), tools))
	}
	return cmd
}
