// Package mysql asks MySQL and MariaDB for package database. driver.go is the driver, connect.go makes connections, run.go runs
// statements, values.go makes JSON of what they return, explain.go, browse.go, describe.go and grants.go are the rest. The
// protocol is github.com/go-sql-driver/mysql's; wire.go stands between it and the network, and sees each packet's head.
//
// That nothing is changed rests on the server and on the protocol, not on the text of a statement:
//
//   - A statement is prepared by the server, which takes but one, and says how many columns it returns. With none it is not run:
//     so are DDL, DML, CALL, SET, KILL, LOCK, LOAD DATA, HANDLER, and SELECT INTO a file or a variable.
//   - It runs in a READ ONLY transaction of a session that is read only: INSERT RETURNING, functions and sequences fail.
//   - A login with the FILE privilege, which reads and writes files of the server, is refused ([database.Driver].Run).
//   - Each call has its own connection, which is closed: no lock, variable or temporary table outlives it.
//
// It does not know who asks, nor what the functions do that an administrator has made: one with SQL SECURITY DEFINER has the
// rights of its definer, and a loadable one (CREATE FUNCTION SONAME) can do anything. MySQL proper is spoken to by its manual:
// the tests have MariaDB 10.11 alone.
package mysql
