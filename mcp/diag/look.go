package diag

import (
	"context"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"
)

// maxFound bounds each list of files that the tool look answers.
const maxFound = 100

// View is what the tool look answers: what this process can see of the system around it. It holds names, never a value of
// the environment or the content of a file.
type View struct {
	// Environment are the names of the environment's variables, sorted.
	Environment []string `json:"environment"`
	// Processes is how many processes /proc shows, this one included, or 0 if there is no /proc.
	Processes int `json:"processes"`
	// Interfaces are the names of the network's interfaces, sorted.
	Interfaces []string `json:"interfaces"`
	// Home are the names of what is in HOME, up to 100.
	Home []string `json:"home"`
	// Visible are those of the paths that it was told to look for which can be seen, with all below them, up to 100.
	Visible []string `json:"visible"`
}

// Look is what the tool look is told of its process, which only its main knows.
type Look struct {
	// Environment is the process's environment, as os.Environ has it.
	Environment []string
	// Home is its HOME. Optional.
	Home string
	// Paths are what to look for, beside all else. Optional.
	Paths []string
}

// tool returns the tool look.
func (l Look) tool() server.ServerTool {
	return server.ServerTool{
		Tool: mcp.NewTool("look",
			mcp.WithDescription("Tells what this process sees of the system around it.\nNames of variables and network interfaces, number of processes, what is in HOME, and which of the paths that it was started with are there."),
			mcp.WithReadOnlyHintAnnotation(true),
		),
		Handler: func(context.Context, mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			view := l.see()
			return mcp.NewToolResultStructured(view, view.text()), nil
		},
	}
}

// see looks around.
func (l Look) see() View {
	view := View{Environment: []string{}, Interfaces: []string{}, Home: []string{}, Visible: []string{}} // which JSON has as [], not as null
	for _, variable := range l.Environment {
		name, _, _ := strings.Cut(variable, "=")
		view.Environment = append(view.Environment, name)
	}
	slices.Sort(view.Environment)
	for _, name := range namesIn("/proc") { // what cannot be read is not seen
		if _, err := strconv.Atoi(name); err == nil {
			view.Processes++
		}
	}
	interfaces, _ := net.Interfaces() // as above
	for _, i := range interfaces {
		view.Interfaces = append(view.Interfaces, i.Name)
	}
	slices.Sort(view.Interfaces)
	if l.Home != "" {
		view.Home = append(view.Home, namesIn(l.Home)...)
	}
	view.Home = view.Home[:min(len(view.Home), maxFound)]
	for _, path := range l.Paths {
		_ = filepath.WalkDir(path, func(found string, _ fs.DirEntry, _ error) error { // what cannot be looked into is seen all the same
			if len(view.Visible) == maxFound {
				return fs.SkipAll
			}
			if _, err := os.Lstat(found); err == nil && !slices.Contains(view.Visible, found) {
				view.Visible = append(view.Visible, found)
			}
			return nil
		})
	}
	return view
}

func namesIn(dir string) []string {
	entries, _ := os.ReadDir(dir) // what was read counts
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}

func (v View) text() string {
	orNothing := func(names []string) string {
		if len(names) == 0 {
			return "nothing"
		}
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("environment: %s\nprocesses: %d\ninterfaces: %s\nhome: %s\nvisible: %s\n",
		orNothing(v.Environment), v.Processes, orNothing(v.Interfaces), orNothing(v.Home), orNothing(v.Visible))
}
