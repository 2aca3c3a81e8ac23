// Package oauth_test lets OAuth clients that others wrote sign in at a real
// OpenID Connect provider and call a private server through the whole system
// with the tokens that they get. It knows nothing of how a token is verified.
package oauth_test

import (
	"flag"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// TestMain lets more sign-ins go on beside each other than there are
// processors: most of them wait for a process that starts.
func TestMain(m *testing.M) {
	playBrowser()
	playClient()
	if err := flag.Set("test.parallel", "3"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

// patience is how long a test waits for a process on a machine that has other
// things to do.
const patience = time.Minute

// The clients, by their names in the table.
const (
	goSDK     = "go-sdk"
	mcpGo     = "mcp-go"
	mcpRemote = "mcp-remote"
)

// registration is how a client makes itself known to the provider.
type registration string

const (
	dynamic      registration = "dynamic registration"
	document     registration = "metadata document"
	public       registration = "pre-registered"
	confidential registration = "pre-registered with a secret"
	// unattended is a client that signs in for itself, without a user.
	unattended registration = "client credentials"
)

func registrations() []registration {
	return []registration{dynamic, document, public, confidential, unattended}
}
