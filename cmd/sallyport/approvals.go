package main

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/spf13/cobra"

	"sallyport.dev/connector"
	"sallyport.dev/telemetry"
)

func newApprovals() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "approvals",
		Short: "See which calls wait for a human, and answer for them",
		Long: `A rule with approve: human makes each call that it allows wait. These commands ask the connector that runs with a
configuration, by the Unix socket in its state_dir. An answer is good for the one call that waits, once.`,
		Example: "  sallyport approvals list -c connector.yaml\n  sallyport approvals allow -c connector.yaml ABCDEFGHIJ",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newApprovalsList(), newApprovalsAnswer("allow", "Let a call pass that waits"), newApprovalsAnswer("deny", "Refuse a call that waits"))
	return cmd
}

func newApprovalsList() *cobra.Command {
	var flags roleFlags
	var raw bool
	cmd := &cobra.Command{
		Use:     "list -c FILE",
		Short:   "Show the calls that wait, the oldest first",
		Example: "  sallyport approvals list -c connector.yaml",
		Args:    exactArgs(0, 0),
	}
	flags.addFile(cmd, "connector.yaml")
	cmd.Flags().BoolVar(&raw, "json", false, "print them as JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		text, err := flags.askRunning(cmd, http.MethodGet, "/v1/approvals")
		if err != nil {
			return err
		}
		if raw {
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s\n", text)
			return failed(err)
		}
		var list []connector.Approval
		if err := json.Unmarshal(text, &list); err != nil {
			return failed(errForeignAnswer)
		}
		for i := range list {
			printApproval(cmd, &list[i])
		}
		if len(list) == 0 {
			fmt.Fprintln(cmd.OutOrStdout(), "nothing waits")
		}
		return nil
	}
	return cmd
}

func newApprovalsAnswer(answer, short string) *cobra.Command {
	var flags roleFlags
	cmd := &cobra.Command{
		Use:     answer + " -c FILE ID",
		Short:   short,
		Example: "  sallyport approvals " + answer + " -c connector.yaml ABCDEFGHIJ",
		Args:    exactArgs(1, 1),
	}
	flags.addFile(cmd, "connector.yaml")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		for _, c := range args[0] {
			if (c < 'A' || c > 'Z') && (c < '2' || c > '7') {
				return errors.New("the ID is the word that sallyport approvals list shows first")
			}
		}
		text, err := flags.askRunning(cmd, http.MethodPost, "/v1/approvals/"+args[0]+"/"+answer)
		if err != nil {
			return err
		}
		var answered connector.Approval
		if err := json.Unmarshal(text, &answered); err != nil {
			return failed(errForeignAnswer)
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s: ", answer)
		printApproval(cmd, &answered)
		return nil
	}
	return cmd
}

// printApproval writes what somebody has to decide about. What a stranger chose is quoted.
func printApproval(cmd *cobra.Command, a *connector.Approval) {
	out := cmd.OutOrStdout()
	fmt.Fprintf(out, "%s  %q of %q asks for %s %q at %s, rule %s, waits until %s\n", a.ID, a.Subject, a.Issuer, a.Method, telemetry.Short(a.Name), a.Server, a.Rule, a.Expires.Local().Format(time.TimeOnly))
	if a.Params != nil {
		fmt.Fprintf(out, "    %q\n", string(a.Params))
	} else {
		fmt.Fprintln(out, "    without params")
	}
	fmt.Fprintf(out, "    sha256 %s\n", a.SHA256)
}
