package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"sallyport.dev/connector"
	"sallyport.dev/connector/pins"
)

func newPins() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "pins",
		Short: "List, compare and accept the tools that a connector has pinned",
		Example: "  sallyport pins list -c /etc/sallyport/connector.yaml\n  sallyport pins diff -c /etc/sallyport/connector.yaml wiki\n" +
			"  sallyport pins accept -c /etc/sallyport/connector.yaml wiki read_page@3f29c1d07a55",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newPinsList(), newPinsDiff(), newPinsAccept())
	return cmd
}

// pinsFlags are the flags of the commands on pins.
type pinsFlags struct {
	roleFlags
	json bool
}

func (f *pinsFlags) addJSON(cmd *cobra.Command) {
	f.addFile(cmd, "connector.yaml")
	cmd.Flags().BoolVar(&f.json, "json", false, "print JSON")
}

// open returns the pins of the file's state_dir, and the servers that are asked for: the one named, or all.
func (f *pinsFlags) open(cmd *cobra.Command, args []string) (*pins.Store, []string, error) {
	var cfg connector.Config
	if err := f.load(cmd, &cfg); err != nil {
		return nil, nil, err
	}
	if cfg.StateDir == "" {
		return nil, nil, f.inFile(errors.New("state_dir: required to pin tools"))
	}
	store, err := pins.NewStore(cfg.StateDir)
	if err != nil {
		return nil, nil, f.inFile(err)
	}
	if len(args) == 0 {
		return store, slices.Sorted(maps.Keys(cfg.Servers)), nil
	}
	if _, ok := cfg.Servers[args[0]]; !ok {
		return nil, nil, f.inFile(fmt.Errorf("there is no server %q", args[0]))
	}
	return store, args[:1], nil
}

// pinRow is a tool as list and diff --json show it. Hidden characters of names are code points, as accept takes them too.
type pinRow struct {
	Server    string     `json:"server"`
	Tool      string     `json:"tool"`
	State     pins.State `json:"state"`
	Hash      string     `json:"hash"` // of what is pinned, or else pending
	FirstSeen time.Time  `json:"first_seen"`

	Pinned   *pinVersion    `json:"pinned,omitempty"`
	Pending  *pinVersion    `json:"pending,omitempty"`
	Findings []pins.Finding `json:"findings,omitempty"`
	Changes  []pins.Change  `json:"changes,omitempty"`
}

type pinVersion struct {
	Hash     string     `json:"hash"`
	Seen     time.Time  `json:"seen"`
	Accepted *time.Time `json:"accepted,omitempty"`
	By       string     `json:"by,omitempty"`
}

func newPinVersion(v *pins.Version) *pinVersion {
	if v == nil {
		return nil
	}
	shown := &pinVersion{Hash: v.Hash, Seen: v.Seen, By: v.By}
	if !v.Accepted.IsZero() {
		shown.Accepted = &v.Accepted
	}
	return shown
}

func newPinRow(server string, t pins.Tool) pinRow {
	row := pinRow{Server: server, Tool: pins.Escape(t.Name), State: t.State, Pinned: newPinVersion(t.Pinned), Pending: newPinVersion(t.Pending)}
	first := row.Pinned
	if first == nil {
		first = row.Pending
	}
	row.Hash, row.FirstSeen = first.Hash, first.Seen
	if t.Pending != nil {
		row.Findings = t.Pending.Findings
	}
	return row
}

func newPinsList() *cobra.Command {
	var flags pinsFlags
	cmd := &cobra.Command{
		Use:   "list -c FILE [SERVER]",
		Short: "List the tools that are pinned, or wait to be accepted",
		Long: `Lists the tools of a connector's servers, or of one: the first digits of the hash of what is pinned (or, if
nothing is, of what waits), when that was first seen, and the state: pinned, changed, new or suspicious. It
reads state_dir and asks no server.`,
		Example: "  sallyport pins list -c /etc/sallyport/connector.yaml wiki",
		Args:    exactArgs(0, 1),
	}
	flags.addJSON(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		store, servers, err := flags.open(cmd, args)
		if err != nil {
			return err
		}
		rows, err := readPins(store, servers, func(server string, t pins.Tool) (pinRow, bool) { return newPinRow(server, t), true })
		out := cmd.OutOrStdout()
		if flags.json {
			return failed(errors.Join(writeJSON(out, rows), err))
		}
		table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
		for _, row := range rows {
			fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", row.Server, row.Tool, row.Hash[:12], row.FirstSeen.Format(time.DateTime), row.State)
		}
		if len(rows) == 0 && err == nil {
			fmt.Fprintln(table, "nothing is pinned yet")
		}
		return failed(errors.Join(table.Flush(), err))
	}
	return cmd
}

// readPins makes a row of each tool that show wants, and goes on behind a server whose file cannot be read.
func readPins(store *pins.Store, servers []string, show func(server string, t pins.Tool) (pinRow, bool)) ([]pinRow, error) {
	rows := []pinRow{} // and not nil, which is no list in JSON
	var errs []error
	for _, server := range servers {
		tools, err := store.Tools(server)
		if err != nil {
			errs = append(errs, err)
		}
		for _, t := range tools {
			if row, ok := show(server, t); ok {
				rows = append(rows, row)
			}
		}
	}
	return rows, errors.Join(errs...)
}

