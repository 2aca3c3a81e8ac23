package tunnel_test

import (
	"flag"
	"testing"

	"go.uber.org/goleak"

	"sallyport.dev/tunnel/tunneltest"
)

// TestMain lets more tests run beside each other than there are processors:
// most of them wait for a timer.
func TestMain(m *testing.M) {
	if err := flag.Set("test.parallel", "32"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

func TestSuite(t *testing.T) {
	for _, transport := range tunneltest.Transports() {
		t.Run(string(transport), func(t *testing.T) { tunneltest.Run(t, transport) })
	}
}
