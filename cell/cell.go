// Package cell runs a command apart from the rest of the system: with the files that it is shown and no others, without
// the processes, sockets, descriptors and environment of its parent, bounded, and gone to the last process when it ends.
// It does not know what the command is for, what is said over its pipes, or where its settings come from.
//
// The process in a cell is this very program, started anew: main, and TestMain of tests that start cells, call Main first.
// It becomes the warden: process 1 of the cell, which sets the cell up, starts the command and outlives it only to report.
package cell

import (
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"unicode/utf8"

	"sallyport.dev/secret"
)

// Errors that callers may test for.
var (
	// ErrSpec means that a Spec asks for what cannot be: the text says which part, and what to write instead.
	ErrSpec = errors.New("cell: not possible as written")
	// ErrUnsupported means that this system cannot isolate as asked: the text says what is missing and what to do.
	ErrUnsupported = errors.New("cell: isolation is not available")
	// ErrStart means that the cell was made, and its command could not be started in it.
	ErrStart = errors.New("cell: cannot start")
	// ErrClosed means that the Nursery is closed.
	ErrClosed = errors.New("cell: closed")
)

// Isolation is how far a cell is apart, as written in configuration. Empty is Namespaces.
type Isolation string

const (
	// Namespaces gives the command file system, processes, users and, unless Spec.Network, network of its own. Linux only.
	Namespaces Isolation = "namespaces"
	// None bounds the command and cleans up behind it, but it sees what its user sees.
	None Isolation = "none"
)

// Var is a variable of the command's environment. Its value leaves the type only through a pipe into the cell.
type Var struct {
	Name  string
	Value secret.Value
}

// Limits bound a cell. The zero value of each means its default.
type Limits struct {
	// Memory in bytes for all processes of the cell together, beside what Disk allows. What the kernel holds for them, such
	// as the buffers of sockets, is not counted. The default is 1 GiB.
	Memory int64
	// Processes bounds processes and threads together. The default is 256.
	Processes int
	// Files bounds the open files of each process. The default is 1024.
	Files int
	// CPUs is how many processors may be used at once. The default is 1.
	CPUs int
	// Disk in bytes for HOME, TMPDIR and /dev/shm together; without namespaces, for each file. The default is 256 MiB.
	Disk int64
}

const (
	defaultMemory    = 1 << 30
	defaultProcesses = 256
	defaultFiles     = 1024
	defaultCPUs      = 1
	defaultDisk      = 256 << 20
)

// Spec says what to run and what it may see.
type Spec struct {
	// Command is the argument vector. Its first element is absolute, or a name to look for in /usr/local/bin, /usr/bin and /bin.
	Command []string
	// Env is what the command finds in its environment beside PATH, HOME, LANG and TMPDIR, which cell sets.
	Env []Var
	// Read lists absolute paths to show read-only beside the system's programs and libraries.
	Read []string
	// Write lists absolute paths to show writable. They may not be root's. Where the command has a user of its own (the
	// connector is privileged), it acts there as the path's owner; files that only their owner may read stay closed to it elsewhere.
	Write []string
	// Hide lists absolute paths that stay invisible although a shown path contains them. It does nothing for a path that
	// does not exist when the cell starts.
	Hide []string
	// Network leaves the command in the host's network; otherwise it has an empty one with only a loopback of its own.
	Network bool
	// Isolation is how far apart the command runs. With None, Read, Write, Hide and Network have no effect.
	Isolation Isolation
	Limits    Limits
}

// searchPath is where names of commands are looked for, and the PATH inside.
const searchPath = "/usr/local/bin:/usr/bin:/bin"

// reserved are the variables that cell sets.
var reserved = []string{"PATH", "HOME", "LANG", "TMPDIR"}

func (l Limits) withDefaults() Limits {
	if l.Memory == 0 {
		l.Memory = defaultMemory
	}
	if l.Processes == 0 {
		l.Processes = defaultProcesses
	}
	if l.Files == 0 {
		l.Files = defaultFiles
	}
	if l.CPUs == 0 {
		l.CPUs = defaultCPUs
	}
	if l.Disk == 0 {
		l.Disk = defaultDisk
	}
	return l
}

