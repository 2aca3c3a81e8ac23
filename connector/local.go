package connector

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
	"golang.org/x/sync/singleflight"

	"sallyport.dev/cell"
	"sallyport.dev/credential"
	"sallyport.dev/credential/source/vault"
	"sallyport.dev/credential/watch"
	"sallyport.dev/secret"
)

// Variable is one variable of a command's environment: a text, or a secret.
type Variable struct {
	// Text is the value, unless Secret is set.
	Text string
	// Secret refers to the value, which the command then has: it is exposed to it.
	Secret secret.Ref
}

// UnmarshalYAML reads a plain value, or { secret: REF }.
func (v *Variable) UnmarshalYAML(node *yaml.Node) error {
	const form = "write a text, or { secret: file:/path } for what must not stand here"
	if node.Kind == yaml.ScalarNode {
		v.Text = node.Value
		return nil
	}
	if node.Kind != yaml.MappingNode || len(node.Content) != 2 || node.Content[0].Value != "secret" || node.Content[1].Kind != yaml.ScalarNode {
		return errors.New(form)
	}
	return v.Secret.UnmarshalText([]byte(node.Content[1].Value))
}

// Limits bound what one process of a command may use, with all that it starts.
type Limits struct {
	// MemoryMiB is the memory of all its processes together, in MiB. Default 1024.
	MemoryMiB int64 `yaml:"memory_mib"`
	// Processes is how many processes and threads there may be. Default 256.
	Processes int `yaml:"processes"`
	// Files is how many files each of its processes may have open. Default 1024.
	Files int `yaml:"files"`
	// CPUs is on how many processors it may run at once. Default 1.
	CPUs int `yaml:"cpus"`
	// DiskMiB is how much may be in its HOME, TMPDIR and /dev/shm together, in MiB; they are kept in memory. Default 256.
	DiskMiB int64 `yaml:"disk_mib"`
}

const (
	defaultIdleTimeout  = 10 * time.Minute
	minIdleTimeout      = time.Second
	maxIdleTimeout      = 24 * time.Hour
	defaultMaxProcesses = 32
	maxMaxProcesses     = 1024
	maxCommand          = 64 << 10 // bytes of a command line
)

// isLocal reports whether the server is a command.
func (s *Server) isLocal() bool { return len(s.Command) > 0 }

// localKeys names a key that only a command has, if one is set.
func (s *Server) localKeys() string {
	switch {
	case len(s.Env) > 0:
		return "env"
	case s.Isolation != "":
		return "isolation"
	case s.Network != "":
		return "network"
	case len(s.Read) > 0:
		return "read"
	case len(s.Write) > 0:
		return "write"
	case s.Limits != Limits{}:
		return "limits"
	case s.IdleTimeout != 0:
		return "idle_timeout"
	case s.TraceMeta:
		return "trace_meta"
	}
	return ""
}

// checkLocal checks a server that is a command.
func (s *Server) checkLocal() error {
	switch {
	case s.URL != "" || s.SSEURL != "":
		return errors.New("command: a server has either a command or a url")
	case len(s.Credentials) > 0:
		return errors.New("credentials: they are put into requests over HTTP; a command gets secrets by env: { NAME: { secret: file:/path } }")
	case s.CAFile != "" || s.AllowPlaintext:
		return errors.New("ca_file, allow_plaintext: they are for a server with a url")
	case s.Command[0] == "" || len(strings.Join(s.Command, " ")) > maxCommand || strings.Contains(strings.Join(s.Command, " "), "\x00"):
		return errors.New("command: write a list such as [github-mcp-server, stdio]")
	case s.Isolation != "" && s.Isolation != cell.Namespaces && s.Isolation != cell.None:
		return fmt.Errorf("isolation: %s (the default) or none is allowed", cell.Namespaces)
	case s.Network != "" && s.Network != networkHost && s.Network != networkNone:
		return errors.New("network: host (the default) or none is allowed")
	case s.Network == networkNone && s.Isolation == cell.None:
		return errors.New("network: none needs isolation")
	case s.IdleTimeout < minIdleTimeout || s.IdleTimeout > maxIdleTimeout:
		return fmt.Errorf("idle_timeout: %s to %s are allowed", minIdleTimeout, maxIdleTimeout)
	case s.Limits.MemoryMiB < 0 || s.Limits.Processes < 0 || s.Limits.Files < 0 || s.Limits.CPUs < 0 || s.Limits.DiskMiB < 0:
		return errors.New("limits: they are numbers above 0")
	}
	for _, path := range slices.Concat(s.Read, s.Write) {
		if !filepath.IsAbs(path) {
			return errors.New("read, write: write absolute paths")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.Env)) {
		v := s.Env[name]
		if err := errors.Join(checkVariable(name, v), checkPrincipal(v.Secret, s.Issuer != "")); err != nil {
			return fmt.Errorf("env.%s: %w", name, err)
		}
	}
	return nil
}

// The words of the key network.
const (
	networkHost = "host"
	networkNone = "none"
)

func checkVariable(name string, v Variable) error {
	switch {
	case name == "" || strings.ContainsAny(name, "=\x00") || strings.ContainsAny(v.Text, "\x00"):
		return errors.New("this cannot stand in an environment")
	case slices.Contains([]string{"PATH", "HOME", "LANG", "TMPDIR"}, name):
		return errors.New("PATH, HOME, LANG and TMPDIR are set for the command")
	}
	return nil
}

