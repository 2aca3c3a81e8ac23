// Package observability_test holds deploy/observability, and the guide that explains it, to what the two roles really
// export. It does not know how Grafana draws.
package observability_test

import (
	"testing"

	"sallyport.dev/cell"
)

func TestMain(m *testing.M) {
	cell.Main() // does not return in a process that keeps a local server apart
	m.Run()
}