// The least that a command can run with.
const (
	minMemory    = 16 << 20
	minProcesses = 1
	minFiles     = 16
	minDisk      = 1 << 20
)

func (l Limits) validate() error {
	switch {
	case l.Memory < minMemory:
		return fmt.Errorf("%w: a memory limit of %s; give at least %s", ErrSpec, size(l.Memory), size(minMemory))
	case l.Processes < minProcesses:
		return fmt.Errorf("%w: a limit of %d processes; give at least %d", ErrSpec, l.Processes, minProcesses)
	case l.Files < minFiles:
		return fmt.Errorf("%w: a limit of %d files; give at least %d", ErrSpec, l.Files, minFiles)
	case l.CPUs < 1:
		return fmt.Errorf("%w: a limit of %d CPUs; give at least 1", ErrSpec, l.CPUs)
	case l.Disk < minDisk:
		return fmt.Errorf("%w: a disk limit of %s; give at least %s", ErrSpec, size(l.Disk), size(minDisk))
	}
	return nil
}

// validate looks at the Spec alone, not at the system. It applies no default but that of Limits.
func (s Spec) validate() error {
	switch s.Isolation {
	case "", Namespaces, None:
	default:
		return fmt.Errorf("%w: isolation %q; write %q or %q", ErrSpec, s.Isolation, Namespaces, None)
	}
	if len(s.Command) == 0 || s.Command[0] == "" {
		return fmt.Errorf("%w: no command", ErrSpec)
	}
	if name := s.Command[0]; !filepath.IsAbs(name) && strings.ContainsRune(name, '/') {
		return fmt.Errorf("%w: command %q; write an absolute path, or a name without slashes", ErrSpec, name)
	}
	for i, arg := range s.Command {
		if !plain(arg) {
			return fmt.Errorf("%w: argument %d of the command holds a NUL byte or is not UTF-8", ErrSpec, i)
		}
	}
	for _, v := range s.Env {
		switch {
		case v.Name == "" || strings.Contains(v.Name, "=") || !plain(v.Name):
			return fmt.Errorf("%w: %q is no name for a variable", ErrSpec, v.Name)
		case slices.Contains(reserved, v.Name):
			return fmt.Errorf("%w: the variable %s is set by the cell; leave it out", ErrSpec, v.Name)
		case !plain(v.Value.Reveal()):
			return fmt.Errorf("%w: the value of the variable %s holds a NUL byte or is not UTF-8", ErrSpec, v.Name)
		}
	}
	for _, paths := range [][]string{s.Read, s.Write, s.Hide} {
		for _, path := range paths {
			if !filepath.IsAbs(path) || !plain(path) {
				return fmt.Errorf("%w: the path %q; write an absolute one", ErrSpec, path)
			}
			if filepath.Clean(path) == "/" {
				return fmt.Errorf("%w: the path /; name what is needed of it", ErrSpec)
			}
		}
	}
	return s.Limits.withDefaults().validate()
}

// plain says whether a text can be handed to the command as it is: the kernel ends it at NUL, and the order is JSON.
func plain(text string) bool { return utf8.ValidString(text) && !strings.ContainsRune(text, 0) }

// isolated says whether the Spec asks for namespaces.
func (s Spec) isolated() bool { return s.Isolation != None }

// supported says whether this system has what the Spec's isolation rests on at all.
func (s Spec) supported() error {
	if s.isolated() && runtime.GOOS != "linux" {
		return fmt.Errorf("%w: isolation needs Linux; set isolation to %q to run the command without", ErrUnsupported, None)
	}
	return nil
}

// within says whether path is dir or lies below it. Both are clean and absolute.
func within(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}

// size writes a number of bytes as people do.
func size(bytes int64) string {
	for _, unit := range []struct {
		of   int64
		name string
	}{{1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}} {
		if bytes >= unit.of && bytes%unit.of == 0 {
			return fmt.Sprintf("%d %s", bytes/unit.of, unit.name)
		}
	}
	return fmt.Sprintf("%d bytes", bytes)
}
