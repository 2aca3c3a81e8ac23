// Package gateway is the public side of Sallyport: it authenticates agents,
// finds the tunnel that serves their URL and forwards each call over one of its
// sessions. It does not know credentials or policy, and never decides more than
// whether a principal may use a tunnel and server: the connector does the rest.
//
// The chain that every call goes through is listed in server.go.
package gateway
