package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"sallyport.dev/audit"
	"sallyport.dev/connector"
)

func newAudit() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "audit",
		Short:   "Read a connector's audit log, and verify that nobody has changed it",
		Example: "  sallyport audit verify -c connector.yaml --checkpoint kept.jsonl\n  sallyport audit grep -c connector.yaml --decision deny",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newAuditVerify(), newAuditTail(), newAuditGrep(), newAuditKey())
	return cmd
}

// auditFlags say which log is meant.
type auditFlags struct{ roleFlags }

func (f *auditFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&f.path, "config", "c", "", "connector.yaml, whose log is meant where no LOG is given")
	_ = cmd.MarkFlagFilename("config", "yaml", "yml") // only completions need it
}

// files are the files that are meant: those that were given, or all of the configuration's log.
func (f *auditFlags) files(cmd *cobra.Command, args []string) ([]string, error) {
	if len(args) > 0 {
		return args, nil
	}
	cfg, err := f.config(cmd)
	if err != nil {
		return nil, err
	}
	files, err := audit.Files(cfg.Audit.Path(cfg.StateDir))
	return files, failed(err)
}

// config reads the configuration, which must have an audit log.
func (f *auditFlags) config(cmd *cobra.Command) (*connector.Config, error) {
	if f.path == "" {
		return nil, fmt.Errorf("-c FILE, or the files of the log, are required; see %s --help", cmd.CommandPath())
	}
	var cfg connector.Config
	if err := f.load(cmd, &cfg); err != nil {
		return nil, err
	}
	if !cfg.Audit.Enabled() {
		return nil, fmt.Errorf("%s: audit: it is not set: write audit: best_effort, or audit: strict", f.path)
	}
	return &cfg, nil
}

func newAuditVerify() *cobra.Command {
	var flags auditFlags
	var keyText string
	var kept []string
	cmd := &cobra.Command{
		Use:   "verify (-c FILE | LOG…)",
		Short: "Say whether a log is as it was written",
		Long: `Goes through a log and holds each line against the one before, each checkpoint against the key, and the whole
against checkpoints that were kept elsewhere (--checkpoint, one a line). Only those show that the end of a log was
cut off, or that whoever has the key has rebuilt it.

With -c the key is the one in state_dir. Give LOG files in the order in which they were written, and --key, as
sallyport audit key prints it.

Exits 1 if something is wrong with the log, 2 if a file cannot be used.`,
		Example: "  sallyport audit verify -c connector.yaml --checkpoint kept.jsonl\n  sallyport audit verify --key sallyport-audit-ed25519:… audit-*.jsonl audit.jsonl",
	}
	flags.add(cmd)
	cmd.Flags().StringVar(&keyText, "key", "", "public key that is trusted; by default that of the configuration")
	cmd.Flags().StringArrayVar(&kept, "checkpoint", nil, "file of checkpoints that were kept elsewhere; may be given again")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		files, err := flags.files(cmd, args)
		if err != nil {
			return err
		}
		options, err := flags.verifyOptions(cmd, keyText, kept)
		if err != nil {
			return err
		}
		report, err := audit.Verify(cmd.Context(), files, options)
		if err != nil {
			return failed(err)
		}
		return printReport(cmd.OutOrStdout(), &report, len(options.Checkpoints))
	}
	return cmd
}

// verifyOptions reads the key and the checkpoints that were kept.
func (f *auditFlags) verifyOptions(cmd *cobra.Command, keyText string, kept []string) (o audit.VerifyOptions, err error) {
	switch {
	case keyText != "":
		if o.Key, err = audit.ParsePublicKey(keyText); err != nil {
			return o, fmt.Errorf("--key: %w", err)
		}
	case f.path == "":
		return o, errors.New("--key is required where LOG files are given; sallyport audit key prints it")
	default:
		cfg, err := f.config(cmd)
		if err != nil {
			return o, err
		}
		if o.Key, err = audit.ReadPublicKey(cfg.StateDir); err != nil {
			return o, failed(err)
		}
	}
	for _, path := range kept {
		file, err := os.Open(path)
		if err != nil {
			return o, fmt.Errorf("--checkpoint: %w", err)
		}
		more, err := audit.ReadCheckpoints(file)
		_ = file.Close() // it was only read
		if err != nil {
			return o, fmt.Errorf("--checkpoint: %s: %w", path, err)
		}
		o.Checkpoints = append(o.Checkpoints, more...)
	}
	return o, nil
}

