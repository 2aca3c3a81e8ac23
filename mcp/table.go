package mcp

import (
	"net/http"
	"time"
)

// The table of errors: every way in which a call can be refused or fail, with its HTTP status, JSON-RPC code, reason
// and delivery. -32700 and -32600 to -32603 are JSON-RPC's own, -32020 is MCP's HeaderMismatch; -32000 to -32019 are
// ours, as the allocation policy of MCP 2026-07-28 leaves them to implementations. Tunnel trouble is never a 4xx, which
// clients of both eras would take for an old server.

const (
	nothingSent = " Nothing was delivered to the server."
	fixAndSend  = nothingSent + " Correct the request before sending it again."
)

// Unauthenticated is a missing, invalid or expired token. The challenges become WWW-Authenticate (RFC 9728 §5.1).
func Unauthenticated(challenges ...string) *Error {
	return &Error{Status: http.StatusUnauthorized, Code: -32000, Reason: "unauthenticated", Delivered: DeliveredNo, Challenges: challenges,
		Message: "The request carries no valid access token." + nothingSent + " Get a token for this server and send the request again with it."}
}

// InsufficientScope is a genuine token that lacks a scope or claim for this server (RFC 6750 §3.1; MCP 2026-07-28, authorization:
// 403 with a challenge that names the scopes).
func InsufficientScope(challenges ...string) *Error {
	return &Error{Status: http.StatusForbidden, Code: -32003, Reason: "insufficient_scope", Delivered: DeliveredNo, Challenges: challenges,
		Message: "The access token is not good for this server: it lacks a scope or a claim." + nothingSent + " Get a token that has it, and send the request again."}
}

// IssuerUnavailable is a token that nobody can judge now, because whoever issued it gives no answer.
func IssuerUnavailable(cause error) *Error {
	return &Error{Status: http.StatusServiceUnavailable, Code: -32008, Reason: "issuer_unavailable", Delivered: DeliveredNo, RetryAfter: 5 * time.Second, Err: cause,
		Message: "The access token cannot be verified: the identity provider gives no answer." + nothingSent + " Send the request again in a few seconds."}
}

// CallerNotVerified is a caller whose own token the connector does not accept, whatever the gateway says of them.
func CallerNotVerified(cause error) *Error {
	return &Error{Status: http.StatusForbidden, Code: -32003, Reason: "caller_not_verified", Delivered: DeliveredNo, Err: cause,
		Message: "This server verifies callers itself, and does not accept this access token." + nothingSent + " Get a token from an identity provider that the server's administrator has named."}
}

// Denied is a refusal by policy. The rule is the rule's stable name and may be empty.
func Denied(rule string) *Error {
	return &Error{Status: http.StatusForbidden, Code: -32003, Reason: "denied", Delivered: DeliveredNo, Rule: rule,
		Message: "The policy of this server does not allow this call." + nothingSent + " Do not repeat it; ask the server's administrator for access."}
}

// ToolQuarantined is a tool that may not be called because its definition is not the one that was pinned. The reason is a
// fixed phrase.
func ToolQuarantined(reason string) *Error {
	return &Error{Status: http.StatusForbidden, Code: -32003, Reason: "tool_quarantined", Delivered: DeliveredNo,
		Message: "The tool may not be called here: " + reason + "." + nothingSent + " Do not repeat it; ask the server's administrator to look at it."}
}

// BadOrigin is an Origin header that is not on the list (MCP: a server must answer 403).
func BadOrigin() *Error {
	return &Error{Status: http.StatusForbidden, Code: -32003, Reason: "bad_origin", Delivered: DeliveredNo,
		Message: "Web pages of this origin may not call this server." + nothingSent + " Ask the administrator to list the origin, or call without a browser."}
}

// NotFound is a server that does not exist or is not the caller's; the answer is the same, byte for byte.
func NotFound() *Error {
	return &Error{Status: http.StatusNotFound, Reason: "not_found", Delivered: DeliveredNo,
		Message: "There is no such server for this caller." + nothingSent + " Check the URL."}
}

