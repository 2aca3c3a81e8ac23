package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"sallyport.dev/cmd/sallyport/agent"
)

// maxArguments bounds what is read from standard input, in bytes.
const maxArguments = 64 << 20

func newCall() *cobra.Command {
	var flags clientFlags
	cmd := &cobra.Command{
		Use:   "call URL TOOL [JSON|-]",
		Short: "Call a tool of an MCP server",
		Long: `Calls a tool with a JSON object of arguments: {} if left out, standard input for -. Exits 1 if the
tool says that it failed. The token comes from --token-file, ` + tokenVariable + ` or --token; a token in the
command line can be seen by other users of the machine.`,
		Example: "  " + tokenVariable + "=… sallyport call https://tunnel.example.com/t/acme/wiki/mcp search '{\"query\":\"vpn\"}'",
		Args:    exactArgs(2, 3),
	}
	flags.add(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		arguments, err := readArguments(cmd, args[2:])
		if err != nil {
			return err
		}
		ctx, stop := untilSignal(cmd.Context(), cmd.ErrOrStderr(), nil)
		defer stop()
		a, err := flags.dial(ctx, args[0])
		if err != nil {
			return err
		}
		defer a.Close()
		result, err := a.Call(ctx, agent.Call{Tool: args[1], Arguments: arguments})
		if err != nil {
			return failed(err)
		}
		if flags.json {
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s\n", a.Raw())
		} else {
			err = agent.PrintResult(cmd.OutOrStdout(), result)
		}
		if err == nil && result.IsError {
			err = fmt.Errorf("the tool says that it failed: the text above is its own")
		}
		return failed(err)
	}
	return cmd
}

func readArguments(cmd *cobra.Command, given []string) (agent.RawObject, error) {
	var text []byte
	switch {
	case len(given) == 0:
	case given[0] == "-":
		var err error
		if text, err = io.ReadAll(io.LimitReader(cmd.InOrStdin(), maxArguments)); err != nil {
			return nil, fmt.Errorf("read the arguments from standard input: %w", err)
		}
	default:
		text = []byte(given[0])
	}
	arguments, err := agent.ParseObject(text)
	if err != nil {
		return nil, fmt.Errorf(`%w: write one such as '{"query":"vpn"}', in single quotes for the shell`, err)
	}
	return arguments, nil
}
