package arch

import (
	"path"
	"slices"
)

// importLimit says which folders may import a path, or which may not, and why.
type importLimit struct {
	// path also stands for what lies below it.
	path string
	// only lists the folders that may import it; nil means that none may, unless except is set.
	only []string
	// notItself takes a folder, but none below it, out of only.
	notItself string
	// not lists the folders that may not; all others may.
	not []string
	// notFiles are the names of files that not spares.
	notFiles []string
	// files narrows only to files of these names.
	files []string
	// tests exempts test files and test helpers.
	tests bool
	why   string
}

// modules is the dependency table: a module that has no row may not be imported. Rows are matched longest path first.
var modules = []importLimit{
	{path: "github.com/quic-go/quic-go", only: []string{"tunnel", "test"}, why: "one package knows which transport carries a session"},
	{path: "github.com/hashicorp/yamux", only: []string{"tunnel", "test"}, why: "one package knows which transport carries a session"},
	{path: "github.com/golang-jwt/jwt", only: []string{"auth", "credential", "test"}, why: "tokens are parsed in one place, with one list of algorithms"},
	{path: "github.com/mark3labs/mcp-go", only: []string{"mcp", "cmd", "test"}, notItself: "mcp", why: "it re-encodes what it reads, so it must never stand in a call's way: built-in servers under mcp, and the client commands"},
	{path: "github.com/modelcontextprotocol/go-sdk", only: []string{"test"}, why: "it is the independent implementation that our own is tested against"},
	{path: "github.com/jackc/pgx/v5", only: []string{"mcp"}, notItself: "mcp", why: "one package speaks the protocol of PostgreSQL, and lets pgx read nothing from the environment: mcp/postgres"},
	{path: "github.com/go-sql-driver/mysql", only: []string{"mcp", "test"}, notItself: "mcp", why: "databases are spoken to by the built-in servers under mcp alone"},
	{path: "github.com/spf13/cobra", only: []string{"cmd"}, why: "only cmd reads flags"},
	{path: "github.com/spf13/pflag", only: []string{"cmd"}, why: "only cmd reads flags"},
	{path: "cel.dev/cel-go", only: []string{"policy"}, why: "conditions of rules are read and evaluated in one place"},
	{path: "go.yaml.in/yaml/v3", only: []string{"config", "policy", "audit", "credential", "telemetry", "gateway", "connector", "cmd", "test"}, why: "configuration is decoded by config; others only hold the types that decode themselves"},
	{path: "github.com/go-json-experiment/json", only: []string{"audit", "mcp", "auth", "credential", "gateway", "connector", "cmd", "test"}, why: "the strict parser belongs where strangers' JSON arrives"},
	{path: "github.com/aws/smithy-go/aws-http-auth", only: []string{"credential"}, why: "signatures of AWS are made where credentials are put in"},
	{path: "go.opentelemetry.io/otel", only: []string{"telemetry", "gateway", "connector", "cmd", "test"}, why: "only the two roles record; leaves report by callbacks"},
	{path: "go.opentelemetry.io/otel/sdk", only: []string{"telemetry", "test"}, tests: true, why: "what records knows the API alone; the SDK is set up in one place"},
	{path: "go.opentelemetry.io/otel/exporters", only: []string{"telemetry"}, tests: true, why: "collectors are talked to in one place, which bounds what they can do"},
	{path: "go.opentelemetry.io/contrib", only: []string{"telemetry"}, why: "the runtime's metrics and the bridge from slog are set up where all else is"},
	{path: "github.com/go-logr/logr", only: []string{"telemetry"}, why: "it is what the SDK logs by, which is switched off"},
	{path: "go.opentelemetry.io/proto", only: []string{"telemetry", "test"}, tests: true, why: "spans are written for the wire in one place, and tests read it"},
	{path: "google.golang.org/grpc", only: []string{"telemetry"}, tests: true, why: "OTLP over gRPC, and nothing else here"},
	{path: "google.golang.org/protobuf", only: []string{"telemetry", "test"}, tests: true, why: "spans are written for the wire in one place, and tests read it"},
	{path: "github.com/prometheus", only: []string{"telemetry", "test"}, tests: true, why: "the format of Prometheus is written in one place"},
	{path: "github.com/ncruces/go-sqlite3", only: []string{"mcp"}, notItself: "mcp", why: "it is the SQLite of the built-in database server, and of nothing else"},
	{path: "github.com/landlock-lsm/go-landlock", only: []string{"cell"}, why: "one package gives up rights, and only in the process that becomes a cell"},
	{path: "kernel.org/pub/linux/libs/security/libcap/psx", only: []string{"cell"}, why: "it calls the kernel from every thread; go-landlock brings it"},
	{path: "go.uber.org/goleak", tests: true, why: "it is for tests"},
	{path: "golang.org/x/net/nettest", tests: true, why: "it is for tests"},
	{path: "golang.org/x/crypto", not: []string{}, why: "maintained with Go"},
	{path: "golang.org/x/oauth2", only: []string{"credential"}, why: "access tokens are got in one place, which lets no more than a bounded answer through to it"},
	{path: "golang.org/x/net", not: []string{}, why: "maintained with Go"},
	{path: "golang.org/x/sync", not: []string{}, why: "maintained with Go"},
	{path: "golang.org/x/sys", not: []string{}, why: "maintained with Go"},
	{path: "golang.org/x/text/unicode/norm", only: []string{"connector", "policy"}, why: "maintained with Go; names of tools are compared, and dots in URIs found, without width and other compatibility forms"},
	{path: "golang.org/x/time", not: []string{}, why: "maintained with Go"},
}

