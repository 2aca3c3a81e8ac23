package cell

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// order is what a warden is told, over a pipe. It is the only place where the values of the environment stand in the open.
type order struct {
	// Probe asks for everything but the command itself.
	Probe    bool     `json:"probe,omitempty"`
	Isolated bool     `json:"isolated,omitempty"`
	Argv     []string `json:"argv"`
	// Path is the command's file, as given or as found by its name.
	Path string `json:"path"`
	// Env is complete but for what depends on where HOME and TMPDIR are.
	Env []string `json:"env"`
	// Show is ordered so that what contains comes before what is contained.
	Show    []shown  `json:"show,omitempty"`
	Hide    []string `json:"hide,omitempty"`
	Network bool     `json:"network,omitempty"`
	// Home and Temp are where HOME and TMPDIR point.
	Home string `json:"home"`
	Temp string `json:"temp"`
	// User is the user and group to become, or 0 to stay what the warden is.
	User int `json:"user,omitempty"`
	// Slot numbers the live cells of a nursery.
	Slot int `json:"-"`
	// FirstCPU chooses, round the processors that there are, where those of the cell begin.
	FirstCPU int    `json:"first_cpu"`
	Limits   Limits `json:"limits"`
}

// shown is a path that the command sees. Real has no symbolic link in it; if Path differs, it becomes a link to Real.
type shown struct {
	Path  string `json:"path"`
	Real  string `json:"real"`
	Write bool   `json:"write,omitempty"`
	// Owner is the descriptor of the user namespace that makes the cell's user the owner, or 0.
	Owner int `json:"owner,omitempty"`
}

// insideHome and insideTemp are HOME and TMPDIR in a cell with namespaces.
const (
	insideHome = "/cell"
	insideTemp = "/tmp"
)

// plan turns a valid Spec into an order, looking at the file system for all that the Spec names.
func (s Spec) plan() (order, error) {
	path, real, err := findCommand(s.Command[0])
	if err != nil {
		return order{}, err
	}
	search := searchPath
	if dir := filepath.Dir(path); !slices.Contains(filepath.SplitList(searchPath), dir) {
		search += ":" + dir
	}
	o := order{
		Isolated: s.isolated(), Argv: s.Command, Path: path, Network: s.Network, Home: insideHome, Temp: insideTemp,
		Env: []string{"PATH=" + search, "LANG=C.UTF-8"}, Limits: s.Limits.withDefaults(),
	}
	for _, v := range s.Env {
		o.Env = append(o.Env, v.Name+"="+v.Value.Reveal())
	}
	if !o.Isolated {
		return o, nil
	}
	for _, path := range s.Hide {
		real, err := filepath.EvalSymlinks(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return order{}, fmt.Errorf("%w: hide %s: %w", ErrSpec, path, cause(err))
		}
		o.Hide = append(o.Hide, real)
	}
	o.Show = append(o.Show, shown{Path: path, Real: real})
	for _, group := range []struct {
		paths []string
		write bool
	}{{s.Read, false}, {s.Write, true}} {
		for _, path := range group.paths {
			real, err := filepath.EvalSymlinks(path)
			if err != nil {
				return order{}, fmt.Errorf("%w: show %s: %w; check the path", ErrSpec, path, cause(err))
			}
			o.Show = append(o.Show, shown{Path: filepath.Clean(path), Real: real, Write: group.write})
		}
	}
	for _, show := range o.Show {
		if err := show.check(o); err != nil {
			return order{}, err
		}
	}
	slices.SortStableFunc(o.Show, func(a, b shown) int { return strings.Compare(a.Real, b.Real) })
	return o, nil
}

// check refuses to show what the cell has of its own, what is hidden, and what a command may have put in a path's place.
func (s shown) check(o order) error {
	for _, own := range []string{insideHome, insideTemp, "/dev", "/proc"} {
		if s.Real == own {
			return fmt.Errorf("%w: show %s: the cell has a %s of its own; name what is needed below it", ErrSpec, s.Path, own)
		}
	}
	for _, hide := range o.Hide {
		if within(s.Real, hide) {
			return fmt.Errorf("%w: %s is to be shown, but lies in %s, which is hidden from every cell; put it elsewhere", ErrSpec, s.Path, hide)
		}
	}
	for _, other := range o.Show {
		if other.Write && s.Path != other.Path && within(s.Path, other.Real) && !within(s.Real, other.Real) && !systems(s.Real) {
			return fmt.Errorf("%w: %s leads to %s by a link that the command itself may have made in %s; write the path that it leads to", ErrSpec, s.Path, s.Real, other.Path)
		}
	}
	return nil
}

// systemDirs are shown in every cell with namespaces, if they exist.
var systemDirs = []string{"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store", "/gnu/store"}

// systems says whether a path is shown anyway, read-only.
func systems(path string) bool {
	return slices.ContainsFunc(systemDirs, func(dir string) bool { return within(path, dir) })
}

// findCommand returns the command's file as named, and where it really is.
func findCommand(name string) (path, real string, err error) {
	if filepath.IsAbs(name) {
		path = filepath.Clean(name)
		real, err = executable(path)
		return path, real, err
	}
	for _, dir := range filepath.SplitList(searchPath) {
		path = filepath.Join(dir, name)
		if real, err = executable(path); err == nil {
			return path, real, nil
		}
	}
	return "", "", fmt.Errorf("%w: no such command: %s is not in %s; install it, or write its absolute path", ErrSpec, name, searchPath)
}

func executable(path string) (real string, err error) {
	real, err = filepath.EvalSymlinks(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("%w: no such command: %s", ErrSpec, path)
	}
	if err != nil {
		return "", fmt.Errorf("%w: command %s: %w", ErrSpec, path, cause(err))
	}
	info, err := os.Stat(real)
	switch {
	case err != nil:
		return "", fmt.Errorf("%w: command %s: %w", ErrSpec, path, cause(err))
	case !info.Mode().IsRegular():
		return "", fmt.Errorf("%w: command %s is not a regular file", ErrSpec, path)
	case info.Mode().Perm()&0o111 == 0:
		return "", fmt.Errorf("%w: command %s is not executable; run: chmod +x %s", ErrSpec, path, path)
	}
	return real, nil
}

// cause drops the path from an error whose path is said already.
func cause(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}
