package connector

import (
	"errors"
	"fmt"
	"net/url"
	"slices"

	"sallyport.dev/credential"
	"sallyport.dev/mcp/database"
	"sallyport.dev/mcp/mysql"
	"sallyport.dev/mcp/postgres"
	"sallyport.dev/mcp/sqlite"
	"sallyport.dev/secret"
)

// Postgres is a PostgreSQL database that the connector speaks MCP for.
type Postgres struct {
	Place  postgres.Config `yaml:",inline"`
	Access Access          `yaml:",inline"`
	Common database.Config `yaml:",inline"`
}

// MySQL is a MySQL or MariaDB database that the connector speaks MCP for.
type MySQL struct {
	Place  mysql.Config    `yaml:",inline"`
	Access Access          `yaml:",inline"`
	Common database.Config `yaml:",inline"`
}

// SQLite is a SQLite database that the connector speaks MCP for.
type SQLite struct {
	Place  sqlite.Config   `yaml:",inline"`
	Common database.Config `yaml:",inline"`
	// Memory is SQL that fills a database in memory, which takes the place of file. Optional, for demos.
	Memory string `yaml:"-"`
}

// Access is how the connector logs in at a database.
type Access struct {
	// Password is that of the user in dsn. Optional; not with logins.
	Password Password `yaml:"password"`
	// Logins are for several classes of callers. The first that is for the caller counts; if none is, the call fails. Optional.
	Logins []DatabaseLogin `yaml:"logins"`
}

// Password refers to a password.
type Password struct {
	// Secret refers to it: env:NAME, file:/path, exec:/program, systemd:NAME or vault:MOUNT/PATH#FIELD. Required.
	Secret secret.Ref `yaml:"secret"`
}

// DatabaseLogin is one login.
type DatabaseLogin struct {
	// For says for whose calls it is. Default everybody.
	For credential.Who `yaml:"for"`
	// User is its name, a text or { secret: REF }. Default that in dsn.
	User Variable `yaml:"user"`
	// Password is its password. Optional, for a database that asks for none.
	Password Password `yaml:"password"`
}

// all are the logins: those that are listed, or the one of dsn.
func (a *Access) all() []DatabaseLogin {
	if len(a.Logins) > 0 {
		return a.Logins
	}
	return []DatabaseLogin{{Password: a.Password}}
}

// namesUsers reports whether each login has a user of its own, so that dsn need not have one.
func (a *Access) namesUsers() bool {
	return len(a.Logins) > 0 && !slices.ContainsFunc(a.Logins, func(l DatabaseLogin) bool { return l.User == Variable{} })
}

// databaseKind is one kind of database, as a server has it.
type databaseKind interface {
	// key is that of the configuration.
	key() string
	access() *Access
	common() *database.Config
	// place says where the database is, without user and parameters.
	place() string
	// site says it as the conventions of telemetry have it.
	site() site
	check(allowPlaintext bool) error
	open(o database.Options) (database.Driver, error)
}

func (p *Postgres) key() string              { return "postgres" }
func (p *Postgres) access() *Access          { return &p.Access }
func (p *Postgres) common() *database.Config { return &p.Common }
func (p *Postgres) place() string            { return placeOfDSN(p.Place.DSN) }
func (p *Postgres) site() site               { return siteOfDSN(p.Place.DSN, "postgresql", 5432) }

func (p *Postgres) check(allowPlaintext bool) error {
	p.Place.AllowPlaintext, p.Place.UserElsewhere = allowPlaintext, p.Access.namesUsers()
	return p.Place.Validate()
}

func (p *Postgres) open(o database.Options) (database.Driver, error) { return postgres.New(p.Place, o) }

func (m *MySQL) key() string              { return "mysql" }
func (m *MySQL) access() *Access          { return &m.Access }
func (m *MySQL) common() *database.Config { return &m.Common }
func (m *MySQL) place() string            { return placeOfDSN(m.Place.DSN) }
func (m *MySQL) site() site               { return siteOfDSN(m.Place.DSN, "mysql", 3306) }

