package tunnel_test

import (
	"testing"

	"go.uber.org/goleak"

	"sallyport.dev/tunnel/tunneltest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestSuite(t *testing.T) {
	for _, transport := range tunneltest.Transports() {
		t.Run(string(transport), func(t *testing.T) { tunneltest.Run(t, transport) })
	}
}
