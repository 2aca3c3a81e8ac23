package mysql

import (
	"context"
	"database/sql/driver"
	"fmt"
	"regexp"
	"strings"
	"time"

	"sallyport.dev/mcp/database"
)

const (
	// maxConcat bounds what GROUP_CONCAT makes, in bytes: 1 MiB, which is MariaDB's default.
	maxConcat = 1 << 20
	// trust is how long a login is taken to have no FILE privilege. The server itself looks at it when a connection is made.
	trust = time.Minute
	// modes are the sql_mode: values that do not fit are errors, and text is read in one way, whatever the server is set to.
	modes = "STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION"
)

// variable matches the names of user variables that need no quotes.
var variable = regexp.MustCompile(`^[A-Za-z_$][A-Za-z0-9_$.]{0,63}$`)

// begin makes a session ready for a statement: its settings, role and variables, and the transaction.
func (s *session) begin(ctx context.Context, st database.Statement) error {
	if err := s.exec(ctx, s.settings(st)); err != nil {
		return err
	}
	if st.Role != "" {
		if err := s.exec(ctx, "SET ROLE "+quoteName(st.Role)); err != nil {
			return err
		}
	}
	if len(st.Session) > 0 {
		if err := s.setVariables(ctx, st.Session); err != nil {
			return err
		}
	}
	if st.Write {
		return s.exec(ctx, "START TRANSACTION READ WRITE")
	}
	return s.exec(ctx, "START TRANSACTION READ ONLY")
}

// settings is one statement for all settings of a session. That it is read only matters where a statement ends the transaction.
func (s *session) settings(st database.Statement) string {
	seconds := max(1, int64((st.Timeout+time.Second-1)/time.Second))
	set := fmt.Sprintf("SET NAMES utf8mb4, sql_mode='%s', time_zone='+00:00', group_concat_max_len=%d, lock_wait_timeout=%d, "+
		"innodb_lock_wait_timeout=%d, autocommit=1, lc_messages='en_US'", modes, maxConcat, seconds, seconds)
	readOnly := 1
	if st.Write {
		readOnly = 0
	}
	if s.isMariaDB() {
		return fmt.Sprintf("%s, tx_read_only=%d, max_statement_time=%.3f", set, readOnly, max(st.Timeout.Seconds(), 0.001))
	}
	return fmt.Sprintf("%s, transaction_read_only=%d, max_execution_time=%d", set, readOnly, max(st.Timeout.Milliseconds(), 1))
}

// setVariables sets user variables, whose values are bound.
func (s *session) setVariables(ctx context.Context, variables []database.Variable) error {
	var names []string
	var args []driver.NamedValue
	for i, v := range variables {
		if !variable.MatchString(v.Name) {
			return &database.Error{Text: "a session variable has a name with other characters than letters, digits, _, $ and ., and nothing was run"}
		}
		names = append(names, "@`"+v.Name+"` = ?")
		args = append(args, driver.NamedValue{Ordinal: i + 1, Value: v.Value})
	}
	stmt, err := s.prepare(ctx, "SET "+strings.Join(names, ", "))
	if err != nil {
		return err
	}
	s.busy = true
	_, err = stmt.(driver.StmtExecContext).ExecContext(ctx, args)
	s.done(err)
	return err
}

// checkFile refuses a login with the FILE privilege: LOAD_FILE would read the files of the server into a result. What the server
// says to a statement that needs the privilege, and which is prepared alone, holds for roles and for rights of all kinds.
func (d *Driver) checkFile(ctx context.Context, s *session, role bool) error {
	if !role && d.isHarmless(s.as.Key) {
		return nil
	}
	may, err := s.mayFile(ctx)
	switch {
	case err != nil:
		return err
	case may:
		return &database.Error{Text: "the connector's login has the FILE privilege, with which a query reads and writes files of the database server, " +
			"and nothing was run: its operator has to revoke it (REVOKE FILE ON *.*)"}
	case !role:
		d.setHarmless(s.as.Key)
	}
	return nil
}

// mayFile reports whether the login has the FILE privilege.
func (s *session) mayFile(ctx context.Context) (bool, error) {
	_, err := s.prepare(ctx, "SELECT 1 INTO OUTFILE '/nonexistent/sallyport'")
	if said, ok := asServer(err); ok && (said.Number == denied || said.Number == deniedPrivilege || said.Number == deniedToDatabase) {
		return false, nil
	}
	return err == nil, err
}

func (d *Driver) isHarmless(key string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return time.Now().Before(d.harmless[key])
}

func (d *Driver) setHarmless(key string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	for k, until := range d.harmless {
		if now.After(until) {
			delete(d.harmless, k)
		}
	}
	d.harmless[key] = now.Add(trust)
}

// within ends a context a little after the database itself should have given up.
func within(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	const grace = 500 * time.Millisecond
	return context.WithTimeout(ctx, limit+grace)
}
