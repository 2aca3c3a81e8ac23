package arch

import (
	"go/ast"
	"slices"
)

// ban forbids names of a package outside the folders that need them.
type ban struct {
	rule string
	from string
	// names are the forbidden identifiers; nil stands for all.
	names []string
	// in lists the folders where the ban holds; nil stands for everywhere.
	in []string
	// except lists the folders where the names are allowed.
	except []string
	// notFiles lists the files where the names are allowed, as folder/name.
	notFiles []string
	// tests says that the ban holds in test files and test helpers too.
	tests bool
	why   string
}

// bans are grouped into rules by name; a rule's reason is that of its first row.
var bans = []ban{
	{rule: "environment", from: "os", names: []string{"Getenv", "LookupEnv", "Environ", "ExpandEnv", "Setenv", "Unsetenv", "Clearenv"}, except: []string{"cmd", "secret"},
		why: "only cmd reads the environment, and secret for its env: references: what a process depends on is then visible in one place"},
	{rule: "environment", from: "net/http", names: []string{"ProxyFromEnvironment"}, except: []string{"cmd"},
		why: "a proxy from the environment would carry upstream calls, with their credentials, elsewhere; cmd passes the tunnel's proxy in"},
	{rule: "environment", from: "golang.org/x/net/http/httpproxy", names: []string{"FromEnvironment"}, except: []string{"cmd"},
		why: "a proxy from the environment would carry upstream calls, with their credentials, elsewhere; cmd passes the tunnel's proxy in"},

	{rule: "http-defaults", from: "net/http", names: []string{"DefaultClient", "DefaultTransport", "DefaultServeMux", "Get", "Head", "Post", "PostForm"},
		why: "the default client has no timeout, follows redirects and reads proxies from the environment"},
	{rule: "http-defaults", from: "net/http", names: []string{"ListenAndServe", "ListenAndServeTLS", "Serve", "ServeTLS", "Handle", "HandleFunc"},
		why: "the package-level servers have no timeouts and share one mux in the process"},
	{rule: "http-defaults", from: "net/http/httputil", names: []string{"ReverseProxy", "NewSingleHostReverseProxy"},
		why: "with a streamed HTTP/1.1 request body it cuts about one SSE answer in a hundred short; forward with Request.Write and ReadResponse"},

	{rule: "strict-json", from: "encoding/json", names: []string{"Unmarshal", "NewDecoder", "Decoder", "Valid"}, in: []string{"gateway", "connector", "mcp", "tunnel", "auth"},
		why: "encoding/json accepts duplicate keys, case variants and bad UTF-8, so two readers of one body can disagree; take jsontext"},

	{rule: "no-sleep", from: "time", names: []string{"Sleep"},
		why: "a sleep cannot be cancelled; select on a timer and ctx.Done"},

	{rule: "global-output", from: "fmt", names: []string{"Print", "Printf", "Println"}, except: []string{"cmd"},
		why: "standard output belongs to cmd; libraries return values and log through the slog.Logger of their Config"},
	{rule: "global-output", from: "os", names: []string{"Stdout", "Stderr", "Stdin"}, except: []string{"cmd"},
		why: "the process's files belong to cmd, which passes them in"},
	{rule: "global-output", from: "log", names: []string{"Print", "Printf", "Println", "Fatal", "Fatalf", "Fatalln", "Panic", "Panicf", "Panicln", "Default", "SetOutput"}, except: []string{"cmd"},
		why: "the global logger escapes redaction and levels"},
	{rule: "global-output", from: "log/slog", names: []string{"Debug", "Info", "Warn", "Error", "Log", "DebugContext", "InfoContext", "WarnContext", "ErrorContext", "Default", "SetDefault"}, except: []string{"cmd"},
		why: "a logger arrives in Config, so that a test reads what was recorded"},
	{rule: "global-output", from: "os", names: []string{"Exit"}, except: []string{"cmd"},
		why: "only cmd turns an error into an exit code; os.Exit runs no deferred call"},

	{rule: "no-listener", from: "net", names: []string{"Listen", "ListenTCP", "ListenConfig", "FileListener"}, in: []string{"connector", "policy", "credential", "auth", "mcp", "cell"},
		why: "the connector opens no door: it dials out, and nothing on its side may accept a connection"},
	{rule: "no-listener", from: "net", names: []string{"ListenUnix"}, in: []string{"connector", "policy", "credential", "auth", "mcp", "cell"}, notFiles: []string{"connector/control.go"},
		why: "one Unix socket answers the operator of the same machine, who owns it; no other"},
	{rule: "no-listener", from: "crypto/tls", names: []string{"Listen"}, in: []string{"connector", "policy", "credential", "auth", "mcp", "cell"},
		why: "the connector opens no door: it dials out, and nothing on its side may accept a connection"},
}

// selectorRules makes one rule of each group of bans.
func selectorRules() []Rule {
	var rules []Rule
	for i, b := range bans {
		if i > 0 && bans[i-1].rule == b.rule {
			continue
		}
		rules = append(rules, Rule{Name: b.rule, Reason: b.why, Check: func(t *Tree) []Violation {
			var found []Violation
			for _, row := range bans {
				if row.rule == b.rule {
					found = append(found, row.check(t)...)
				}
			}
			return found
		}})
	}
	return rules
}

func (b ban) check(t *Tree) []Violation {
	var found []Violation
	for _, p := range t.Packages {
		if b.in != nil && !withinAny(p.Dir, b.in) || withinAny(p.Dir, b.except) || !b.tests && p.Helper() {
			continue
		}
		ty := t.resolve(p)
		for _, f := range p.Files {
			if f.Test && !b.tests || slices.Contains(b.notFiles, f.Path) {
				continue
			}
			ast.Inspect(f.Syntax, func(n ast.Node) bool {
				e, ok := n.(ast.Expr)
				if !ok {
					return true
				}
				if from, name, ok := ty.selected(e); ok && from == b.from && (b.names == nil || ty.isSelected(e, from, b.names...)) {
					found = append(found, t.violation(e.Pos(), "%s.%s: %s", from, name, b.why))
				}
				return true
			})
		}
	}
	return found
}