// SessionNotFound is an MCP session that was not begun here by this caller, or has ended: a client then begins a new one
// (MCP 2025-11-25, "Session Management"). The code is the one that servers in use give.
func SessionNotFound() *Error {
	return &Error{Status: http.StatusNotFound, Code: -32001, Reason: "session_not_found", Delivered: DeliveredNo,
		Message: "The MCP session is not known here: it has ended, or it belongs to another caller or server." + nothingSent + " Begin a new session."}
}

// UnknownMethod is a method that is no word of the protocol's grammar (MCP 2026-07-28: 404 with -32601).
func UnknownMethod() *Error {
	return &Error{Status: http.StatusNotFound, Code: -32601, Reason: "unknown_method", Delivered: DeliveredNo,
		Message: "The method is not a well-formed MCP method." + fixAndSend}
}

// ParseError is a body that is not one strict JSON value. The problem is a fixed phrase and quotes nothing.
func ParseError(problem string) *Error {
	return &Error{Status: http.StatusBadRequest, Code: -32700, Reason: "parse_error", Delivered: DeliveredNo, problem: problem,
		Message: "The request body was refused: " + problem + "." + fixAndSend}
}

// InvalidRequest is a request that is not a legal JSON-RPC message or not a legal use of the transport.
func InvalidRequest(problem string) *Error {
	return &Error{Status: http.StatusBadRequest, Code: -32600, Reason: "invalid_request", Delivered: DeliveredNo, problem: problem,
		Message: "The request was refused: " + problem + "." + fixAndSend}
}

// InvalidParams is a request without the protocol version that its revision wants in params._meta (MCP 2026-07-28: 400
// with -32602).
func InvalidParams(problem string) *Error {
	return &Error{Status: http.StatusBadRequest, Code: -32602, Reason: "invalid_params", Delivered: DeliveredNo,
		Message: "The request was refused: " + problem + "." + fixAndSend}
}

// UnsupportedRevision is a request of a revision without sessions to a server that has only those with them. A client of
// both takes a 4xx whose code it does not know for an older server, which this one is (MCP 2026-07-28, "Backward
// Compatibility"), and begins with initialize.
func UnsupportedRevision() *Error {
	return &Error{Status: http.StatusBadRequest, Code: -32004, Reason: "unsupported_revision", Delivered: DeliveredNo,
		Message: "This server knows only protocol revisions up to 2025-11-25, which begin with initialize." + nothingSent + " Begin with initialize."}
}

// HeaderMismatch is a mirrored header that is missing, malformed, repeated or different from the body (SEP-2243).
func HeaderMismatch(problem string) *Error {
	return &Error{Status: http.StatusBadRequest, Code: -32020, Reason: "header_mismatch", Delivered: DeliveredNo,
		Message: "Header mismatch: " + problem + "." + fixAndSend}
}

// UnsupportedMedia is a body that is not plain application/json.
func UnsupportedMedia() *Error {
	return &Error{Status: http.StatusUnsupportedMediaType, Code: -32600, Reason: "unsupported_media_type", Delivered: DeliveredNo,
		Message: "The body must be application/json without a content encoding." + fixAndSend}
}

// MethodNotAllowed is an HTTP method that the endpoint does not have; allow lists those it has (RFC 9110 §15.5.6).
func MethodNotAllowed(allow string) *Error {
	return &Error{Status: http.StatusMethodNotAllowed, Code: -32600, Reason: "method_not_allowed", Delivered: DeliveredNo, Allow: allow,
		Message: "The endpoint does not take this HTTP method." + nothingSent + " Send MCP messages by POST."}
}

// RequestTimeout is a body that did not come fast enough.
func RequestTimeout() *Error {
	return &Error{Status: http.StatusRequestTimeout, Code: -32600, Reason: "request_timeout", Delivered: DeliveredNo,
		Message: "The request body did not arrive in time." + nothingSent + " Send the request again."}
}

