package sqlite

import (
	"slices"
	"strings"

	"github.com/ncruces/go-sqlite3"
)

// authorize says whether a statement that is being prepared may do something: read, and if it is one that writes, change rows.
// Everything else is denied, now and in later versions of SQLite: https://sqlite.org/c3ref/set_authorizer.html.
func (c *conn) authorize(action sqlite3.AuthorizerActionCode, third, fourth, schema, _ string) sqlite3.AuthorizerReturnCode {
	allowed := c.ours
	switch action {
	case sqlite3.AUTH_SELECT, sqlite3.AUTH_READ, sqlite3.AUTH_RECURSIVE:
		allowed = true
	case sqlite3.AUTH_FUNCTION:
		allowed = !slices.Contains(deniedFunctions, strings.ToLower(fourth))
	case sqlite3.AUTH_PRAGMA:
		allowed = allowed || slices.Contains(allowedPragmas, strings.ToLower(third))
	case sqlite3.AUTH_INSERT, sqlite3.AUTH_UPDATE, sqlite3.AUTH_DELETE:
		allowed = allowed || c.write && schema == "main" && !system(third)
	}
	if allowed {
		return sqlite3.AUTH_OK
	}
	return sqlite3.AUTH_DENY
}

// system reports whether a table is one of SQLite's own.
func system(table string) bool { return strings.HasPrefix(strings.ToLower(table), "sqlite_") }

// deniedFunctions reach out of the database, or may take hours for one call. Most are not in the library: the first ones are in
// case they are one day. A test has the list of those that are.
var deniedFunctions = []string{
	"load_extension", "fts3_tokenizer", "readfile", "writefile", "edit", "lsmode", "fsdir", "eval", "shell_add_schema",
	"sqlite_log",
	// These take the product of the lengths of their arguments, and look at no interrupt.
	"decimal_mul", "decimal_pow2", "json_patch", "jsonb_patch", "regexp", "regexpi",
}

// allowedPragmas only read the schema, also as table-valued functions such as pragma_table_info. database_list is none of
// them: it tells the file's path.
var allowedPragmas = []string{"table_info", "table_xinfo", "table_list", "index_list", "index_info", "index_xinfo", "foreign_key_list"}
