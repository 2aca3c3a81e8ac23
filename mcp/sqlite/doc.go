// Package sqlite is the SQLite database behind the built-in database server: one file, or one that is made in memory.
//
// Each statement has a connection of its own, which costs about a millisecond: so nothing of a statement outlives it, a file
// that was replaced is noticed, and what a statement has used up is given back. open.go makes it and bounds it, authorize.go
// says what a statement may do, file.go looks at the file before, run.go runs a statement and values.go returns what it found.
//
// SQLite is compiled from C to Go by way of WebAssembly: each connection has a memory of its own, with an upper bound, and
// what goes wrong in it ends as a panic, which is caught. It knows no logins, and nothing of who calls: everyone sees the whole file.
package sqlite
