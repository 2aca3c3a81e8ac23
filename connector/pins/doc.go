// Package pins remembers the definition of each tool that a server was first seen with, and says when one differs: an
// upstream that is approved with harmless tools cannot change them, or add others, without being noticed (a rug pull).
// [Inspect] judges one list by itself: names that look alike, hidden characters, headers that a schema must not name.
//
// What is pinned is a tool's whole definition, _meta, icons and annotations too: an agent or its user may act on each of
// them. The hash is SHA-256 of a canonical form (RFC 8785, but numbers keep their digits), so that white space, the order
// of members and the spelling of escapes do not alarm, and any value does. Of a definition that is no strict JSON object
// the bytes themselves are hashed.
//
// Pins belong to a server and a tool's name. Where an upstream shows principals different definitions of one tool, those
// that are not the pinned one are Changed; such a server is for [Report].
//
// At first sight everything that is not suspicious is pinned, until a list that was followed from its
// beginning has ended, or for a minute. An empty list pins nothing and ends nothing.
//
// It does not know who calls, sends nothing and logs nothing: it keeps files, and tells its caller what it found. A tool
// that does something else under the same definition is not noticed.
package pins
