package sqlite

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/ncruces/go-sqlite3"

	"sallyport.dev/mcp/database"
)

// maxMessage bounds what is repeated of a message of SQLite, in bytes.
const maxMessage = 2 << 10

var (
	errInterrupted = errors.New("sqlite: interrupted")
	errWrongMode   = errors.New("sqlite: the file was not opened as it should be")
)

// unreachable is the failure of a connection.
func unreachable(err error) error {
	if errors.Is(err, sqlite3.INTERRUPT) {
		return errInterrupted
	}
	return database.Unreachable(err)
}

// caught calls work, and returns what it panics with as an error. SQLite's code panics when it has no memory left.
func caught(work func() error) (err error) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case error:
			// The library's own error for this has a type that it does not export.
			if strings.HasSuffix(r.Error(), "out of memory") {
				err = outOfMemory(r)
				return
			}
			err = &database.Error{Text: "SQLite failed with this statement: try another one", Err: fmt.Errorf("sqlite: panic: %w", r)}
		default:
			err = &database.Error{Text: "SQLite failed with this statement: try another one", Err: fmt.Errorf("sqlite: panic: %v", r)}
		}
	}()
	return work()
}

func outOfMemory(err error) *database.Error {
	return &database.Error{
		Code: "SQLITE_NOMEM", Err: err,
		Text: fmt.Sprintf("the statement needs more than %d MiB of memory: ask for less, or sort and group fewer rows", maxMemory>>20),
	}
}

// asError returns what may be said of an error.
func asError(err error, s source) error {
	if _, known := errors.AsType[*database.Error](err); known || errors.Is(err, errInterrupted) {
		return err
	}
	code, ok := errors.AsType[sqlite3.ExtendedErrorCode](err)
	if !ok {
		return err
	}
	text := strings.TrimPrefix(err.Error(), "sqlite3: ")
	for _, said := range []string{"SQL logic error: ", "authorization denied: ", "constraint failed: "} { // the code says it
		text = strings.TrimPrefix(text, said)
	}
	if detail, ok := errors.AsType[*sqlite3.Error](err); ok && detail.Unwrap() != nil {
		text = "the file cannot be read or written" // what the operating system said goes to the log
	}
	switch code.Code() {
	case sqlite3.INTERRUPT:
		return errInterrupted
	case sqlite3.CANTOPEN, sqlite3.NOTADB:
		return database.Unreachable(err)
	case sqlite3.AUTH:
		text += ": only queries are run here, of what is in the database, without PRAGMA, ATTACH or transactions"
	case sqlite3.BUSY:
		text = "another program has locked the database: try again later"
	case sqlite3.TOOBIG:
		text = "a value, or the statement itself, is too long: leave long columns out, and compute nothing so long"
	case sqlite3.READONLY:
		if code == sqlite3.READONLY_ROLLBACK || code == sqlite3.READONLY_RECOVERY || code == sqlite3.READONLY_CANTINIT {
			text = "the database was left in the middle of a change, and cannot be read before the program that writes it has opened it again"
		}
	}
	return &database.Error{Code: name(code), Text: cut(s.hide(text)), Err: err}
}

// cut bounds a text to maxMessage bytes.
func cut(text string) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	if len(text) <= maxMessage {
		return text
	}
	end := maxMessage - len("…")
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "…"
}

// name returns SQLite's name of a result code: https://sqlite.org/rescode.html.
func name(code sqlite3.ExtendedErrorCode) string {
	if known, ok := extendedNames[code]; ok {
		return known
	}
	if known, ok := names[code.Code()]; ok {
		return known
	}
	return fmt.Sprintf("SQLITE_%d", uint16(code))
}

var names = map[sqlite3.ErrorCode]string{
	sqlite3.ERROR: "SQLITE_ERROR", sqlite3.INTERNAL: "SQLITE_INTERNAL", sqlite3.PERM: "SQLITE_PERM", sqlite3.ABORT: "SQLITE_ABORT",
	sqlite3.BUSY: "SQLITE_BUSY", sqlite3.LOCKED: "SQLITE_LOCKED", sqlite3.READONLY: "SQLITE_READONLY", sqlite3.IOERR: "SQLITE_IOERR",
	sqlite3.CORRUPT: "SQLITE_CORRUPT", sqlite3.NOTFOUND: "SQLITE_NOTFOUND", sqlite3.FULL: "SQLITE_FULL", sqlite3.PROTOCOL: "SQLITE_PROTOCOL",
	sqlite3.SCHEMA: "SQLITE_SCHEMA", sqlite3.TOOBIG: "SQLITE_TOOBIG", sqlite3.CONSTRAINT: "SQLITE_CONSTRAINT",
	sqlite3.MISMATCH: "SQLITE_MISMATCH", sqlite3.MISUSE: "SQLITE_MISUSE", sqlite3.AUTH: "SQLITE_AUTH", sqlite3.RANGE: "SQLITE_RANGE",
}

var extendedNames = map[sqlite3.ExtendedErrorCode]string{
	sqlite3.BUSY_RECOVERY: "SQLITE_BUSY_RECOVERY", sqlite3.BUSY_SNAPSHOT: "SQLITE_BUSY_SNAPSHOT",
	sqlite3.READONLY_RECOVERY: "SQLITE_READONLY_RECOVERY", sqlite3.READONLY_CANTINIT: "SQLITE_READONLY_CANTINIT",
	sqlite3.READONLY_ROLLBACK: "SQLITE_READONLY_ROLLBACK", sqlite3.READONLY_DBMOVED: "SQLITE_READONLY_DBMOVED",
	sqlite3.CONSTRAINT_CHECK: "SQLITE_CONSTRAINT_CHECK", sqlite3.CONSTRAINT_FOREIGNKEY: "SQLITE_CONSTRAINT_FOREIGNKEY",
	sqlite3.CONSTRAINT_NOTNULL: "SQLITE_CONSTRAINT_NOTNULL", sqlite3.CONSTRAINT_PRIMARYKEY: "SQLITE_CONSTRAINT_PRIMARYKEY",
	sqlite3.CONSTRAINT_TRIGGER: "SQLITE_CONSTRAINT_TRIGGER", sqlite3.CONSTRAINT_UNIQUE: "SQLITE_CONSTRAINT_UNIQUE",
	sqlite3.CONSTRAINT_ROWID: "SQLITE_CONSTRAINT_ROWID", sqlite3.CONSTRAINT_DATATYPE: "SQLITE_CONSTRAINT_DATATYPE",
}

// commitFailed is the failure of a write at its end. Unless SQLite did not begin with it, it may have been done.
func commitFailed(err error) error {
	switch code, _ := errors.AsType[sqlite3.ExtendedErrorCode](err); code.Code() {
	case sqlite3.BUSY, sqlite3.INTERRUPT, sqlite3.CONSTRAINT:
		return err
	}
	return &database.Error{Text: "the change could not be committed", Unknown: true, Err: err}
}