func (m *MySQL) check(allowPlaintext bool) error {
	m.Place.AllowPlaintext, m.Place.UserElsewhere = allowPlaintext, m.Access.namesUsers()
	return m.Place.Validate()
}

func (m *MySQL) open(o database.Options) (database.Driver, error) { return mysql.New(m.Place, o) }

func (s *SQLite) key() string              { return "sqlite" }
func (s *SQLite) access() *Access          { return new(Access) }
func (s *SQLite) common() *database.Config { return &s.Common }
func (s *SQLite) place() string            { return "a file" }
func (s *SQLite) site() site               { return site{system: "sqlite"} }

func (s *SQLite) check(bool) error {
	if s.Common.RoleFrom != "" || len(s.Common.Session) > 0 {
		return errors.New("role_from, session: SQLite has neither roles nor variables")
	}
	if s.Memory != "" {
		return nil
	}
	return s.Place.Validate()
}

func (s *SQLite) open(o database.Options) (database.Driver, error) {
	if s.Memory != "" {
		return sqlite.NewMemory(s.Memory, o)
	}
	for _, statement := range s.Common.Statements {
		s.Place.Writable = s.Place.Writable || statement.Write
	}
	return sqlite.New(s.Place, o)
}

// placeOfDSN is a data source name without user and parameters.
func placeOfDSN(dsn string) string {
	u, err := url.Parse(dsn)
	if err != nil {
		return "a database"
	}
	return u.Scheme + "://" + u.Host + u.Path
}

// database returns the kind that the server is, or nil if it is none.
func (s *Server) database() databaseKind {
	switch {
	case s.Postgres != nil:
		return s.Postgres
	case s.MySQL != nil:
		return s.MySQL
	case s.SQLite != nil:
		return s.SQLite
	}
	return nil
}

// isDatabase reports whether the server is a database.
func (s *Server) isDatabase() bool { return s.database() != nil }

// checkDatabase checks a server that is a database.
func (s *Server) checkDatabase() error {
	kind := s.database()
	others := 0
	for _, is := range []bool{s.Postgres != nil, s.MySQL != nil, s.SQLite != nil, s.URL != "" || s.SSEURL != "", s.isLocal()} {
		if is {
			others++
		}
	}
	switch {
	case others != 1:
		return fmt.Errorf("%s: a server has one of url, command, postgres, mysql and sqlite", kind.key())
	case len(s.Credentials) > 0:
		return fmt.Errorf("credentials: they are put into requests over HTTP; a database has %s: { password: { secret: file:/path } }", kind.key())
	case s.localKeys() != "":
		return fmt.Errorf("%s: it is for a server with a command", s.localKeys())
	case kind.key() == "sqlite" && (s.CAFile != "" || s.AllowPlaintext):
		return errors.New("ca_file, allow_plaintext: a file has neither")
	}
	errs := []error{kind.check(s.AllowPlaintext), kind.common().Validate()}
	access := kind.access()
	if len(access.Logins) > 0 && !access.Password.Secret.IsZero() {
		errs = append(errs, errors.New("password: with logins each of them has its own"))
	}
	for i, l := range access.all() {
		errs = append(errs, l.check(s, i, len(access.Logins)))
	}
	for _, err := range errs {
		if err != nil {
			return fmt.Errorf("%s: %w", kind.key(), errors.Join(errs...))
		}
	}
	return nil
}

func (l *DatabaseLogin) check(s *Server, i, of int) error {
	errs := []error{l.For.Validate()}
	for _, ref := range l.refs() {
		errs = append(errs, checkPrincipal(ref, s.Issuer != "" || l.For.OneIssuer()))
	}
	if i < of-1 && len(l.For.Issuers) == 0 {
		errs = append(errs, errors.New("for: it is for everybody, so that those behind it are for nobody: put it last"))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("logins: number %d: %w", i+1, err)
	}
	return nil
}
