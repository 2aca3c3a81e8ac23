package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"sallyport.dev/audit"
	"sallyport.dev/config"
)

func newAudit() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "audit",
		Short:   "Verify, follow or search an audit log, or print the key that signs it",
		Example: "  sallyport audit verify --key KEY --checkpoint kept.checkpoint /var/log/sallyport/audit.jsonl\n  sallyport audit tail -c connector.yaml -f",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newAuditVerify(), newAuditTail(), newAuditGrep(), newAuditKey())
	return cmd
}

// auditFlags say which log is meant.
type auditFlags struct{ file string }

func (f *auditFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&f.file, "config", "c", "", "connector.yaml or gateway.yaml, for its log where no LOG is given, and for its key")
	_ = cmd.MarkFlagFilename("config", "yaml", "yml") // only completions need it
	cmd.ValidArgsFunction = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return []string{"jsonl"}, cobra.ShellCompDirectiveFilterFileExt
	}
}

// auditKeys are what either role's file says of its log. The other keys are looked at by whoever starts the role.
type auditKeys struct {
	StateDir string       `yaml:"state_dir"`
	Audit    audit.Config `yaml:"audit"`
}

// read gives what the configuration says of its log.
func (f *auditFlags) read() (keys auditKeys, err error) {
	file, err := os.Open(f.file)
	if err != nil {
		return keys, fmt.Errorf("-c: %w", err)
	}
	defer file.Close()
	if err := yaml.NewDecoder(io.LimitReader(file, config.MaxSize)).Decode(&keys); err != nil {
		return keys, fmt.Errorf("-c: %s: %w", f.file, err)
	}
	switch {
	case !keys.Audit.Enabled():
		return keys, fmt.Errorf("-c: %s: audit: it is not set: write audit: best_effort, or audit: strict", f.file)
	case keys.StateDir == "":
		return keys, fmt.Errorf("-c: %s: state_dir: required, for the key that signs the log", f.file)
	}
	return keys, nil
}

// paths are the files that are meant.
func (f *auditFlags) paths(cmd *cobra.Command, args []string) ([]string, error) {
	switch {
	case len(args) > 0:
		return args, nil
	case f.file == "":
		return nil, fmt.Errorf("LOG or -c FILE is required; see %s --help", cmd.CommandPath())
	}
	keys, err := f.read()
	return []string{keys.Audit.Path(keys.StateDir)}, err
}

// publicKey reads the key that the configuration's log is signed with.
func (f *auditFlags) publicKey() (audit.PublicKey, error) {
	keys, err := f.read()
	if err != nil {
		return audit.PublicKey{}, err
	}
	key, err := audit.ReadPublicKey(keys.StateDir)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("there is no key yet; it is made when the role of %s first starts with audit: %w", f.file, err)
	}
	return key, err
}

// verifyFlags are the flags of verify.
type verifyFlags struct {
	auditFlags
	key         string
	checkpoints []string
}

func newAuditVerify() *cobra.Command {
	var flags verifyFlags
	cmd := &cobra.Command{
		Use:   "verify (-c FILE | LOG…)",
		Short: "Say whether an audit log is what was written",
		Long: `Reads a log, rotated files too, and checks the number and hash of every line, the signatures of its
checkpoints, and every checkpoint that was kept elsewhere. LOG is the log, single files of it, or
a folder with one log. Each problem is printed with its file and line, and what it means.

Take the key and the checkpoints from where whoever can change the log cannot: that the end of a log
was cut off shows only against a checkpoint that was kept.

Exits 0 if the log is intact, 1 if it is not, and 2 if it or the key cannot be read.`,
		Example: "  sallyport audit verify --key sallyport-audit-ed25519:… --checkpoint kept.checkpoint audit.jsonl\n  sallyport audit verify -c connector.yaml",
	}
	flags.add(cmd)
	cmd.Flags().StringVar(&flags.key, "key", "", "public key of the log, as sallyport audit key prints it (default that of -c)")
	cmd.Flags().StringArrayVar(&flags.checkpoints, "checkpoint", nil, "file with checkpoints that were kept, one a line; repeat it for more")
	_ = cmd.MarkFlagFilename("checkpoint") // only completions need it
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		paths, err := flags.paths(cmd, args)
		if err != nil {
			return err
		}
		opts, err := flags.options(cmd)
		if err != nil {
			return err
		}
		ctx, stop := untilSignal(cmd.Context(), cmd.ErrOrStderr(), nil)
		defer stop()
		opts.Progress = progress(cmd.ErrOrStderr())
		report, err := audit.Verify(ctx, paths, opts)
		if errors.Is(err, context.Canceled) {
			return failed(err)
		}
		if err != nil {
			return err
		}
		if err := printReport(cmd.OutOrStdout(), &report, len(opts.Checkpoints) > 0); err != nil {
			return failed(err)
		}
		if !report.Intact() {
			return failed(errors.New("the audit log is not what was written"))
		}
		return nil
	}
	return cmd
}

// options reads the key and the kept checkpoints.
func (f *verifyFlags) options(cmd *cobra.Command) (opts audit.VerifyOptions, err error) {
	switch {
	case f.key != "":
		if opts.PublicKey, err = audit.ParsePublicKey(f.key); err != nil {
			return opts, fmt.Errorf("--key: %w", err)
		}
	case f.file != "":
		if opts.PublicKey, err = f.publicKey(); err != nil {
			return opts, err
		}
	default:
		return opts, fmt.Errorf("--key or -c FILE is required: without a key anybody could have made the log; see %s --help", cmd.CommandPath())
	}
	for _, path := range f.checkpoints {
		file, err := os.Open(path)
		if err != nil {
			return opts, fmt.Errorf("--checkpoint: %w", err)
		}
		kept, err := audit.ReadCheckpoints(file)
		_ = file.Close() // nothing was written
		if err == nil && len(kept) == 0 {
			err = errors.New("there is no checkpoint in it")
		}
		if err != nil {
			return opts, fmt.Errorf("--checkpoint: %s: %w", path, err)
		}
		opts.Checkpoints = append(opts.Checkpoints, kept...)
	}
	return opts, nil
}

// progress says how far it is, once a second, after the first one.
func progress(errOut io.Writer) func(*audit.Report) {
	next := time.Now().Add(time.Second)
	return func(r *audit.Report) {
		if now := time.Now(); now.After(next) {
			next = now.Add(time.Second)
			fmt.Fprintf(errOut, "%d lines so far, up to %s, %d problems\n", r.Records, r.LastTime.Format(time.RFC3339), int64(len(r.Problems))+r.More)
		}
	}
}

func newAuditKey() *cobra.Command {
	var flags auditFlags
	cmd := &cobra.Command{
		Use:   "key -c FILE",
		Short: "Print the public half of the key that signs an audit log",
		Long: `Prints the public half of audit.key in state_dir. Keep it where whoever can change the log cannot, and
give it to sallyport audit verify.`,
		Example: "  sallyport audit key -c connector.yaml > audit.pub",
		Args:    exactArgs(0, 0),
	}
	flags.add(cmd)
	cmd.ValidArgsFunction = cobra.NoFileCompletions
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if flags.file == "" {
			return fmt.Errorf("-c FILE is required; see %s --help", cmd.CommandPath())
		}
		key, err := flags.publicKey()
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(cmd.OutOrStdout(), key)
		return failed(err)
	}
	return cmd
}
