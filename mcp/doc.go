// Package mcp reads just enough of the Model Context Protocol to decide about a call and to carry it on
// byte for byte: the strict JSON-RPC envelope and its http middleware, the headers that may travel, protocol
// revisions, event-stream boundaries, and the one table of errors that agents see.
//
// It does not know what a tool does, who is calling, or where a server lives; it never re-encodes a body, never
// opens a connection and never logs. What it refuses it describes in its own words, so that no byte of a
// stranger's body, token or header value reaches an error text.
//
// The rules come from the MCP revisions 2024-11-05 to 2026-07-28 (streamable HTTP, SEP-2243 for mirrored headers,
// SEP-2663 for task ids), JSON-RPC 2.0, RFC 9110 and the WHATWG event stream format.
package mcp
