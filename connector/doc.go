// Package connector is the private side of Sallyport: it dials out to the
// gateway, verifies who calls, decides by the customer's policy, puts
// credentials in and calls the private upstreams. It does not know how agents
// authenticate, takes no route, policy, credential or code from the gateway,
// and listens on no port.
//
// The chain that every call goes through is listed in server.go.
package connector
