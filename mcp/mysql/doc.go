// Package mysql asks MySQL and MariaDB for package database. driver.go is the driver, connect.go makes connections, setup.go
// makes them ready, run.go runs statements, values.go makes JSON of what they return; explain.go, browse.go, describe.go and
// grants.go are the rest. The protocol is github.com/go-sql-driver/mysql's; wire.go stands between it and the network, and sees
// the head of each packet.
//
// That nothing is changed rests on the server and on the protocol:
//
//   - A statement is prepared by the server, which takes but one, and says how many columns it returns. With none it is not run:
//     so are DDL, DML, CALL, SET, KILL, LOCK, LOAD DATA, HANDLER, and SELECT INTO a file or a variable. SHOW is run all the same.
//   - It runs in a READ ONLY transaction of a session that is read only: INSERT RETURNING, functions and sequences fail, for
//     tables without transactions too.
//   - A login with the FILE privilege, which reads and writes files of the server, is refused.
//   - Each call has its own connection, which is closed: no lock, variable or temporary table outlives it. What the server is
//     still doing for it is stopped by KILL CONNECTION over another one.
//
// Beyond that a statement has to begin as a query does, for the sake of ANALYZE TABLE and CHECK TABLE, which return rows and pass
// all of the above: MariaDB 10.11 then writes no statistics down, but renews those in memory, and marks a table that is broken.
//
// It does not know who asks, nor what the functions do that an administrator has made: one with SQL SECURITY DEFINER has the
// rights of its definer, FILE among them, and a loadable one (CREATE FUNCTION SONAME) can do anything. Through a proxy that
// spreads connections over servers, KILL may reach another server; then the time limits of the session end a statement. MySQL
// proper is spoken to by its manual: the tests have MariaDB 10.11, and a server of their own for what MySQL does otherwise.
package mysql
