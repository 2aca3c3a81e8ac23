package main

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/spf13/cobra"

	"sallyport.dev/cmd/sallyport/cases"
	"sallyport.dev/config"
	"sallyport.dev/connector"
	"sallyport.dev/policy"
)

func newPolicy() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "policy",
		Short:   "Test a connector's policy, or have one decision explained",
		Example: "  sallyport policy test -c connector.yaml cases.yaml\n  sallyport policy explain -c connector.yaml --server orders --tool query --args '{\"limit\":5}' --subject olga --issuer https://idp.example.com",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newPolicyTest(), newPolicyExplain())
	return cmd
}

func newPolicyTest() *cobra.Command {
	var flags roleFlags
	cmd := &cobra.Command{
		Use:   "test -c FILE CASES",
		Short: "Judge the calls of a file by the policy, and say which are not decided as wanted",
		Long: `Decides each call that the file of cases describes by the policy of connector.yaml, and compares the decision
with what the case wants. Nothing is called, and no secret is read: it is for CI.

Exits 1 if a case is decided otherwise than wanted, 2 if a file cannot be used.`,
		Example: "  sallyport policy test -c connector.yaml cases.yaml",
		Args:    exactArgs(1, 1),
	}
	flags.addFile(cmd, "connector.yaml")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var cfg connector.Config
		if err := flags.load(cmd, &cfg); err != nil {
			return err
		}
		var file cases.File
		if err := config.Load(args[0], &file); err != nil {
			return fmt.Errorf("the cases cannot be used:\n%w", err)
		}
		out, now, wrong := cmd.OutOrStdout(), time.Now(), 0
		for i := range file.Cases {
			if problem := file.Cases[i].Failed(cfg.Policy, now); problem != "" {
				wrong++
				fmt.Fprintf(out, "FAIL  %s: %s\n", file.Cases[i].Name, problem)
				continue
			}
			fmt.Fprintf(out, "ok    %s\n", file.Cases[i].Name)
		}
		if wrong > 0 {
			return failed(fmt.Errorf("%d of %d cases are decided otherwise than wanted; see sallyport policy explain --help", wrong, len(file.Cases)))
		}
		fmt.Fprintf(out, "%d cases are decided as wanted\n", len(file.Cases))
		return nil
	}
	return cmd
}

// explainFlags describe one call.
type explainFlags struct {
	roleFlags
	cases.Case
	args, params, claims string
}

func newPolicyExplain() *cobra.Command {
	var flags explainFlags
	cmd := &cobra.Command{
		Use:   "explain -c FILE --server NAME --tool NAME …",
		Short: "Say which rule decides a call, and what each condition makes of it",
		Long: `Decides one call by the policy of connector.yaml, and shows what each rule that is about it says, and what each
part of its condition evaluates to. Nothing is called.

Exits 0 if the call is allowed, 1 if it is denied, 2 if something is wrong with what is given.`,
		Example: `  sallyport policy explain -c connector.yaml --server orders --tool query --args '{"limit":5}' \
    --issuer https://idp.example.com --subject olga --claims '{"team":"ops"}' --source 10.1.2.3`,
		Args: exactArgs(0, 0),
	}
	flags.addFile(cmd, "connector.yaml")
	f := cmd.Flags()
	f.StringVar(&flags.Server, "server", "", "name of the server (required)")
	f.StringVar(&flags.Principal.Issuer, "issuer", "", "issuer of the caller; the gateway's public_url for its own tokens (required)")
	f.StringVar(&flags.Principal.Subject, "subject", "", "name of the caller there (required)")
	f.StringVar(&flags.claims, "claims", "", "the caller's claims, a JSON object")
	f.StringVar(&flags.Method, "method", "", "method, such as resources/list; by default that of the tool, prompt or resource")
	f.StringVar(&flags.Tool, "tool", "", "tool that is called")
	f.StringVar(&flags.Prompt, "prompt", "", "prompt that is got")
	f.StringVar(&flags.Resource, "resource", "", "URI of the resource that is read")
	f.StringVar(&flags.args, "args", "", "arguments, a JSON object")
	f.StringVar(&flags.params, "params", "", "params of another method, a JSON object")
	f.StringVar(&flags.Source, "source", "", "IP address of the caller")
	f.StringVar(&flags.Time, "time", "", "when, as in 2026-11-26T10:00:00Z; by default now")
	f.StringVar(&flags.From, "from", "agent", "who asks: agent, or server for sampling, elicitation and roots")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		var cfg connector.Config
		if err := flags.load(cmd, &cfg); err != nil {
			return err
		}
		request, err := flags.request()
		if err != nil {
			return err
		}
		e := cfg.Policy.Explain(request)
		printExplanation(cmd.OutOrStdout(), e)
		if !e.Decision.Allow {
			return failed(errors.New("the call is denied"))
		}
		return nil
	}
	return cmd
}

// request reads the flags that are JSON, and makes the request.
func (f *explainFlags) request() (policy.Request, error) {
	for _, object := range []struct {
		flag, text string
		into       *map[string]any
	}{{"claims", f.claims, &f.Principal.Claims}, {"args", f.args, &f.Arguments}, {"params", f.params, &f.Params}} {
		if object.text != "" && json.Unmarshal([]byte(object.text), object.into) != nil {
			return policy.Request{}, fmt.Errorf("--%s: it is no JSON object, such as '{\"limit\":5}'", object.flag)
		}
	}
	request, err := f.Request(time.Now())
	if err != nil {
		return request, fmt.Errorf("the call cannot be made up: %w", err)
	}
	return request, nil
}

// printExplanation writes an explanation for people.
func printExplanation(out io.Writer, e policy.Explanation) {
	fmt.Fprintf(out, "%s by %s: %s\n", cases.Word(e.Decision), e.Decision.Rule, e.Decision.Reason)
	for _, rule := range e.Decision.WouldDeny {
		fmt.Fprintf(out, "%s would deny it, and is in report mode\n", rule)
	}
	for i := range e.Rules {
		r := &e.Rules[i]
		verb := "denies"
		if r.Allow {
			verb = "allows"
		}
		switch {
		case !r.Covers:
			fmt.Fprintf(out, "\n%s, which %s: is about other servers or messages\n", r.Name, verb)
			continue
		case r.Err != nil:
			fmt.Fprintf(out, "\n%s, which %s: cannot be evaluated: %v\n", r.Name, verb, r.Err)
		case r.Holds:
			fmt.Fprintf(out, "\n%s, which %s: holds\n", r.Name, verb)
		default:
			fmt.Fprintf(out, "\n%s, which %s: does not hold\n", r.Name, verb)
		}
		for _, part := range r.Parts {
			fmt.Fprintf(out, "  %s = %s\n", part.Text, part.Value)
		}
	}
}
