package database

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"sallyport.dev/secret"
)

// Driver is one database. Its methods are called by several goroutines at once, and end soon after their context.
//
// An error is an [*Error] where the database or the driver can say something that helps whoever asked; its text goes to the
// agent. The text of all others goes to the log alone, and the agent hears that the database failed.
type Driver interface {
	// Dialect says how statements are written.
	Dialect() Dialect
	// Run runs one statement, and hands what it returns to out, until out has enough. Unless it is a Write, nothing that it
	// does outlives it: no row, setting, lock, notification or temporary object; a statement without a result is refused
	// before it runs. Text that is more than one statement is refused.
	Run(ctx context.Context, as Login, s Statement, out *Rows) error
	// Explain returns the plan of a statement, which does not run, as the database prints it.
	Explain(ctx context.Context, as Login, s Statement) (string, error)
	// Schemas returns the schemas that the login may use, without those of the system, by name.
	Schemas(ctx context.Context, as Login) ([]Schema, error)
	// Tables returns what of a schema the login may read: tables and views, by name, at most limit of them, from the first
	// whose name is after a given one. Columns, Indexes and ForeignKeys are not filled.
	Tables(ctx context.Context, as Login, schema, after string, limit int) ([]Table, error)
	// Describe returns one table with its columns, indexes and foreign keys. It fails with ErrNoTable where there is none that
	// the login may read.
	Describe(ctx context.Context, as Login, schema, table string) (Table, error)
	// Warnings says what the login may do that it should not, for an operator: one line each. None if all is well.
	Warnings(ctx context.Context, as Login) ([]string, error)
	// Close ends all connections. Calls that are under way fail.
	Close()
}

// ErrNoTable says that there is no such table, or none that the login may read.
var ErrNoTable = &Error{Text: "there is no such table, or this login may not read it: list_tables shows what there is"}

// Dialect is how statements are written for a kind of database.
type Dialect struct {
	// Name is that of the kind, such as PostgreSQL.
	Name string
	// Scheme begins the URIs of its resources, such as postgres.
	Scheme string
	// DefaultSchema is the one that is meant where none is named, such as public.
	DefaultSchema string
	// Placeholders say how the first two parameters are written, such as "$1, $2".
	Placeholders string
	// Quoted says how a name is quoted, such as "name".
	Quoted string
}

// Login is what a statement is run as. Connections of one Key may be used again for another statement of that Key, and for
// no other. A database without logins gets the zero Login.
type Login struct {
	Key      string
	User     string
	Password secret.Value // zero for none
}

// Statement is one statement with its parameters.
type Statement struct {
	SQL string
	// Params are JSON values, bound to the placeholders in order: as text that the database reads as what it expects there,
	// so that no number loses a digit. An object, and an array where none is expected, is bound as JSON text.
	Params []json.RawMessage
	// Write lets it change what the login may change, in a transaction of its own, which is committed.
	Write bool
	// Role is taken on for the statement, and Session are variables that are set for it. Named statements alone have them.
	Role    string
	Session []Variable
	// Timeout is when the database itself is to give up, beside the context. It is above zero.
	Timeout time.Duration
}

// Variable is one variable of a database session.
type Variable struct{ Name, Value string }

// Schema is one schema, or what stands for it.
type Schema struct {
	Name    string `json:"name"`
	Comment string `json:"comment,omitempty"`
}

// Table is a table or a view.
type Table struct {
	Schema string `json:"schema"`
	Name   string `json:"name"`
	// Kind is table, view, materialized view, foreign table or virtual table.
	Kind    string `json:"kind"`
	Comment string `json:"comment,omitempty"`
	// EstimatedRows is what the database believes; -1 where it has no idea.
	EstimatedRows int64        `json:"estimated_rows"`
	Columns       []Column     `json:"columns,omitempty"`
	Indexes       []Index      `json:"indexes,omitempty"`
	ForeignKeys   []ForeignKey `json:"foreign_keys,omitempty"`
}

// Column is one column of a table or of a result, which has but Name and Type.
type Column struct {
	Name string `json:"name"`
	// Type is as the database writes it, such as numeric(12,2).
	Type     string `json:"type"`
	Nullable bool   `json:"nullable"`
	Default  string `json:"default,omitempty"` // an expression
	Comment  string `json:"comment,omitempty"`
}

// Index is one index.
type Index struct {
	Name    string   `json:"name"`
	Columns []string `json:"columns"` // or expressions
	Unique  bool     `json:"unique,omitempty"`
	Primary bool     `json:"primary,omitempty"`
}

// ForeignKey says that columns refer to those of another table.
type ForeignKey struct {
	Columns        []string `json:"columns"`
	ForeignSchema  string   `json:"foreign_schema,omitempty"`
	ForeignTable   string   `json:"foreign_table"`
	ForeignColumns []string `json:"foreign_columns"`
}

// Error is a failure that whoever asked may read: it holds no password, address or user.
type Error struct {
	// Code is the database's own, such as an SQLSTATE. Optional.
	Code string
	// Text says what happened, and what to do about it.
	Text string
	// Unknown says that a write may have been done or not.
	Unknown bool
	// Err is for the log. Optional.
	Err error
}

// Error implements error.
func (e *Error) Error() string {
	text := e.Text
	if e.Code != "" {
		text = fmt.Sprintf("%s: %s", e.Code, e.Text)
	}
	if e.Unknown {
		text += "; it is not known whether it was done"
	}
	return text
}

// Unwrap returns what the log is to have.
func (e *Error) Unwrap() error { return e.Err }

// Busy is the failure of a call for which no connection got free in time.
func Busy() *Error {
	return &Error{Text: "all connections to the database are in use: try again later, or ask for less at once"}
}

// TimedOut is the failure of a statement that took too long.
func TimedOut(limit time.Duration) *Error {
	return &Error{Text: fmt.Sprintf("the statement took longer than %s and was cancelled: ask for less, or look at explain", limit)}
}

// TooLong is the failure of a statement with a value or a row too long to be taken in.
func TooLong(limit int64) *Error {
	return &Error{Text: fmt.Sprintf("a row of the result has more than %d bytes: select less of it, for example by substr()", limit)}
}

// NoResult is the failure of a statement that would return nothing, and so is none that asks.
func NoResult() *Error {
	return &Error{Text: "this statement returns no rows, and was not run: only queries are"}
}

// Several is the failure of more than one statement at once.
func Several() *Error {
	return &Error{Text: "this is more than one statement, and was not run: send them one by one"}
}

// Unreachable is the failure of a call for which no connection could be made.
func Unreachable(err error) *Error {
	return &Error{Text: "the database cannot be reached, and nothing was run: try again later", Err: err}
}

// Refused is the failure of a call whose login the database does not take.
func Refused(err error) *Error {
	return &Error{Text: "the database refused the connector's login, and nothing was run: its operator has to look at the password", Err: err}
}

// asError returns what the agent may read of an error.
func asError(err error) *Error {
	if known, ok := errors.AsType[*Error](err); ok {
		return known
	}
	return &Error{Text: "the database failed", Err: err}
}
