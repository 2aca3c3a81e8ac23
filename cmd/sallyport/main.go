// Command sallyport is the one binary: gateway, connector, demo and MCP client, a small file for each. It does not know
// how a call is carried or decided: it reads flags, environment and files, starts a role and turns its end into an exit
// code.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"syscall"

	"github.com/spf13/cobra"

	"sallyport.dev/cell"
)

// version is set by the linker.
var version string

// The exit codes: 0 is done.
const (
	exitFailed = 1 // the work did not succeed
	exitUsage  = 2 // wrong usage or configuration
)

func main() {
	cell.Main() // does not return in a process that keeps a local server apart
	// What net/http has to say without a logger to say it to: it quotes bytes that an upstream sends behind its answer, which
	// may be anything, a credential too. All that matters goes through slog.
	log.SetOutput(io.Discard)
	os.Exit(run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run executes one command line and returns the exit code.
func run(ctx context.Context, args []string, in io.Reader, out, errOut io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errOut)
	err := root.ExecuteContext(ctx)
	var f failure
	switch {
	case err == nil:
		return 0
	case errors.As(err, &f):
		if !errors.Is(f.err, syscall.EPIPE) { // who would read it
			fmt.Fprintf(errOut, "sallyport: %v\n", f.err)
		}
		return exitFailed
	}
	fmt.Fprintf(errOut, "sallyport: %v\n", err)
	return exitUsage
}

// failure is an error of the work itself, not of how it was asked for.
type failure struct{ err error }

func (f failure) Error() string { return fmt.Sprint(f.err) }

func (f failure) Unwrap() error { return f.err }

// failed marks an error as exit code 1.
func failed(err error) error {
	if err == nil {
		return nil
	}
	return failure{err}
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "sallyport",
		Short: "Private MCP servers for AI agents, without an inbound hole",
		Long: `Sallyport makes private MCP servers reachable to AI agents without an inbound hole: a connector
inside the private network dials out to a public gateway, agents call the gateway, and the
connector decides each call and puts the credential in. Start with: sallyport demo`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs, // with RunE: cobra takes a wrong subcommand for an argument, and for no error without
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		Version:       versionText(),
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fmt.Errorf("%w; see %s --help", err, cmd.CommandPath())
	})
	root.AddCommand(newDemo(), newGateway(), newConnector(), newCredential(), newPolicy(), newApprovals(), newPins(), newAudit(), newTools(), newCall(), newToken(), newSnippets(), newVersion())
	return root
}

func versionText() string { return cmp.Or(version, "dev") }

// exactArgs wants these arguments, and says which are missing.
func exactArgs(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < least || len(args) > most {
			return fmt.Errorf("expected %s; see %s --help", cmd.UseLine(), cmd.CommandPath())
		}
		return nil
	}
}