// command is an upstream that is a local command.
type command struct {
	name     string
	cfg      Server
	spec     cell.Spec // without the environment
	env      []variable
	guard    *guard
	hide     func() []string
	children *children
	ready    readiness
	starts   singleflight.Group // of shared processes, by owner
	asks     singleflight.Group // for the revisions that it knows, by owner
}

// variable is one variable with the source of its value.
type variable struct {
	name   string
	text   string
	source credential.Source // nil for a text
}

// commandOrigin stands for the origin that a command does not have. The name cannot be looked up (RFC 6761 §6.4).
const commandOrigin = "http://command.invalid"

// newCommand makes the upstream. It starts nothing.
func (c *Connector) newCommand(name string, cfg Server, guard *guard) (*upstream, error) {
	cmd := &command{name: name, cfg: cfg, guard: guard, hide: c.hidden, children: c.children, ready: newReadiness()}
	cmd.spec = cell.Spec{
		Command: cfg.Command, Read: cfg.Read, Write: cfg.Write,
		Network: cfg.Network != networkNone, Isolation: cfg.Isolation,
		Limits: cell.Limits{
			Memory: cfg.Limits.MemoryMiB << 20, Processes: cfg.Limits.Processes, Files: cfg.Limits.Files,
			CPUs: cfg.Limits.CPUs, Disk: cfg.Limits.DiskMiB << 20,
		},
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.Env)) {
		v := variable{name: name, text: cfg.Env[name].Text}
		if ref := cfg.Env[name].Secret; !ref.IsZero() {
			var err error
			if v.source, err = c.keeper.Source(ref); err != nil {
				return nil, fmt.Errorf("env.%s: %w", name, err)
			}
		}
		cmd.env = append(cmd.env, v)
	}
	mcp, _ := url.Parse(commandOrigin + "/mcp") // constants
	sse, _ := url.Parse(commandOrigin + "/sse")
	return &upstream{name: name, cfg: cfg, url: mcp, sse: sse, timeout: cfg.CallTimeout, transport: cmd, guard: guard, command: cmd}, nil
}

// environment is what a process of the command is given.
type environment struct {
	vars    []cell.Var
	secrets []secret.Value // those of its values that are secret
	version credential.Version
}

// environment fetches the values of the variables for a principal.
func (c *command) environment(ctx context.Context, who credential.Principal) (env environment, err error) {
	if err := c.cfg.admits(who); err != nil {
		return env, err
	}
	secrets := 0
	for _, v := range c.env {
		value := secret.New(v.text)
		if v.source != nil {
			got, err := watch.Over(ctx, secrets, func() (credential.Fetched, error) { return v.source.Fetch(ctx, who) })
			secrets++
			if err != nil {
				return env, fmt.Errorf("env %s: %w", v.name, err)
			}
			value = got.Values[0]
			env.secrets = append(env.secrets, value)
			env.version = env.version.Join(got.Version)
			c.guard.use(value, got.Expires)
		}
		env.vars = append(env.vars, cell.Var{Name: v.name, Value: value})
	}
	return env, nil
}

// check fetches every secret that is not a principal's and drops it, and tries whether a cell can be made.
func (c *command) check(ctx context.Context) (facts []string, errs []error) {
	for _, v := range c.env {
		if v.source == nil || namesPrincipal([]secret.Ref{c.cfg.Env[v.name].Secret}) {
			continue
		}
		if _, err := v.source.Fetch(ctx, credential.Principal{}); err != nil {
			errs = append(errs, fmt.Errorf("env %s: %w", v.name, err))
		}
	}
	isolation, err := c.children.probe(ctx, c.spec)
	if err != nil {
		return nil, append(errs, fmt.Errorf("isolation: %w", err))
	}
	return []string{"isolation: " + isolation}, errs
}

// exposed says which secrets the command gets to see.
func (c *command) exposed() (warnings []string) {
	for _, v := range c.env {
		if v.source != nil {
			warnings = append(warnings, fmt.Sprintf("servers.%s: env %s is exposed to child: the command can read it, and send it anywhere it can reach", c.name, v.name))
		}
	}
	if c.cfg.Isolation == cell.None {
		warnings = append(warnings, fmt.Sprintf("servers.%s: isolation is NONE: the command can read what this connector can, its secrets and memory too", c.name))
	}
	return warnings
}

// hidden are the files and directories that no command may see now.
func (c *Connector) hidden() []string {
	now := c.current()
	return now.cfg.hidden()
}

// hidden are the files and directories of ours that no command may see.
func (c *Config) hidden() []string {
	var paths []string
	add := func(ref secret.Ref) {
		if path, ok := ref.Path(); ok {
			paths = append(paths, path)
		}
	}
	for _, path := range []string{c.StateDir, c.File} {
		if path != "" {
			paths = append(paths, path)
		}
	}
	add(c.TunnelToken)
	for _, ref := range slices.Concat(c.allRefs(), logins(&c.Sources.Vault.Auth)) {
		add(ref)
	}
	slices.Sort(paths)
	return slices.Compact(paths)
}

// logins are the references by which we log in at Vault.
func logins(a *vault.Auth) []secret.Ref {
	refs := []secret.Ref{a.Token}
	if a.AppRole != nil {
		refs = append(refs, a.AppRole.RoleID, a.AppRole.SecretID)
	}
	if a.Kubernetes != nil {
		refs = append(refs, a.Kubernetes.JWT)
	}
	if a.JWT != nil {
		refs = append(refs, a.JWT.JWT)
	}
	return refs
}
