package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"

	"sallyport.dev/connector"
)

const (
	statusTimeout = 10 * time.Second
	maxStatus     = 16 << 20 // bytes
)

func newConnectorStatus() *cobra.Command {
	var flags roleFlags
	var raw, metrics bool
	cmd := &cobra.Command{
		Use:   "status -c FILE",
		Short: "Say how the running connector of a configuration is doing",
		Long: `Asks the connector that runs with this configuration, by the Unix socket in its state_dir, for its sessions, its servers
and how calls to them went, its policy, its credentials by name and age, and what is open or weak. It must run on this
machine, as this user or as one whom root asks. No value of a secret, an argument or an answer is said.

--metrics prints what it has measured since it started instead, in the text format of Prometheus: one that scrapes files, or a
textfile collector, can take it from there. The connector listens on no port for that.

Exits 1 if no connector answers.`,
		Example: "  sallyport connector status -c /etc/sallyport/connector.yaml\n  sallyport connector status -c /etc/sallyport/connector.yaml --json\n  sallyport connector status -c /etc/sallyport/connector.yaml --metrics",
		Args:    exactArgs(0, 0),
	}
	flags.addFile(cmd, "connector.yaml")
	cmd.Flags().BoolVar(&raw, "json", false, "print it as JSON")
	cmd.Flags().BoolVar(&metrics, "metrics", false, "print its metrics in Prometheus' text format")
	cmd.MarkFlagsMutuallyExclusive("json", "metrics")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if metrics {
			text, err := flags.askRunningFor(cmd, http.MethodGet, "/v1/metrics")
			if err == nil {
				_, err = cmd.OutOrStdout().Write(text)
			}
			return failed(err)
		}
		text, err := flags.askRunning(cmd, http.MethodGet, "/v1/status")
		if err != nil {
			return err
		}
		if raw {
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s\n", text)
			return failed(err)
		}
		var status connector.Status
		if err := json.Unmarshal(text, &status); err != nil {
			return failed(errForeignAnswer)
		}
		return failed(printStatus(cmd.OutOrStdout(), &status, time.Now()))
	}
	return cmd
}

var errForeignAnswer = errors.New("the connector's answer cannot be read: it may be of another version")

// askRunning asks the connector that runs with the configuration for JSON.
func (f *roleFlags) askRunning(cmd *cobra.Command, method, path string) (text []byte, err error) {
	if text, err = f.askRunningFor(cmd, method, path); err != nil {
		return nil, err
	}
	return text, failed((*jsontext.Value)(&text).Indent())
}

// askRunningFor asks the connector that runs with the configuration for whatever it has at a path.
func (f *roleFlags) askRunningFor(cmd *cobra.Command, method, path string) (text []byte, err error) {
	var cfg connector.Config
	if err := f.load(cmd, &cfg); err != nil {
		return nil, err
	}
	socket := cfg.ControlSocket()
	if socket == "" {
		return nil, fmt.Errorf("%s: state_dir: set it, so that the connector has a place to answer, and restart it", f.path)
	}
	text, err = askControl(cmd.Context(), socket, method, path)
	return text, failed(err)
}

// askControl asks a running connector by its socket.
func askControl(ctx context.Context, socket, method, path string) (text []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}
	request, err := http.NewRequestWithContext(ctx, method, "http://connector"+path, nil)
	if err != nil {
		return nil, err
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("no connector answers at %s: start it, or ask as its user or as root (%w)", socket, errors.Unwrap(err))
	}
	defer func() { _ = response.Body.Close() }()
	if text, err = io.ReadAll(io.LimitReader(response.Body, maxStatus)); err != nil {
		return nil, err
	}
	if response.StatusCode == http.StatusNotFound && strings.HasPrefix(string(text), "connector: ") {
		return nil, errors.New(strings.TrimSpace(string(text)))
	}
	if response.StatusCode == http.StatusNotFound && path == "/v1/metrics" {
		return nil, errors.New("the connector that runs is an older one, which does not show its metrics: restart it with this version")
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the connector answers %s: it may be of another version", response.Status)
	}
	return text, nil
}

