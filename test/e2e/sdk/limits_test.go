package sdk_test

import "slices"

// feature is a thing that a client and a server do together.
type feature int

const (
	calls    feature = iota // tools are listed, and one is called
	reports                 // a call reports its progress
	asks                    // a server asks the client, in the middle of a call
	notifies                // a server says something unasked
	cancels                 // a client cancels a call
	ends                    // a client ends its MCP session
	features
)

func (f feature) String() string {
	return [...]string{"tools", "progress", "question", "notification", "cancellation", "session's end"}[f]
}

// limit is why something is not done in a cell.
type limit struct {
	// why is the cause in a peer; "" where the protocol has no such thing.
	why string
	// final says that there is no way to try.
	final bool
}

// outcome is what came of the features: nil for what works.
type outcome map[feature]*limit

// limits lists what does not work between peers, with a tunnel and without. A
// limit that no longer holds fails the test.
var limits = []struct {
	limit
	of       []feature
	from, to []string // clients and servers; nil for all
	over     wire     // or "" for all
	until    string   // the first revision without it; "" for none
	since    string   // the first revision with it; "" for all
}{
	{
		of: []feature{ends}, over: httpSSE,
		limit: limit{final: true},
	},
	{
		of: []feature{ends}, over: stdio,
		limit: limit{final: true},
	},
	{
		of: []feature{ends}, since: stateless,
		limit: limit{final: true},
	},
	{
		of: []feature{reports, asks, notifies, cancels}, from: []string{inspect},
		limit: limit{final: true, why: "The inspector's command line makes one call in a process: it shows no progress and no notifications, has nobody to ask, and its calls are not cancelled."},
	},
	{
		of: []feature{reports, asks, notifies, cancels}, to: []string{filesystemStdio},
		limit: limit{final: true, why: "server-filesystem has no call that reports its progress, asks, announces or waits."},
	},
	{
		of: []feature{ends}, from: []string{inspect, mcpRemote, supergateway},
		limit: limit{why: "The client sends no DELETE: it leaves its MCP session to the server's timeout."},
	},
	{
		of: []feature{reports, notifies}, from: []string{supergateway},
		limit: limit{why: "As a client, supergateway passes on requests and their results; notifications of the server end in it."},
	},
	{
		of: []feature{asks}, from: []string{supergateway},
		limit: limit{why: "As a client, supergateway answers a server's requests itself, with -32601, and never passes them to its host."},
	},
	{
		of: []feature{cancels}, from: []string{supergateway},
		limit: limit{why: "As a client, supergateway gives requests ids of its own, but passes on cancellations with its host's id, which the server does not know."},
	},
	{
		of: []feature{cancels}, from: []string{mcpRemote}, since: stateless,
		limit: limit{why: "mcp-remote passes on `notifications/cancelled`, where a client of this revision cancels by closing the answer's stream."},
	},
	{
		of: []feature{cancels}, from: []string{mcpGo}, to: []string{goSDK, reference, wrapped, goSDKStdio, mcpGoStdio, referenceStdio}, over: streamable, until: stateless,
		limit: limit{why: "mcp-go's client sends no cancellation over HTTP, it only closes the answer's stream. Up to 2025-11-25 that is none; only mcp-go's own server takes it for one."},
	},
	{
		of: []feature{cancels}, from: []string{mcpGo}, over: httpSSE,
		limit: limit{why: "mcp-go's client sends no cancellation over HTTP, and HTTP+SSE has no stream of the call's own to close."},
	},
	{
		of: []feature{asks}, to: []string{mcpGo}, over: httpSSE,
		limit: limit{why: "mcp-go's server has no requests to the client over HTTP+SSE."},
	},
	{
		of: []feature{asks}, from: []string{mcpGo}, over: httpSSE,
		limit: limit{why: "mcp-go's client does not answer requests of the server over HTTP+SSE."},
	},
}

// limit returns why a feature is not to be had in a cell, or nil if it is.
func (c cell) limit(f feature) *limit {
	within := func(names []string, name string) bool { return names == nil || slices.Contains(names, name) }
	for i := range limits {
		l := &limits[i]
		if slices.Contains(l.of, f) && within(l.from, c.client) && within(l.to, c.server) && (l.over == "" || l.over == c.over) &&
			c.revision >= l.since && (l.until == "" || c.revision < l.until) {
			return &l.limit
		}
	}
	return nil
}
