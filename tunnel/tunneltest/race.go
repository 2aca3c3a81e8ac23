//go:build race

package tunneltest

// The race detector makes each byte cost about ten times as much.
const (
	stalledReaders = 127
	churnStreams   = 2_000
	closedSessions = 40
)
