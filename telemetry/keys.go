package telemetry

import "go.opentelemetry.io/otel/attribute"

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
	// KeyErrorType is why a call has failed, as error.type of its spans has it.
	KeyErrorType = "error_type"
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

	// KeyTraceID is the id of the trace that a line's call belongs to, in hexadecimal.
	KeyTraceID = "trace_id"
	// KeySpanID is the id of the span in it.
	KeySpanID = "span_id"
	// KeySignal is a kind of telemetry: traces, metrics, logs or audit.
	KeySignal = "signal"
)

// Conventions names the version of the OpenTelemetry conventions for MCP that the keys of the first group below are from. All of
// them have the status Development there.
const Conventions = "open-telemetry/semantic-conventions-genai docs/gen-ai/mcp.md @0393513"

// Keys of attributes of spans and metrics, as the conventions have them.
const (
	AttrMCPMethod       attribute.Key = "mcp.method.name"
	AttrMCPSession      attribute.Key = "mcp.session.id"
	AttrMCPVersion      attribute.Key = "mcp.protocol.version"
	AttrTool            attribute.Key = "gen_ai.tool.name"
	AttrPrompt          attribute.Key = "gen_ai.prompt.name"
	AttrOperation       attribute.Key = "gen_ai.operation.name"
	AttrJSONRPCID       attribute.Key = "jsonrpc.request.id"
	AttrRPCStatus       attribute.Key = "rpc.response.status_code"
	AttrErrorType       attribute.Key = "error.type"
	AttrNetTransport    attribute.Key = "network.transport"
	AttrProtocol        attribute.Key = "network.protocol.name"
	AttrProtocolVersion attribute.Key = "network.protocol.version"
	AttrIODirection     attribute.Key = "network.io.direction"
	AttrServerAddress   attribute.Key = "server.address"
	AttrServerPort      attribute.Key = "server.port"
	AttrClientAddress   attribute.Key = "client.address"
	AttrClientPort      attribute.Key = "client.port"
	AttrHTTPMethod      attribute.Key = "http.request.method"
	AttrHTTPStatus      attribute.Key = "http.response.status_code"
	AttrHTTPRoute       attribute.Key = "http.route"
	AttrDBSystem        attribute.Key = "db.system.name"
	AttrDBNamespace     attribute.Key = "db.namespace"
)

// Keys of attributes of our own. Durations are in seconds.
const (
	AttrTunnel      attribute.Key = "sallyport.tunnel"      // a tunnel's name
	AttrServer      attribute.Key = "sallyport.server"      // a server's name under its tunnel
	AttrPrincipal   attribute.Key = "sallyport.principal"   // a verified caller as issuer|subject
	AttrRequestID   attribute.Key = "sallyport.request_id"  // of one call, on all hops
	AttrInstance    attribute.Key = "sallyport.instance"    // of a running connector
	AttrSession     attribute.Key = "sallyport.session"     // a session of the tunnel, by the name that this end has for it
	AttrTransport   attribute.Key = "sallyport.transport"   // what carries the tunnel: quic, tcp or pipe
	AttrOutcome     attribute.Key = "sallyport.outcome"     // what became of a call, a word
	AttrDelivered   attribute.Key = "sallyport.delivered"   // whether the upstream got it: yes, no or unknown
	AttrAttempts    attribute.Key = "sallyport.attempts"    // on how many sessions it was tried
	AttrDecision    attribute.Key = "sallyport.decision"    // of policy: allow or deny
	AttrRule        attribute.Key = "sallyport.rule"        // that decided
	AttrCredential  attribute.Key = "sallyport.credential"  // a credential's name
	AttrCredentials attribute.Key = "sallyport.credentials" // the names of those that a call carries
	AttrMasked      attribute.Key = "sallyport.masked"      // how many secrets were found in the answer
	AttrDropped     attribute.Key = "sallyport.dropped"     // elements taken out of lists
	AttrMessages    attribute.Key = "sallyport.messages"    // in a batch
	AttrReason      attribute.Key = "sallyport.reason"      // why something was refused, ended or lost, a word
	AttrSignal      attribute.Key = "sallyport.signal"      // a kind of telemetry
	AttrRetryOf     attribute.Key = "sallyport.retry_of"    // the instance of a connector that had not got the call

	AttrAuthenticate attribute.Key = "sallyport.authenticate.duration" // until the caller was known
	AttrQueue        attribute.Key = "sallyport.queue.duration"        // until a session was there
	AttrOpen         attribute.Key = "sallyport.open.duration"         // until its stream was open
	AttrPolicy       attribute.Key = "sallyport.policy.duration"       // until policy had decided
	AttrApproval     attribute.Key = "sallyport.approval.duration"     // that a human took
	AttrFetch        attribute.Key = "sallyport.credential.duration"   // until the credentials were there
	AttrFirstByte    attribute.Key = "sallyport.first_byte.duration"   // from sending the call to the head of the answer
	AttrStream       attribute.Key = "sallyport.stream.duration"       // from there to the answer's end
)