func writeJSON(w io.Writer, v any) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(v)
}

func newPinsDiff() *cobra.Command {
	var flags pinsFlags
	cmd := &cobra.Command{
		Use:   "diff -c FILE [SERVER [TOOL]]",
		Short: "Show how tools differ from what is pinned",
		Long: `Shows of each tool that waits to be accepted how its definition differs from the pinned one, member by member,
and what is suspicious about it. Characters that are not seen are written as [U+200B]; where two texts look
the same, so is every character beyond ASCII.

Exits 1 if there are differences.`,
		Example: "  sallyport pins diff -c /etc/sallyport/connector.yaml wiki read_page",
		Args:    exactArgs(0, 2),
	}
	flags.addJSON(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		store, servers, err := flags.open(cmd, args)
		if err != nil {
			return err
		}
		out, found := cmd.OutOrStdout(), len(args) < 2
		var writing error
		rows, err := readPins(store, servers, func(server string, t pins.Tool) (pinRow, bool) {
			if len(args) == 2 {
				if t.Name != args[1] && pins.Escape(t.Name) != args[1] {
					return pinRow{}, false
				}
				found = true
			}
			if t.Pending == nil {
				return pinRow{}, false
			}
			row := newPinRow(server, t)
			if flags.json {
				row.Changes = t.Changes()
			} else if writing == nil {
				writing = pins.WriteDiff(out, server, t)
			}
			return row, true
		})
		if flags.json {
			writing = writeJSON(out, rows)
		}
		switch {
		case writing != nil || err != nil:
			return failed(errors.Join(writing, err))
		case !found:
			return failed(fmt.Errorf("%s: nothing is known of a tool %q: see sallyport pins list", args[0], args[1]))
		case len(rows) > 0:
			return failed(fmt.Errorf("what waits to be accepted: %d; to accept one: sallyport pins accept -c %s -- %s %s",
				len(rows), shellWord(flags.path), shellWord(rows[0].Server), shellWord(rows[0].Tool+"@"+rows[0].Pending.Hash[:12])))
		}
		return nil
	}
	return cmd
}

func newPinsAccept() *cobra.Command {
	var flags pinsFlags
	var all bool
	cmd := &cobra.Command{
		Use:   "accept -c FILE SERVER {TOOL[@HASH]… | --all}",
		Short: "Pin what tools have become",
		Long: `Pins the definitions that wait to be accepted, of the tools named or of all. A connector that runs notices.
TOOL@HASH, as diff prints it, accepts that definition alone: not another that has come since. If one of the
tools cannot be accepted, none is.`,
		Example: "  sallyport pins accept -c /etc/sallyport/connector.yaml wiki read_page@3f29c1d07a55\n  sallyport pins accept -c /etc/sallyport/connector.yaml wiki --all",
		Args:    exactArgs(1, 1001),
	}
	flags.addFile(cmd, "connector.yaml")
	cmd.Flags().BoolVar(&all, "all", false, "accept everything that waits")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if all == (len(args) > 1) {
			return fmt.Errorf("name the tools, or write --all; see %s --help", cmd.CommandPath())
		}
		store, _, err := flags.open(cmd, args[:1])
		if err != nil {
			return err
		}
		server := args[0]
		wanted, err := wantedPins(store, server, args[1:])
		if err != nil {
			return failed(err)
		}
		accepted, err := store.Accept(server, wanted)
		if err != nil {
			return failed(err)
		}
		for _, t := range accepted {
			fmt.Fprintf(cmd.OutOrStdout(), "%s %s: pinned %s\n", server, pins.Escape(t.Name), t.Pinned.Hash[:12])
		}
		if len(accepted) == 0 {
			fmt.Fprintf(cmd.OutOrStdout(), "%s: nothing waits to be accepted\n", server)
		}
		return nil
	}
	return cmd
}

// wantedPins reads TOOL and TOOL@HASH. A tool may be named as it is shown.
func wantedPins(store *pins.Store, server string, args []string) (map[string]string, error) {
	tools, err := store.Tools(server)
	if err != nil {
		return nil, err
	}
	names := make(map[string]string)
	for _, t := range tools {
		names[pins.Escape(t.Name)] = t.Name
	}
	for _, t := range tools { // the name itself counts more than what is shown as it
		names[t.Name] = t.Name
	}
	withHash := regexp.MustCompile(`^(.*)@([0-9a-f]{8,64})$`)
	wanted := make(map[string]string)
	for _, arg := range args {
		name, hash := arg, ""
		if _, ok := names[arg]; !ok {
			if m := withHash.FindStringSubmatch(arg); m != nil {
				name, hash = m[1], m[2]
			}
		}
		full, ok := names[name]
		if !ok {
			return nil, fmt.Errorf("%s: nothing is known of a tool %q: see sallyport pins list", server, strings.ToValidUTF8(name, "?"))
		}
		wanted[full] = hash
	}
	return wanted, nil
}
