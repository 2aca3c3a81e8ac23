package mysqltest

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// MakeTarget makes the database target, which [Attacks] are meant for, and a login "mighty" that has all rights of the server but
// FILE.
func (s *Server) MakeTarget(tb testing.TB, password string) {
	tb.Helper()
	s.Exec(tb, "CREATE DATABASE target",
		"CREATE TABLE target.t (a INT PRIMARY KEY, b VARCHAR(100)) ENGINE=InnoDB", "INSERT INTO target.t VALUES (1, 'one'), (2, 'two')",
		"CREATE TABLE target.m (a INT PRIMARY KEY, b VARCHAR(100)) ENGINE=MyISAM", "INSERT INTO target.m VALUES (1, 'one')",
		"CREATE TABLE target.many (a INT PRIMARY KEY)", "INSERT INTO target.many SELECT seq FROM target.seq_1_to_1000",
		"CREATE SEQUENCE target.s NOCACHE",
		"CREATE PROCEDURE target.p() BEGIN INSERT INTO target.t VALUES (200, 'p'); SELECT 1; END",
		"CREATE FUNCTION target.w() RETURNS INT BEGIN INSERT INTO target.t VALUES (201, 'w'); RETURN 1; END",
		"CREATE FUNCTION target.wm() RETURNS INT BEGIN INSERT INTO target.m VALUES (202, 'wm'); RETURN 1; END",
		"CREATE FUNCTION target.wd() RETURNS INT BEGIN SET SESSION tx_read_only = 0; DELETE FROM target.t; RETURN 1; END",
		"CREATE VIEW target.writing AS SELECT target.w() AS x")
	s.CreateUser(tb, "mighty", password, "ALL ON *.*")
	s.Exec(tb, "REVOKE FILE ON *.* FROM mighty@'127.0.0.1'")
}

// State says all that an attack could have changed: two texts are the same if nothing was. What connections of a login hold is
// not in it: see [Server.AwaitNoConnections].
func (s *Server) State(tb testing.TB) string {
	tb.Helper()
	var b strings.Builder
	for _, sql := range []string{
		"CHECKSUM TABLE target.t, target.m, target.many",
		"SELECT * FROM target.t", "SELECT * FROM target.m", "SELECT next_not_cached_value, cycle_count FROM target.s",
		"SELECT table_schema, table_name, table_type, engine FROM information_schema.tables ORDER BY 1, 2",
		"SELECT index_name, column_name FROM information_schema.statistics WHERE table_schema = 'target' ORDER BY 1, 2",
		"SELECT routine_schema, routine_name, MD5(routine_definition) FROM information_schema.routines ORDER BY 1, 2",
		"SELECT trigger_name FROM information_schema.triggers ORDER BY 1", "SELECT event_name FROM information_schema.events ORDER BY 1",
		"SELECT user, host, MD5(priv) FROM mysql.global_priv ORDER BY 1, 2", "SELECT user, db FROM mysql.db ORDER BY 1, 2",
		"SELECT name FROM mysql.func", "SELECT server_name FROM mysql.servers", "SELECT COUNT(*) FROM mysql.table_stats",
		"SELECT plugin_name FROM information_schema.plugins ORDER BY 1", "SELECT schema_name FROM information_schema.schemata ORDER BY 1",
		"SELECT variable_name, variable_value FROM information_schema.global_variables WHERE variable_name NOT LIKE 'GTID%' ORDER BY 1",
		"SELECT IS_FREE_LOCK('attack'), @attack", "SELECT COUNT(*) FROM information_schema.innodb_trx", "XA RECOVER",
	} {
		fmt.Fprintf(&b, "%s: %q\n", sql, s.Query(tb, sql))
	}
	err := filepath.WalkDir(s.Dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.Contains(d.Name(), "attack") {
			fmt.Fprintf(&b, "file %s\n", path)
		}
		return nil // files of the server come and go
	})
	if err != nil {
		tb.Fatal(err)
	}
	return b.String()
}