func printReport(out io.Writer, r *audit.Report, given int) error {
	fmt.Fprintf(out, "%d files, lines %d to %d, %d events\n", r.Files, r.First, r.Last, r.Events)
	if r.First > 1 {
		fmt.Fprintf(out, "lines 1 to %d are not here: rotation deletes old files\n", r.First-1)
	}
	if r.Lost > 0 {
		fmt.Fprintf(out, "%d events could not be written, and are told of\n", r.Lost)
	}
	if r.Recovered > 0 {
		fmt.Fprintf(out, "%d lines were cut short by a crash, and are told of\n", r.Recovered)
	}
	if r.Signed > 0 {
		fmt.Fprintf(out, "%d checkpoints, the last one of line %d at %s; %d lines after it are not signed\n", r.Checkpoints, r.Signed, r.SignedAt.Format("2006-01-02T15:04:05Z07:00"), r.Last-r.Signed)
	}
	if given > 0 {
		fmt.Fprintf(out, "%d of %d checkpoints that were kept elsewhere are in it\n", r.Kept, given)
	} else {
		fmt.Fprintln(out, "no checkpoint was kept elsewhere: that the end was not cut off, or all of it rebuilt with the key, is not shown")
	}
	for _, p := range r.Problems {
		fmt.Fprintf(out, "PROBLEM  %s\n", p)
	}
	if r.More {
		fmt.Fprintln(out, "PROBLEM  and more")
	}
	if len(r.Problems) > 0 {
		return failed(fmt.Errorf("the log is not as it was written: %d problems", len(r.Problems)))
	}
	fmt.Fprintln(out, "the log is as it was written")
	return nil
}

func newAuditKey() *cobra.Command {
	var flags auditFlags
	cmd := &cobra.Command{
		Use:     "key -c FILE",
		Short:   "Print the public key that a log's checkpoints are verified with",
		Example: "  sallyport audit key -c connector.yaml > audit.pub",
		Args:    exactArgs(0, 0),
	}
	flags.add(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := flags.config(cmd)
		if err != nil {
			return err
		}
		key, err := audit.ReadPublicKey(cfg.StateDir)
		if err != nil {
			return failed(fmt.Errorf("%w: it is made when the connector runs first with audit", err))
		}
		fmt.Fprintln(cmd.OutOrStdout(), key)
		return nil
	}
	return cmd
}

// shown gives a line of a log for people.
func shown(r *audit.Record) string {
	at := r.Time.Local().Format("2006-01-02 15:04:05")
	switch r.Type {
	case "event", "begin":
		e := &r.Event
		what := strings.TrimSpace(e.Method + " " + quotedUnlessPlain(e.Tool))
		if r.Type == "begin" {
			return fmt.Sprintf("%s  begin  %s at %s by %s, rule %s", at, what, e.Server, quotedUnlessPlain(e.Subject), e.Rule)
		}
		return fmt.Sprintf("%s  %-5s  %s at %s by %s, rule %s, %s, delivered %s, status %d, %s", at, e.Decision, what, e.Server, quotedUnlessPlain(e.Subject), e.Rule, e.Outcome, e.Delivered, e.Status, e.Duration)
	case "lost":
		return fmt.Sprintf("%s  lost   %d events since %s", at, r.Count, r.Since.Local().Format("15:04:05"))
	case "recovered":
		return fmt.Sprintf("%s  %s  %d bytes of a line that was cut short", at, r.Type, r.Bytes)
	case "start":
		return fmt.Sprintf("%s  start  version %s, %s", at, r.Version, r.Reason)
	}
	return fmt.Sprintf("%s  %s of line %d", at, r.Type, r.Seq)
}

// quotedUnlessPlain quotes what a stranger chose, unless it is a plain word.
func quotedUnlessPlain(text string) string {
	if strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' || r == '"' || r == '\\' }) {
		return fmt.Sprintf("%q", text)
	}
	return text
}

// scanLog calls each with the records of files, oldest first, and the line of each.
func scanLog(files []string, each func(line []byte, r *audit.Record) error) error {
	for _, path := range files {
		file, err := os.Open(filepath.Clean(path))
		if err != nil {
			return err
		}
		err = audit.Scan(file, func(line []byte) error {
			r, err := audit.ParseRecord(line)
			if err != nil {
				return nil //nolint:nilerr // verify tells of it
			}
			return each(line, &r)
		})
		_ = file.Close() // it was only read
		if err != nil {
			return err
		}
	}
	return nil
}