// printStatus writes a status for people.
func printStatus(out io.Writer, s *connector.Status, now time.Time) error {
	var b strings.Builder
	fmt.Fprintf(&b, "connector %s, %s, up since %s\n", s.Version, s.Instance, ago(s.Started, now))
	fmt.Fprintf(&b, "configuration %s, read %s\n", s.ConfigurationVersion, ago(s.Configuration, now))
	for _, key := range s.Waiting {
		fmt.Fprintf(&b, "  waits for a restart: %s\n", key)
	}
	if len(s.Sessions) == 0 {
		fmt.Fprintf(&b, "\nNOT ATTACHED to %s: see the log\n", s.Gateway)
	} else {
		fmt.Fprintf(&b, "\nattached to %s\n", s.Gateway)
	}
	for _, session := range s.Sessions {
		fmt.Fprintf(&b, "  %s over %s, %s, session %s\n", session.Gateway, session.Transport, ago(session.Since, now), session.ID)
	}
	fmt.Fprintf(&b, "\npolicy  %s", s.Policy.Mode)
	if s.Policy.Mode == "rules" {
		fmt.Fprintf(&b, ", %d", s.Policy.Rules)
	}
	b.WriteByte('\n')
	for _, rule := range s.Policy.NotEnforced {
		fmt.Fprintf(&b, "  %s is NOT ENFORCED\n", rule)
	}
	if s.Approvals > 0 {
		fmt.Fprintf(&b, "  %d calls wait for approval\n", s.Approvals)
	}
	for _, i := range s.Agents {
		fmt.Fprintf(&b, "callers must prove themselves here too, by tokens of %s: %d keys\n", i.Issuer, i.Keys)
		if i.Failure != "" {
			fmt.Fprintf(&b, "  its keys CANNOT BE FETCHED: %s\n", i.Failure)
		}
	}
	if s.Audit != nil {
		fmt.Fprintf(&b, "audit   %s, %s, %d events lost\n", s.Audit.Mode, s.Audit.Path, s.Audit.Lost)
		if s.Audit.Error != "" {
			fmt.Fprintf(&b, "  it CANNOT BE WRITTEN: %s\n", s.Audit.Error)
		}
	}
	b.WriteString("\nservers\n")
	for i := range s.Servers {
		printServer(&b, &s.Servers[i], now)
	}
	if len(s.Credentials) > 0 {
		b.WriteString("\ncredentials\n")
	}
	for _, c := range s.Credentials {
		age := "not used yet"
		if !c.Since.IsZero() {
			age = "in use since " + ago(c.Since, now)
		}
		if c.Personal {
			age = "each caller's own"
		}
		fmt.Fprintf(&b, "  %-20s %s, from %s, %s\n", c.Name, c.As, c.From, age)
	}
	for _, w := range s.Warnings {
		fmt.Fprintf(&b, "\nwarning: %s", w)
	}
	if len(s.Warnings) > 0 {
		b.WriteByte('\n')
	}
	_, err := io.WriteString(out, b.String())
	return err
}

func printServer(b *strings.Builder, s *connector.ServerStatus, now time.Time) {
	fmt.Fprintf(b, "  %-20s %s, %d calls answered, %d failed", s.Name, s.Upstream, s.Answered, s.Failed)
	if !s.LastAnswer.IsZero() {
		fmt.Fprintf(b, ", last answer %s", ago(s.LastAnswer, now))
	}
	b.WriteByte('\n')
	if !s.LastFailure.IsZero() {
		fmt.Fprintf(b, "    last failure %s: %s\n", ago(s.LastFailure, now), s.Failure)
	}
	if len(s.Tools) > 0 {
		var counts []string
		for _, state := range slices.Sorted(maps.Keys(s.Tools)) {
			counts = append(counts, fmt.Sprintf("%d %s", s.Tools[state], state))
		}
		fmt.Fprintf(b, "    tools: %s; pins: %s\n", strings.Join(counts, ", "), s.Pins)
	}
	if s.PinsUnreadable {
		b.WriteString("    what is pinned of it CANNOT BE READ: see the log\n")
	}
	if s.Masked > 0 {
		fmt.Fprintf(b, "    %d secrets were masked in its answers\n", s.Masked)
	}
	if s.Quarantined {
		b.WriteString("    QUARANTINED: it has sent a credential back, and gets no more calls\n")
	}
}

// ago says when something was.
func ago(t, now time.Time) string {
	return fmt.Sprintf("%s (%s ago)", t.Local().Format(time.DateTime), now.Sub(t).Round(time.Second))
}
