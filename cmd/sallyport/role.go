package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"sallyport.dev/config"
	"sallyport.dev/telemetry"
)

// logFlags are the flags of everything that logs.
type logFlags struct{ level, format string }

func (f *logFlags) add(cmd *cobra.Command, level string) {
	cmd.Flags().StringVar(&f.level, "log-level", level, "least level that is logged: debug, info, warn or error")
	cmd.Flags().StringVar(&f.format, "log-format", "text", "how a line of the log looks: text or json")
}

// logger logs to standard error. The lines of the last 100 ms wait for flush, which is called before the process ends.
func (f *logFlags) logger(cmd *cobra.Command) (log *slog.Logger, flush func(), err error) {
	buffer := telemetry.NewBuffer(cmd.ErrOrStderr())
	log, _, err = telemetry.NewLogger(buffer, telemetry.LogConfig{Level: f.level, Format: f.format})
	return log, func() { _ = buffer.Flush() }, err // standard error is where we would tell
}

// collectorLog logs what goes wrong with a collector, whatever the level of the log is otherwise.
func (f *logFlags) collectorLog(cmd *cobra.Command) (slog.Handler, error) {
	log, _, err := telemetry.NewLogger(cmd.ErrOrStderr(), telemetry.LogConfig{Level: "warn", Format: f.format})
	if err != nil {
		return nil, err
	}
	return log.Handler(), nil
}

// usable says which words are none.
func (f *logFlags) usable() error {
	_, _, err := telemetry.NewLogger(io.Discard, telemetry.LogConfig{Level: f.level, Format: f.format})
	return err
}

// settings are those of the flags, or else of the file, or else of OTEL_LOG_LEVEL, or else the defaults.
func (f *logFlags) settings(cmd *cobra.Command, file telemetry.LogConfig) (telemetry.LogConfig, error) {
	given := telemetry.LogConfig{Level: f.level, Format: f.format}
	if !cmd.Flags().Changed("log-level") {
		fromEnv := strings.ToLower(os.Getenv("OTEL_LOG_LEVEL"))
		if _, err := telemetry.ParseLevel(fromEnv); err != nil && file.Level == "" {
			return given, errors.New("OTEL_LOG_LEVEL: debug, info, warn or error is supported")
		}
		given.Level = cmp.Or(file.Level, fromEnv, f.level)
	}
	if !cmd.Flags().Changed("log-format") {
		given.Format = cmp.Or(file.Format, f.format)
	}
	return given, nil
}

// roleFlags are the flags of gateway and connector.
type roleFlags struct {
	logFlags
	path  string
	check bool
}

func (f *roleFlags) addTo(cmd *cobra.Command, example string) {
	f.add(cmd, "info")
	f.addFile(cmd, example)
	cmd.Flags().BoolVar(&f.check, "check", false, "check the configuration and its secrets, say what is open, and exit")
}

// addFile adds the flag that names the file.
func (f *roleFlags) addFile(cmd *cobra.Command, example string) {
	cmd.Flags().StringVarP(&f.path, "config", "c", "", "configuration file, such as "+example+" (required)")
	_ = cmd.MarkFlagFilename("config", "yaml", "yml") // only completions need it
}

// load decodes the file; its problems have one line each, with file and line.
func (f *roleFlags) load(cmd *cobra.Command, into any) error {
	if err := f.usable(); err != nil {
		return err
	}
	if f.path == "" {
		return fmt.Errorf("-c FILE is required; see %s --help", cmd.CommandPath())
	}
	if err := config.Load(f.path, into); err != nil {
		return fmt.Errorf("the configuration cannot be used:\n%w", err)
	}
	return nil
}

// inFile names the file in the errors that a role's New found, one a line.
func (f *roleFlags) inFile(errs ...error) error {
	err := errors.Join(errs...)
	if err == nil {
		return nil
	}
	lines := strings.Split(err.Error(), "\n")
	return fmt.Errorf("the configuration cannot be used:\n%s: %s", f.path, strings.Join(lines, "\n"+f.path+": "))
}

// report prints what --check found.
func (f *roleFlags) report(cmd *cobra.Command, facts, warnings []string) {
	out := cmd.OutOrStdout()
	fmt.Fprintf(out, "%s is valid\n", f.path)
	for _, fact := range facts {
		fmt.Fprintf(out, "  %s\n", fact)
	}
	for _, warning := range warnings {
		fmt.Fprintf(out, "  warning: %s\n", warning)
	}
}
