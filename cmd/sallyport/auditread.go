package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"sallyport.dev/audit"
)

// followEvery is how often a log that is followed is looked at.
const followEvery = 500 * time.Millisecond

func newAuditTail() *cobra.Command {
	var flags auditFlags
	var lines int
	var follow, raw bool
	cmd := &cobra.Command{
		Use:     "tail (-c FILE | LOG…)",
		Short:   "Show the last lines of a log",
		Example: "  sallyport audit tail -c connector.yaml -n 50\n  sallyport audit tail -c connector.yaml -f",
	}
	flags.add(cmd)
	cmd.Flags().IntVarP(&lines, "lines", "n", 20, "how many")
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on as lines are written, until interrupted")
	cmd.Flags().BoolVar(&raw, "json", false, "print them as they stand in the log")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		files, err := flags.files(cmd, args)
		if err != nil {
			return err
		}
		if lines < 0 || lines > 1_000_000 {
			return errors.New("--lines: 0 to 1000000")
		}
		var last []string
		var seq uint64
		keep := func(line []byte, r *audit.Record) error {
			if seq = max(seq, r.Seq); lines == 0 {
				return nil
			}
			if len(last) == lines {
				last = last[1:]
			}
			last = append(last, printed(line, r, raw))
			return nil
		}
		if err := scanLog(files, keep); err != nil {
			return failed(err)
		}
		for _, text := range last {
			fmt.Fprintln(cmd.OutOrStdout(), text)
		}
		if !follow {
			return nil
		}
		return failed(followLog(cmd, files[len(files)-1], seq, raw))
	}
	return cmd
}

// followLog prints what is added to a file, and goes on with the next one when it is rotated, until interrupted.
func followLog(cmd *cobra.Command, path string, seq uint64, raw bool) error {
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	var before os.FileInfo
	for {
		select {
		case <-cmd.Context().Done():
			return nil
		case <-tick.C:
		}
		info, err := os.Stat(path)
		if err != nil || before != nil && os.SameFile(info, before) && info.Size() == before.Size() {
			continue
		}
		before = info
		files, err := audit.Files(path) // a rotation may have moved lines that were not shown yet
		if err != nil {
			files = []string{path}
		}
		err = scanLog(files[max(0, len(files)-2):], func(line []byte, r *audit.Record) error {
			if r.Seq > seq {
				seq = r.Seq
				fmt.Fprintln(cmd.OutOrStdout(), printed(line, r, raw))
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
}

func printed(line []byte, r *audit.Record, raw bool) string {
	if raw {
		return string(line)
	}
	return shown(r)
}

// auditFilter says which events are wanted. What is empty matches all.
type auditFilter struct {
	principal, server, method, tool, rule, decision, outcome, requestID, since, until string
	from, to                                                                          time.Time
}

func newAuditGrep() *cobra.Command {
	var flags auditFlags
	var filter auditFilter
	var raw bool
	cmd := &cobra.Command{
		Use:     "grep (-c FILE | LOG…)",
		Short:   "Show the events of a log that match",
		Long:    "Shows the events for which all that is given holds, oldest first. Exits 1 if there is none.",
		Example: "  sallyport audit grep -c connector.yaml --decision deny --since 2026-11-26T00:00:00Z\n  sallyport audit grep -c connector.yaml --principal olga --tool delete_order --json",
	}
	flags.add(cmd)
	f := cmd.Flags()
	f.StringVar(&filter.principal, "principal", "", "subject of the caller, or issuer|subject")
	f.StringVar(&filter.server, "server", "", "name of the server")
	f.StringVar(&filter.method, "method", "", "method, such as tools/call")
	f.StringVar(&filter.tool, "tool", "", "tool, prompt or resource")
	f.StringVar(&filter.rule, "rule", "", "rule that decided")
	f.StringVar(&filter.decision, "decision", "", "allow or deny")
	f.StringVar(&filter.outcome, "outcome", "", "what became of the call, such as upstream or denied")
	f.StringVar(&filter.requestID, "request-id", "", "id of the call, as in the logs")
	f.StringVar(&filter.since, "since", "", "not before, as in 2026-11-26T10:00:00Z")
	f.StringVar(&filter.until, "until", "", "before, likewise")
	f.BoolVar(&raw, "json", false, "print them as they stand in the log")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := filter.times(); err != nil {
			return err
		}
		files, err := flags.files(cmd, args)
		if err != nil {
			return err
		}
		found := 0
		err = scanLog(files, func(line []byte, r *audit.Record) error {
			if r.Type != "event" || !filter.matches(r) {
				return nil
			}
			found++
			_, err := io.WriteString(cmd.OutOrStdout(), printed(line, r, raw)+"\n")
			return err
		})
		if err != nil {
			return failed(err)
		}
		if found == 0 {
			return failed(errors.New("no event matches"))
		}
		return nil
	}
	return cmd
}

func (f *auditFilter) times() (err error) {
	for _, t := range []struct {
		flag, text string
		into       *time.Time
	}{{"since", f.since, &f.from}, {"until", f.until, &f.to}} {
		if t.text == "" {
			continue
		}
		if *t.into, err = time.Parse(time.RFC3339, t.text); err != nil {
			return fmt.Errorf("--%s: write it as in 2026-11-26T10:00:00Z", t.flag)
		}
	}
	return nil
}

func (f *auditFilter) matches(r *audit.Record) bool {
	e := &r.Event
	for _, m := range []struct{ want, got string }{
		{f.server, e.Server}, {f.method, e.Method}, {f.tool, e.Tool}, {f.rule, e.Rule}, {f.decision, e.Decision}, {f.outcome, e.Outcome}, {f.requestID, e.RequestID},
	} {
		if m.want != "" && m.want != m.got {
			return false
		}
	}
	if f.principal != "" && f.principal != e.Subject && f.principal != e.Issuer+"|"+e.Subject {
		return false
	}
	return !r.Time.Before(f.from) && (f.to.IsZero() || r.Time.Before(f.to))
}
