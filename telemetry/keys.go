package telemetry

// Keys of log attributes. One thing has one key in all packages, so that one search finds it everywhere.
const (
	// KeyTunnel is a tunnel's name.
	KeyTunnel = "tunnel"
	// KeyServer is the name of an MCP server under its tunnel.
	KeyServer = "server"
	// KeyPrincipal is a verified caller as "issuer|subject".
	KeyPrincipal = "principal"
	// KeyIssuer is the issuer of principals.
	KeyIssuer = "issuer"
	// KeyInstance is the id of one running connector.
	KeyInstance = "instance"
	// KeySession is the id of one live connection between an instance and a gateway.
	KeySession = "session"
	// KeyRequestID is the id of one call, the same on all hops.
	KeyRequestID = "request_id"

	// KeyMethod is the JSON-RPC method of a call.
	KeyMethod = "method"
	// KeyTool is the tool that a call names.
	KeyTool = "tool"
	// KeyHTTPMethod is the HTTP method of a request.
	KeyHTTPMethod = "http_method"
	// KeyStatus is the HTTP status of an answer, a number.
	KeyStatus = "status"
	// KeyCode is the JSON-RPC error code of an answer, a number.
	KeyCode = "code"
	// KeyOutcome is what became of a call, a word.
	KeyOutcome = "outcome"
	// KeyRule is the policy rule that decided a call.
	KeyRule = "rule"
	// KeyDropped is how many elements were taken out of a list because the caller may not use them, a number.
	KeyDropped = "dropped"
	// KeyDelivered is whether the upstream got the call: "yes", "no" or "unknown".
	KeyDelivered = "delivered"
	// KeyAttempts is on how many sessions a call was tried, a number.
	KeyAttempts = "attempts"
	// KeyDurationMS is how long something took, in milliseconds.
	KeyDurationMS = "duration_ms"
	// KeyBytesIn is the size of a request's body, in bytes.
	KeyBytesIn = "bytes_in"
	// KeyBytesOut is the size of an answer's body, in bytes.
	KeyBytesOut = "bytes_out"

	// KeyTransport is what carries a session: "quic", "tcp" or "pipe".
	KeyTransport = "transport"
	// KeyRemote is the network address of the peer.
	KeyRemote = "remote"
	// KeyListen is a network address that this process listens on.
	KeyListen = "listen"
	// KeyGateway is the address of the gateway that a connector dials.
	KeyGateway = "gateway"
	// KeyUpstream is the scheme, host and port that a connector calls.
	KeyUpstream = "upstream"
	// KeyPID is the id of a process of ours.
	KeyPID = "pid"
	// KeyPath is a file in the local file system.
	KeyPath = "path"

	// KeyError is an error's text.
	KeyError = "error"
	// KeyReason is why something was ended or refused, a word or a short phrase.
	KeyReason = "reason"
	// KeyHint is what the operator may do about it.
	KeyHint = "hint"
	// KeyRetryInMS is how long until the next attempt, in milliseconds.
	KeyRetryInMS = "retry_in_ms"
	// KeyVersion is a version of this program or of a protocol.
	KeyVersion = "version"
)
