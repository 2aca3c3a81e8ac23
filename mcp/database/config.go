package database

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	defaultTimeout        = 30 * time.Second
	maxTimeout            = time.Hour
	defaultMaxRows        = 1000
	mostRows              = 100_000
	defaultMaxBytes       = 1 << 20
	leastBytes            = 1 << 10
	mostBytes             = 16 << 20
	defaultMaxConnections = 4
	mostConnections       = 64
	maxStatements         = 256
	maxParams             = 64
	maxSQL                = 1 << 20 // bytes of a statement
	maxDescription        = 4 << 10 // bytes of a description in the configuration
)

// Config are the keys that a database of any kind has.
type Config struct {
	// NamedOnly leaves the statements below as the only tools: no SQL of the agent's, and no look at the schema. Default false.
	NamedOnly bool `yaml:"named_only"`
	// Statements are named statements, each of them a tool. Required with named_only; else optional.
	Statements []Named `yaml:"statements"`
	// StatementTimeout is when a statement is cancelled. Default 30s.
	StatementTimeout time.Duration `yaml:"statement_timeout"`
	// MaxRows is how many rows a result may have, 1 to 100000. What is more is left out, and said to be. Default 1000.
	MaxRows int `yaml:"max_rows"`
	// MaxBytes is how many bytes the values of a result may have, 1024 to 16777216. Default 1048576 (1 MiB).
	MaxBytes int64 `yaml:"max_bytes"`
	// MaxConnections is how many connections there may be at once for each login, 1 to 64. Default 4.
	MaxConnections int `yaml:"max_connections"`
	// RoleFrom is where the role comes from that statements take on: claims.NAME. With named_only alone, because a query can
	// take the role off again. Optional.
	RoleFrom string `yaml:"role_from"`
	// Session are variables of the database session, for row-level security, and where their values come from: principal.subject,
	// principal.issuer or claims.NAME. With named_only alone, because a query can set them anew. Optional.
	Session map[string]string `yaml:"session"`
}

// Named is a statement of the operator's.
type Named struct {
	// Name is that of the tool: 1 to 64 of a-z, A-Z, 0-9, _ and -. Required.
	Name string `yaml:"name"`
	// Description says to agents what it does. Required.
	Description string `yaml:"description"`
	// SQL is the statement, one alone, with the database's placeholders for the parameters in their order. Required.
	SQL string `yaml:"sql"`
	// Write lets it change what the login may change. Default false: it is read-only.
	Write bool `yaml:"write"`
	// Params are its parameters, in the order of the placeholders. Optional.
	Params []Param `yaml:"params"`
}

// Param is one parameter of a named statement.
type Param struct {
	// Name is that of the argument: 1 to 64 of a-z, A-Z, 0-9 and _. Required.
	Name string `yaml:"name"`
	// Type is string, integer, number, boolean, array or object. Default string.
	Type string `yaml:"type"`
	// Description says to agents what it is. Optional.
	Description string `yaml:"description"`
	// Optional lets agents leave it out: it is NULL then. Default false.
	Optional bool `yaml:"optional"`
	// Enum are the texts that are allowed. Optional; for a string.
	Enum []string `yaml:"enum"`
	// Minimum and Maximum bound an integer or a number. Optional.
	Minimum *float64 `yaml:"minimum"`
	// Maximum is its greatest value.
	Maximum *float64 `yaml:"maximum"`
	// MaxLength is how many characters a string may have. Optional.
	MaxLength int `yaml:"max_length"`
	// Pattern is a regular expression (ECMA-262, as far as RE2 has it) that a string has to match. Optional.
	Pattern string `yaml:"pattern"`
}

var (
	toolName  = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
	paramName = regexp.MustCompile(`^[A-Za-z0-9_]{1,64}$`)
	types     = []string{"string", "integer", "number", "boolean", "array", "object"}
)

// Validate applies the defaults and reports everything that is wrong at once.
func (c *Config) Validate() error {
	setDefault(&c.StatementTimeout, defaultTimeout)
	setDefault(&c.MaxRows, defaultMaxRows)
	setDefault(&c.MaxBytes, defaultMaxBytes)
	setDefault(&c.MaxConnections, defaultMaxConnections)
	var errs []error
	if c.StatementTimeout < 100*time.Millisecond || c.StatementTimeout > maxTimeout {
		errs = append(errs, fmt.Errorf("statement_timeout: 100ms to %s are allowed", maxTimeout))
	}
	if c.MaxRows < 1 || c.MaxRows > mostRows {
		errs = append(errs, fmt.Errorf("max_rows: 1 to %d are allowed", mostRows))
	}
	if c.MaxBytes < leastBytes || c.MaxBytes > mostBytes {
		errs = append(errs, fmt.Errorf("max_bytes: %d to %d are allowed", leastBytes, mostBytes))
	}
	if c.MaxConnections < 1 || c.MaxConnections > mostConnections {
		errs = append(errs, fmt.Errorf("max_connections: 1 to %d are allowed", mostConnections))
	}
	if c.NamedOnly && len(c.Statements) == 0 {
		errs = append(errs, errors.New("named_only: there is no tool then: write statements"))
	}
	if !c.NamedOnly && (c.RoleFrom != "" || len(c.Session) > 0) {
		errs = append(errs, errors.New("role_from, session: they need named_only: true, because any query can set its role and its variables anew"))
	}
	if c.RoleFrom != "" && !strings.HasPrefix(c.RoleFrom, claimsPrefix) {
		errs = append(errs, errors.New("role_from: write claims.NAME"))
	}
	for _, from := range c.Session {
		if !isOrigin(from) {
			errs = append(errs, errors.New("session: a value comes from principal.subject, principal.issuer or claims.NAME"))
		}
	}
	return errors.Join(append(errs, c.checkStatements()...)...)
}

