package main

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/spf13/cobra"

	"sallyport.dev/audit"
)

// mostTail bounds how many lines tail holds at once.
const mostTail = 100_000

func newAuditTail() *cobra.Command {
	var flags auditFlags
	var lines int
	var follow, raw bool
	cmd := &cobra.Command{
		Use:   "tail (-c FILE | LOG)",
		Short: "Show the last lines of an audit log, and those to come",
		Long: `Shows the last lines of a log, one call a line: when, decision, server, method and tool, rule, outcome,
duration, who, request id. Rotated files are read too, and with -f the next ones. Nothing is verified.`,
		Example: "  sallyport audit tail -c connector.yaml -n 50 -f",
		Args:    exactArgs(0, 1),
	}
	flags.add(cmd)
	cmd.Flags().IntVarP(&lines, "lines", "n", 20, "how many lines, 0 to 100000")
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on with what is written")
	cmd.Flags().BoolVar(&raw, "json", false, "print the lines as they are in the log")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		paths, err := flags.paths(cmd, args)
		if err != nil {
			return err
		}
		if lines < 0 || lines > mostTail {
			return fmt.Errorf("-n: 0 to %d", mostTail)
		}
		ctx, stop := untilSignal(cmd.Context(), cmd.ErrOrStderr(), nil)
		defer stop()
		out := cmd.OutOrStdout()
		return readFailed(audit.Tail(ctx, paths[0], lines, follow, func(line []byte) error {
			r, err := audit.ParseRecord(line)
			return printRecord(out, &r, line, raw, err)
		}))
	}
	return cmd
}

// readFailed makes a log that is not there wrong usage, and everything else a failure.
func readFailed(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return failed(err)
}

// grepFlags are what grep looks for.
type grepFlags struct {
	auditFlags
	principal, server, method, tool, rule, decision, outcome, requestID string
	since, until                                                        string
	raw                                                                 bool
}

func newAuditGrep() *cobra.Command {
	var flags grepFlags
	cmd := &cobra.Command{
		Use:   "grep (-c FILE | LOG…)",
		Short: "Search an audit log",
		Long: `Shows the calls in a log, rotated files too, that everything asked for is true of. Texts are compared whole.
A time is written as 2026-03-04T05:06:07Z, or as how long ago it was, such as 90m; it is that of the
line, which is written when the call ends. Nothing is verified.`,
		Example: "  sallyport audit grep -c connector.yaml --decision deny --since 24h\n  sallyport audit grep --principal 'https://idp.example.com|alice' --json audit.jsonl",
	}
	flags.add(cmd)
	for name, to := range map[string]struct {
		value *string
		what  string
	}{
		"principal": {&flags.principal, "who called: a subject, or issuer|subject"}, "server": {&flags.server, "name of the MCP server"},
		"method": {&flags.method, "JSON-RPC method"}, "tool": {&flags.tool, "name of the tool"}, "rule": {&flags.rule, "rule that decided"},
		"decision": {&flags.decision, "allow or deny"}, "outcome": {&flags.outcome, "what became of the call"}, "request-id": {&flags.requestID, "id of the call"},
		"since": {&flags.since, "earliest time"}, "until": {&flags.until, "latest time"},
	} {
		cmd.Flags().StringVar(to.value, name, "", to.what)
	}
	_ = cmd.RegisterFlagCompletionFunc("decision", cobra.FixedCompletions([]string{"allow", "deny"}, cobra.ShellCompDirectiveNoFileComp)) // only completions need it
	cmd.Flags().BoolVar(&flags.raw, "json", false, "print the lines as they are in the log")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		paths, err := flags.paths(cmd, args)
		if err != nil {
			return err
		}
		now := time.Now()
		since, err := parseWhen("--since", flags.since, now)
		if err != nil {
			return err
		}
		until, err := parseWhen("--until", flags.until, now)
		if err != nil {
			return err
		}
		if flags.decision != "" && flags.decision != "allow" && flags.decision != "deny" {
			return errors.New("--decision: allow or deny")
		}
		ctx, stop := untilSignal(cmd.Context(), cmd.ErrOrStderr(), nil)
		defer stop()
		out := bufio.NewWriter(cmd.OutOrStdout())
		for _, path := range paths {
			err := eachLine(path, func(line []byte) error {
				r, err := audit.ParseRecord(line)
				if err == nil && flags.matches(&r) && (since.IsZero() || !r.Time.Before(since)) && (until.IsZero() || !r.Time.After(until)) {
					err = printRecord(out, &r, line, flags.raw, nil)
				} else {
					err = nil // other lines, and what is none
				}
				return errors.Join(err, ctx.Err())
			})
			if err != nil {
				return readFailed(errors.Join(err, out.Flush()))
			}
		}
		return failed(out.Flush())
	}
	return cmd
}

// eachLine goes through all files of the log at path.
func eachLine(path string, each func(line []byte) error) error {
	files, err := audit.Files(path)
	if err != nil {
		return err
	}
	for _, name := range files {
		file, err := os.Open(name)
		if err != nil {
			return err
		}
		err = audit.Scan(file, each)
		_ = file.Close() // nothing was written
		if err != nil {
			return err
		}
	}
	return nil
}

// matches reports whether everything that was asked for is true of a call.
func (f *grepFlags) matches(r *audit.Record) bool {
	e := &r.Event
	if r.Type != "event" && r.Type != "begin" {
		return false
	}
	if f.principal != "" && f.principal != e.Subject && f.principal != e.Issuer+"|"+e.Subject {
		return false
	}
	for asked, is := range map[*string]string{
		&f.server: e.Server, &f.method: e.Method, &f.tool: e.Tool, &f.rule: e.Rule,
		&f.decision: e.Decision, &f.outcome: e.Outcome, &f.requestID: e.RequestID,
	} {
		if *asked != "" && *asked != is {
			return false
		}
	}
	return true
}

// parseWhen reads a time, or how long before now it was; the zero time if there is none.
func parseWhen(flag, text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if ago, err := time.ParseDuration(text); err == nil && ago >= 0 {
		return now.Add(-ago), nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return t, fmt.Errorf("%s: write 2026-03-04T05:06:07Z, or how long ago, such as 90m", flag)
	}
	return t, nil
}
