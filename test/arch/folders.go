package arch

import (
	"fmt"
	"slices"
	"strings"
)

// folder is a row of the import table: what a top-level folder's packages may import of ours, directly.
type folder struct {
	// may lists top-level folders. The folder itself is always allowed.
	may []string
	// all allows every folder; test alone stays out of reach.
	all bool
	// testsMay adds folders for the folder's tests.
	testsMay []string
	// testsAll lets the folder's tests import everything, because they exist to start the whole.
	testsAll bool
	// why is the reason that a violation shows.
	why string
	// never gives a closer reason for the folders whose import would break a promise.
	never map[string]string
}

// throughLoader: a type that decodes itself is tested through the loader that production uses.
var throughLoader = []string{"config"}

// folders is the import table. A new row or a new entry in a row is a new edge of the architecture: it needs a decision record.
var folders = map[string]folder{
	"cmd": {all: true, why: "cmd ties the parts together; nothing else does"},
	"gateway": {
		may: []string{"tunnel", "auth", "mcp", "store", "secret", "audit", "telemetry"}, testsMay: throughLoader,
		why: "the gateway is public: what it cannot import it cannot leak",
		never: map[string]string{
			"credential": "a gateway that is taken over must have no code path to a credential",
			"policy":     "the connector alone decides a call; a gateway that decides would be believed",
			"connector":  "the two sides share leaves only, so that either can be replaced or attacked alone",
			"config":     "only cmd reads configuration files",
		},
	},
	"connector": {
		may: []string{"tunnel", "auth", "mcp", "policy", "credential", "address", "secret", "cell", "audit", "telemetry"}, testsMay: throughLoader,
		why: "the private side needs exactly these",
		never: map[string]string{
			"gateway": "the connector takes nothing from the gateway but bytes",
			"store":   "hard state belongs to the gateway",
			"config":  "only cmd reads configuration files",
		},
	},
	"policy":     {may: []string{"auth", "mcp"}, testsMay: throughLoader, why: "policy is a pure decision on who and what"},
	"tunnel":     {why: "tunnel moves bytes; it must stay ignorant of HTTP, MCP, identity and secrets"},
	"auth":       {may: []string{"secret", "address"}, testsMay: throughLoader, why: "auth answers who is calling and nothing else"},
	"mcp":        {may: []string{"secret"}, why: "mcp knows the protocol, not who speaks it nor how it travels"},
	"credential": {may: []string{"secret", "address"}, testsMay: throughLoader, why: "credential puts a value in; it does not know who asked"},
	"address":    {why: "address judges an address and knows nobody"},
	"cell":       {may: []string{"secret"}, why: "cell keeps strangers' code apart; it knows no protocol, and whoever knows one must not be needed for that"},
	"secret":     {why: "the unprintable value is the bottom leaf"},
	"audit":      {testsMay: throughLoader, why: "audit records events that others describe"},
	"store":      {may: []string{"secret"}, why: "store keeps state; it decides nothing"},
	"telemetry":  {may: []string{"secret"}, testsMay: throughLoader, why: "telemetry is set-up and names; it must not learn the domain"},
	"config":     {may: []string{"secret"}, why: "config decodes files and knows no role"},
	"deploy":     {testsAll: true, why: "deploy holds files to install, not logic"},
	"docs":       {testsAll: true, why: "docs holds text, not logic"},
	"test":       {all: true, why: "tests start the whole"},
}

var foldersRule = Rule{
	Name:     "folders",
	Absolute: true,
	Reason:   "the top level is the architecture: each folder imports only what the table allows; a new edge needs a decision record in docs/decisions",
	Check: func(t *Tree) []Violation {
		var found []Violation
		for _, p := range t.Packages {
			row, known := folders[p.Top()]
			if !known {
				found = append(found, t.violation(p.Files[0].Syntax.Package,
					"folder %q is not in the import table; add a row with its reason", p.Top()))
				continue
			}
			for _, f := range p.Files {
				for _, spec := range imports(f) {
					if dir, ok := spec.local(); ok {
						if why, bad := row.forbids(p.Top(), dir, f.Test); bad {
							found = append(found, t.violation(spec.pos, "%s imports %s: %s", p.Dir, dir, why))
						}
					}
				}
			}
		}
		return found
	},
}

// forbids says whether a file of the top-level folder own may not import dir, and why not.
func (row folder) forbids(own, dir string, test bool) (why string, bad bool) {
	top, _, _ := strings.Cut(dir, "/")
	switch {
	case top == own:
		return "", false
	case top == "test":
		return "test is imported by nothing; a test that needs the whole stack lives under test", true
	case row.all, test && row.testsAll, test && slices.Contains(row.testsMay, top), slices.Contains(row.may, top):
		return "", false
	case row.never[top] != "":
		return row.never[top], true
	}
	allowed := "nothing of ours"
	if len(row.may) > 0 {
		allowed = strings.Join(row.may, ", ")
	}
	return fmt.Sprintf("%s (it may import %s)", row.why, allowed), true
}

var testHelpersRule = Rule{
	Name:   "test-helpers",
	Reason: "what ships holds no test code: fakes in a binary are fakes that an attacker can reach",
	Check: func(t *Tree) []Violation {
		helpers := map[string]bool{}
		for _, p := range t.Packages {
			helpers[p.Dir] = p.Helper()
		}
		var found []Violation
		for _, p := range t.Packages {
			if p.Helper() {
				continue
			}
			for _, f := range p.Production() {
				for _, spec := range imports(f) {
					dir, ours := spec.local()
					if ours && helpers[dir] || withinAny(spec.path, []string{"testing", "net/http/httptest"}) {
						found = append(found, t.violation(spec.pos, "%s imports the test helper %s", p.Dir, spec.path))
					}
				}
			}
		}
		return found
	},
}
