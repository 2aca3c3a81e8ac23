//go:build !race

package tunneltest

const (
	stalledReaders = tunnelLimit - 1
	churnStreams   = 10_000
	closedSessions = 100
)
