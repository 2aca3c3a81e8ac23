// Package postgres is the [database.Driver] for PostgreSQL. run.go runs a statement, explain.go, catalogue.go and warnings.go
// ask about one, about tables and about the login; link.go speaks the protocol, pool.go keeps connections, and value.go, array.go
// and param.go turn values into JSON and back. It does not know who may call, and judges no statement by its text.
//
// What keeps a query from changing anything is the server's: each runs in a read-only transaction that has taken a snapshot,
// after which PostgreSQL refuses to make it writable, is parsed as one statement, is executed only if it is one that returns
// rows, and is rolled back. What a session keeps beyond its transaction (session locks, settings, prepared statements) is
// discarded before the connection serves anybody else, and a connection that is in any doubt is closed.
//
// What it cannot undo is what a function does outside its transaction: dblink, foreign servers that are written to, untrusted
// languages, pg_terminate_backend on sessions of the same role. A login should have none of these; [Driver.Warnings] says which it has.
//
// It needs a session of its own on the server: behind a pooler that shares sessions between transactions, or that refuses
// settings at startup, it does not work.
package postgres