// standardLimits bounds packages of the standard library whose mere import says that something is in the wrong place.
var standardLimits = []importLimit{
	{path: "flag", only: []string{"cmd", "test"}, tests: true, why: "only cmd reads flags"},
	{path: "encoding/gob", why: "it builds types from a stranger's bytes; use a framed format"},
	{path: "math/rand", only: []string{"tunnel", "connector", "gateway", "telemetry", "test"}, files: []string{"jitter.go", "backoff.go", "spanids.go"}, tests: true,
		why: "a guessable number may only spread retries or name a span: put it in jitter.go, backoff.go or spanids.go; all else takes crypto/rand"},
	{path: "net/http", not: []string{"tunnel", "policy", "secret", "config", "audit"}, notFiles: []string{"proxy.go"}, tests: true,
		why: "these packages know nothing of HTTP; only the CONNECT of a forward proxy speaks it, in proxy.go"},
	{path: "net", not: []string{"policy"}, why: "policy is pure: it does no I/O"},
	{path: "os", not: []string{"policy"}, tests: true, why: "policy is pure: it does no I/O"},
	{path: "net/netip", not: []string{}, why: "a value type"},
	{path: "net/url", not: []string{}, why: "a value type"},
	{path: "database/sql", only: []string{"store", "mcp", "test"}, notItself: "mcp", why: "state is kept by store; built-in database servers live under mcp"},
	{path: "unsafe", only: []string{"cell"}, files: []string{"kernel_linux.go"}, why: "nothing here is worth the risk; the two structures that a cell hands to the kernel are in kernel_linux.go"},
	{path: "reflect", not: []string{"tunnel", "auth", "mcp", "policy", "credential", "gateway", "connector"}, tests: true, why: "a call's path is plain code that can be read"},
	{path: "plugin", why: "the connector takes no code from anyone"},
}

var thirdPartyRule = Rule{
	Name:     "third-party",
	Absolute: true,
	Reason:   "each dependency is one more party to trust: it has a row with its reason and stays where the row says",
	Check: func(t *Tree) []Violation {
		return checkLimits(t, modules, func(s importSpec) bool {
			_, ours := s.local()
			return !ours && !s.standard()
		}, true)
	},
}

var standardRule = Rule{
	Name:   "standard-library",
	Reason: "some packages of the standard library mark a job, and each job has one place",
	Check: func(t *Tree) []Violation {
		return checkLimits(t, standardLimits, importSpec.standard, false)
	},
}

// checkLimits applies the longest matching row to each import that applies says is in question.
func checkLimits(t *Tree, rows []importLimit, applies func(importSpec) bool, closed bool) []Violation {
	var found []Violation
	for _, p := range t.Packages {
		for _, f := range p.Files {
			for _, spec := range imports(f) {
				if !applies(spec) {
					continue
				}
				row, ok := longest(rows, spec.path)
				switch {
				case !ok && closed:
					found = append(found, t.violation(spec.pos, "%s imports %s, which has no row in the dependency table", p.Dir, spec.path))
				case ok && !row.allows(p, f):
					found = append(found, t.violation(spec.pos, "%s imports %s: %s", p.Dir, spec.path, row.why))
				}
			}
		}
	}
	return found
}

func longest(rows []importLimit, importPath string) (best importLimit, ok bool) {
	for _, row := range rows {
		if within(importPath, row.path) && len(row.path) > len(best.path) {
			best, ok = row, true
		}
	}
	return best, ok
}

func (row importLimit) allows(p *Package, f *File) bool {
	if row.tests && (f.Test || p.Helper()) {
		return true
	}
	if row.not != nil {
		return !withinAny(p.Dir, row.not) || slices.Contains(row.notFiles, path.Base(f.Path))
	}
	if !withinAny(p.Dir, row.only) || p.Dir == row.notItself {
		return false
	}
	return row.files == nil || slices.Contains(row.files, path.Base(f.Path))
}