func setDefault[T comparable](to *T, value T) {
	var zero T
	if *to == zero {
		*to = value
	}
}

func (c *Config) checkStatements() (errs []error) {
	if len(c.Statements) > maxStatements {
		return []error{fmt.Errorf("statements: at most %d are allowed", maxStatements)}
	}
	taken := []string{toolQuery, toolExplain, toolSchemas, toolTables, toolDescribe}
	for i, s := range c.Statements {
		if err := s.check(); err != nil {
			errs = append(errs, fmt.Errorf("statements: number %d: %w", i+1, err))
		}
		if slices.ContainsFunc(taken, func(other string) bool { return strings.EqualFold(other, s.Name) }) {
			errs = append(errs, fmt.Errorf("statements: number %d: name: there is a tool of this name already", i+1))
		}
		taken = append(taken, s.Name)
	}
	return errs
}

func (n *Named) check() error {
	var errs []error
	if !toolName.MatchString(n.Name) {
		errs = append(errs, errors.New("name: 1 to 64 of a-z, A-Z, 0-9, _ and - are required"))
	}
	if n.Description == "" || len(n.Description) > maxDescription {
		errs = append(errs, fmt.Errorf("description: 1 to %d bytes are required: it is all that an agent knows of it", maxDescription))
	}
	if err := checkSQL(n.SQL); err != nil {
		errs = append(errs, fmt.Errorf("sql: %w", err))
	}
	if len(n.Params) > maxParams {
		errs = append(errs, fmt.Errorf("params: at most %d are allowed", maxParams))
	}
	var names []string
	for i := range n.Params {
		p := &n.Params[i]
		setDefault(&p.Type, "string")
		if err := p.check(); err != nil {
			errs = append(errs, fmt.Errorf("params: number %d: %w", i+1, err))
		}
		if slices.Contains(names, p.Name) {
			errs = append(errs, fmt.Errorf("params: number %d: name: it is given twice", i+1))
		}
		names = append(names, p.Name)
	}
	return errors.Join(errs...)
}

func (p *Param) check() error {
	var errs []error
	if !paramName.MatchString(p.Name) {
		errs = append(errs, errors.New("name: 1 to 64 of a-z, A-Z, 0-9 and _ are required"))
	}
	if !slices.Contains(types, p.Type) {
		errs = append(errs, fmt.Errorf("type: one of %s", strings.Join(types, ", ")))
	}
	if len(p.Description) > maxDescription {
		errs = append(errs, fmt.Errorf("description: at most %d bytes are allowed", maxDescription))
	}
	if p.Type != "string" && (len(p.Enum) > 0 || p.MaxLength != 0 || p.Pattern != "") {
		errs = append(errs, errors.New("enum, max_length, pattern: they are for a string"))
	}
	if p.Type != "integer" && p.Type != "number" && (p.Minimum != nil || p.Maximum != nil) {
		errs = append(errs, errors.New("minimum, maximum: they are for an integer or a number"))
	}
	if p.MaxLength < 0 {
		errs = append(errs, errors.New("max_length: a number above 0 is allowed"))
	}
	if _, err := regexp.Compile(p.Pattern); err != nil {
		errs = append(errs, errors.New("pattern: it is no regular expression"))
	}
	return errors.Join(errs...)
}

// checkSQL says what is wrong with the text of a statement before a database sees it.
func checkSQL(sql string) error {
	switch {
	case strings.TrimSpace(sql) == "":
		return &Error{Text: "there is no statement"}
	case len(sql) > maxSQL:
		return &Error{Text: fmt.Sprintf("the statement has more than %d bytes", maxSQL)}
	case !utf8.ValidString(sql):
		return &Error{Text: "the statement is no UTF-8"}
	case strings.ContainsRune(sql, 0):
		return &Error{Text: "the statement holds a NUL"}
	}
	return nil
}

// schema is the JSON Schema of the tool's arguments.
func (n *Named) schema() json.RawMessage {
	type property struct {
		Type        any      `json:"type"`
		Description string   `json:"description,omitempty"`
		Enum        []any    `json:"enum,omitempty"`
		Minimum     *float64 `json:"minimum,omitempty"`
		Maximum     *float64 `json:"maximum,omitempty"`
		MaxLength   int      `json:"maxLength,omitempty"`
		Pattern     string   `json:"pattern,omitempty"`
	}
	properties, required := make(map[string]property), []string{}
	for _, p := range n.Params {
		made := property{Type: p.Type, Description: p.Description, Minimum: p.Minimum, Maximum: p.Maximum, MaxLength: p.MaxLength, Pattern: p.Pattern}
		for _, one := range p.Enum {
			made.Enum = append(made.Enum, one)
		}
		if p.Optional {
			made.Type = []string{p.Type, "null"}
			if made.Enum != nil {
				made.Enum = append(made.Enum, nil)
			}
		} else {
			required = append(required, p.Name)
		}
		properties[p.Name] = made
	}
	schema, _ := json.Marshal(map[string]any{"type": "object", "properties": properties, "required": required, "additionalProperties": false}) // always can be
	return schema
}
