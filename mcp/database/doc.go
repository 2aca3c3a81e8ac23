// Package database is a built-in MCP server for databases of any kind: it asks, explains, describes and runs named statements.
// server.go puts it together, query.go and named.go are its tools, browse.go and resources.go show what there is, and
// catalogue.go keeps it. What a kind of database needs is behind [Driver], in mcp/postgres, mcp/mysql and mcp/sqlite.
//
// It knows nothing of who may call it: policy has decided that before. Whose login a call is made with is in its context,
// put there by [WithCaller]. What a login may see and do is up to the database: no statement is judged by its text.
package database
