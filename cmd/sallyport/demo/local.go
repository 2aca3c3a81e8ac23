package demo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"sallyport.dev/cell"
	"sallyport.dev/connector"
	"sallyport.dev/mcp/diag"
)

// localName is the server that is a local command: this program once more, in a cell.
const localName = "local"

// insideCell is all that a command finds in its environment when its server has no env.
var insideCell = []string{"HOME", "LANG", "PATH", "TMPDIR"}

// newLocal makes the local server, unless this system cannot keep a command apart. Then the demo does without it: a command
// that could read the demo's keys would show the opposite of what the demo is there to show.
func (d *Demo) newLocal() error {
	program := d.cfg.Program
	if program == "" {
		var err error
		if program, err = os.Executable(); err != nil {
			return fmt.Errorf("find this program, to run it as a local server: %w", err)
		}
	}
	// The directory is an argument so that the command knows what to look for. It is not shown to it.
	server := connector.Server{Command: []string{program, "demo", "serve-stdio", d.dir}, Network: "none"}
	cfg, err := d.connectorConfig("auto")
	if err != nil {
		return err
	}
	cfg.Servers = map[string]connector.Server{localName: server}
	if cfg.Policy, err = allow(localName); err != nil {
		return err
	}
	c, err := connector.New(cfg)
	if err != nil {
		return err
	}
	_, errs := c.Check(context.Background())
	switch err := errors.Join(errs...); {
	case errors.Is(err, cell.ErrUnsupported):
		d.without = err
	case err != nil:
		return err
	default:
		d.local = &server
	}
	return nil
}

// Without says why the demo has no local server, or is nil if it has one.
func (d *Demo) Without() error { return d.without }

// ownNames are the names of the demo's own servers.
func (d *Demo) ownNames() []string {
	names := []string{ordersName, diagName, notesName, ticketsName}
	if d.local != nil {
		names = append(names, localName)
	}
	return names
}

// howMany counts the demo's own servers in words.
func (d *Demo) howMany() string {
	if d.local == nil {
		return "four private MCP servers, one of them a database"
	}
	return "five private MCP servers, one of them a database"
}

// proveView checks what the local server saw. The demo's directory holds the agent's token, the notes server's key and all
// that gateway and connector have on disk.
func proveView(view *diag.View, must func(ok bool, problem string)) {
	if view == nil {
		must(false, "the local server has not said what it sees")
		return
	}
	must(slices.Equal(view.Environment, insideCell), "the local server's environment holds more than is set for it, or less")
	must(view.Processes == 1 || view.Processes == 2, "the local server sees processes of others, or none at all")
	must(len(view.Interfaces) == 0 || slices.Equal(view.Interfaces, []string{"lo"}), "the local server has a network")
	must(len(view.Home) == 0, "the local server's HOME is not its own")
	must(len(view.Visible) == 0, "the local server sees the files of the demo: tokens, keys, or the connector's own")
}

// sawInCell says what the local server saw.
func sawInCell(view *diag.View) string {
	view = cmp.Or(view, new(diag.View))
	return fmt.Sprintf("of the environment %d names, of processes %d (itself and the cell's first), an empty HOME; no file of the demo, no network",
		len(view.Environment), view.Processes)
}