// TooLarge is a body above the limit.
func TooLarge() *Error {
	return &Error{Status: http.StatusRequestEntityTooLarge, Code: -32005, Reason: "too_large", Delivered: DeliveredNo,
		Message: "The request body is larger than this gateway takes." + nothingSent + " Send less in one request."}
}

// HeadersTooLarge is a request head with too many fields (RFC 6585 §5).
func HeadersTooLarge() *Error {
	return &Error{Status: http.StatusRequestHeaderFieldsTooLarge, Code: -32005, Reason: "headers_too_large", Delivered: DeliveredNo,
		Message: "The request has too many header fields." + fixAndSend}
}

// Misdirected is a request for an authority that this listener does not serve (RFC 9110 §15.5.20).
func Misdirected() *Error {
	return &Error{Status: http.StatusMisdirectedRequest, Code: -32600, Reason: "misdirected", Delivered: DeliveredNo,
		Message: "This endpoint does not serve the host that the request names." + nothingSent + " Check the URL and connect to its own host."}
}

// RateLimited is a caller above its rate or quota.
func RateLimited(retryAfter time.Duration) *Error {
	return &Error{Status: http.StatusTooManyRequests, Code: -32006, Reason: "rate_limited", Delivered: DeliveredNo, RetryAfter: retryAfter,
		Message: "Too many requests were sent." + nothingSent + " Wait as long as Retry-After says, then send it again."}
}

// ConnectorOffline is a tunnel without a live session.
func ConnectorOffline(retryAfter time.Duration) *Error {
	return &Error{Status: http.StatusServiceUnavailable, Code: -32010, Reason: "connector_offline", Delivered: DeliveredNo, RetryAfter: retryAfter,
		Message: "The connector of this server is not connected." + nothingSent + " It is safe to send the call again later; if this lasts, ask the administrator to check the connector."}
}

// NotDelivered is a session lost before it had the whole request, or a connector that refused it unread.
func NotDelivered(cause error) *Error {
	return &Error{Status: http.StatusServiceUnavailable, Code: -32011, Reason: "not_delivered", Delivered: DeliveredNo, RetryAfter: time.Second, Err: cause,
		Message: "The connection to the server was lost before the call was handed over." + nothingSent + " It is safe to send the call again."}
}

// OutcomeUnknown is a session or an upstream connection lost after the whole request may have gone out.
func OutcomeUnknown(cause error) *Error {
	return &Error{Status: http.StatusBadGateway, Code: -32012, Reason: "outcome_unknown", Delivered: DeliveredUnknown, Err: cause,
		Message: "The connection to the server was lost before it answered. The call may or may not have taken effect. Check its effect before sending it again."}
}

// UpstreamUnreachable is a connector that could not connect to the upstream.
func UpstreamUnreachable(cause error) *Error {
	return &Error{Status: http.StatusBadGateway, Code: -32013, Reason: "upstream_unreachable", Delivered: DeliveredNo, Err: cause,
		Message: "The connector could not reach the server." + nothingSent + " It is safe to send the call again later; if this lasts, ask the administrator to check the server."}
}

// UpstreamConnectTimeout is UpstreamUnreachable for want of any answer to the connection attempt.
func UpstreamConnectTimeout(cause error) *Error {
	e := UpstreamUnreachable(cause)
	e.Status = http.StatusGatewayTimeout
	return e
}

// UpstreamQuarantined is an upstream that gets no more calls because it sent a credential back.
func UpstreamQuarantined(cause error) *Error {
	return &Error{Status: http.StatusServiceUnavailable, Code: -32013, Reason: "upstream_quarantined", Delivered: DeliveredNo, Err: cause,
		Message: "The connector makes no more calls to this server." + nothingSent + " Do not send it again; ask the administrator to look at the connector's log."}
}

// UpstreamTimeout is an upstream that got the request and did not answer in time.
func UpstreamTimeout(cause error) *Error {
	return &Error{Status: http.StatusGatewayTimeout, Code: -32014, Reason: "outcome_unknown", Delivered: DeliveredUnknown, Err: cause,
		Message: "The server did not answer in time. The call may or may not have taken effect. Check its effect before sending it again."}
}

