// Package stdio speaks MCP with one local command over its standard input and output, one message a line, and answers the
// calls of streamable HTTP and HTTP+SSE with what the command says. Many calls share the one channel: the ids by which
// their requests, progress and subscriptions are known there are ours, and become the agent's again on the way back.
// Nothing else of a message changes.
//
// It does not know how the command is started, kept apart or ended, who calls, or which command a call belongs to.
package stdio
