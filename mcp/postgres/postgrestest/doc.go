// Package postgrestest starts real PostgreSQL servers for tests, and holds the attacks that a database server has to withstand:
// server.go runs one, setup.go makes roles and asks what is left behind, attacks.go is the table. It knows nothing of who attacks
// or by which way, so that the same rows run against the driver and against the whole system.
package postgrestest