// UpstreamBroken is an upstream that may have got the request and hung up before it answered.
func UpstreamBroken(cause error) *Error {
	return &Error{Status: http.StatusBadGateway, Code: -32014, Reason: "outcome_unknown", Delivered: DeliveredUnknown, Err: cause,
		Message: "The server closed the connection before it answered. The call may or may not have taken effect. Check its effect before sending it again."}
}

// CredentialUnavailable is a credential that the connector cannot obtain. The answer does not name it.
func CredentialUnavailable(cause error) *Error {
	return &Error{Status: http.StatusServiceUnavailable, Code: -32015, Reason: "credential_unavailable", Delivered: DeliveredNo, Err: cause,
		Message: "The connector cannot obtain the credential that this server needs." + nothingSent + " Ask the administrator to check the connector's credentials."}
}

// Draining is a process that is shutting down and takes no new calls.
func Draining() *Error {
	return &Error{Status: http.StatusServiceUnavailable, Code: -32016, Reason: "draining", Delivered: DeliveredNo, RetryAfter: time.Second, Close: true,
		Message: "This gateway is shutting down." + nothingSent + " Send the call again on a new connection."}
}

// CredentialRejected is an upstream that refused the connector's credential. Its challenge is never passed on.
func CredentialRejected() *Error {
	return &Error{Status: http.StatusBadGateway, Code: -32017, Reason: "credential_rejected", Delivered: DeliveredYes,
		Message: "The server got the call and rejected the connector's credential. Do not repeat it; ask the administrator to check the credential."}
}

// AuditUnavailable is a call that was not made because it could not be recorded.
func AuditUnavailable(cause error) *Error {
	return &Error{Status: http.StatusServiceUnavailable, Code: -32018, Reason: "audit_unavailable", Delivered: DeliveredNo, Err: cause,
		Message: "The connector cannot record calls now, and makes none that it cannot record." + nothingSent + " It is safe to send the call again later; if this lasts, ask the administrator to look at the connector's disk."}
}

// Overloaded is a process that has no room for another call.
func Overloaded() *Error {
	return &Error{Status: http.StatusServiceUnavailable, Code: -32018, Reason: "overloaded", Delivered: DeliveredNo, RetryAfter: time.Second,
		Message: "The gateway has no capacity for another call now." + nothingSent + " It is safe to send the call again after a moment."}
}

// ResultTooLarge is an answer that is longer than policy lets this caller have.
func ResultTooLarge() *Error {
	return &Error{Status: http.StatusBadGateway, Code: -32005, Reason: "result_too_large", Delivered: DeliveredYes,
		Message: "The server got the call, but its answer is larger than the policy of this server allows. The call may have taken effect; ask for less."}
}

// ResultDenied is an answer that policy does not let this caller have. The rule is the rule's stable name.
func ResultDenied(rule string, cause error) *Error {
	return &Error{Status: http.StatusForbidden, Code: -32003, Reason: "result_denied", Delivered: DeliveredYes, Rule: rule, Err: cause,
		Message: "The server got the call, and the policy of this server does not allow its answer to pass. The call may have taken effect; do not repeat it, and ask the server's administrator."}
}

// UpstreamInvalid is an answer that cannot be passed on, such as one in an encoding that was not asked for.
func UpstreamInvalid(cause error) *Error {
	return &Error{Status: http.StatusBadGateway, Code: -32019, Reason: "upstream_invalid", Delivered: DeliveredYes, Err: cause,
		Message: "The server got the call, but its answer cannot be passed on. The call may have taken effect; ask the administrator to check the server."}
}

// Internal is a fault of ours; anything that no other row describes. The answer has no detail beyond the request id.
func Internal(cause error) *Error {
	return &Error{Status: http.StatusInternalServerError, Code: -32603, Reason: "internal", Delivered: DeliveredUnknown, Err: cause,
		Message: "The gateway failed in an unexpected way. The call may or may not have taken effect. Report the request id to the administrator."}
}
