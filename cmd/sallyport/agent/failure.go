package agent

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
)

var (
	// ErrURL means that the URL cannot be called.
	ErrURL = errors.New("agent: not a URL of a server")
	// ErrPlaintext means that the token would travel in the clear to another machine.
	ErrPlaintext = errors.New("agent: the token is not sent in the clear")
	// ErrCAFile means that the CA file cannot be used.
	ErrCAFile = errors.New("agent: the CA file cannot be used")
)

// Failure is a request that did not bring a result.
type Failure struct {
	// Status is the HTTP status of the refusal, or 0 if no response came or the error came inside one.
	Status int
	// Code is the JSON-RPC error code, or 0.
	Code int
	// Message is what the server said, or what the network did.
	Message string
	// Reason is the one word for it from the error's data. It may be empty.
	Reason string
	// RequestID names the call in the gateway's log. It may be empty.
	RequestID string
	// Hint says what to do. It may be empty.
	Hint string
	// Err is the cause.
	Err error
}

// Error gives the message, what identifies the failure, and on a second line what to do.
func (f *Failure) Error() string {
	var text strings.Builder
	text.WriteString(f.Message)
	var marks []string
	if f.Reason != "" {
		marks = append(marks, f.Reason)
	}
	if f.Status != 0 {
		marks = append(marks, fmt.Sprintf("HTTP %d", f.Status))
	}
	if f.Code != 0 {
		marks = append(marks, fmt.Sprintf("code %d", f.Code))
	}
	if f.RequestID != "" {
		marks = append(marks, "request "+f.RequestID)
	}
	if len(marks) > 0 {
		fmt.Fprintf(&text, " (%s)", strings.Join(marks, ", "))
	}
	if f.Hint != "" {
		text.WriteString("\n  " + f.Hint)
	}
	return text.String()
}

// Unwrap returns the cause.
func (f *Failure) Unwrap() error { return f.Err }

// explainCall explains a call that failed. What may have happened all the same is said, since the server can have run
// the tool although its answer did not arrive.
func (a *Agent) explainCall(ctx context.Context, err error) error {
	lost := a.wire.cause != nil && a.wire.sent.Load()
	garbled := a.wire.cause == nil && a.wire.refusal == nil && a.tap.failed == nil
	err = a.explain(ctx, err)
	var f *Failure
	if ctx.Err() == nil && (lost || garbled) && errors.As(err, &f) {
		f.Message += "; the call may or may not have taken effect"
		f.Hint = "check whether it did before you repeat it; the gateway's log may tell why the answer was lost"
	}
	return err
}

// explain makes a Failure of what the library reports, from what was seen on the wire.
func (a *Agent) explain(ctx context.Context, err error) error {
	f := a.wire.refusal
	switch {
	case errors.Is(context.Cause(ctx), context.DeadlineExceeded):
		f = &Failure{Message: fmt.Sprintf("no answer within %s; the call may have taken effect", a.timeout), Hint: "give it longer with --timeout"}
	case errors.Is(ctx.Err(), context.Canceled):
		f = &Failure{Message: "interrupted; the call may have taken effect"}
	case a.wire.cause != nil && a.wire.sent.Load():
		f = &Failure{Message: "the connection was lost before the answer came: " + a.wire.cause.Error(), Hint: "look into the gateway's log, and try again"}
	case a.wire.cause != nil:
		f = explainNetwork(a.wire.cause)
	case f == nil:
		f = &Failure{Message: err.Error()}
	}
	if d := a.tap.failed; d != nil && f.Message != d.Message {
		f.Code, f.Message = d.Code, d.Message
		if data, ok := d.Data.(map[string]any); ok {
			f.Reason, _ = data["reason"].(string)
			f.RequestID, _ = data["request_id"].(string)
		}
	}
	if f.Message == "" {
		f.Message = fmt.Sprintf("the server answered %s", strings.ToLower(http.StatusText(f.Status)))
	}
	f.Message = strings.TrimSpace(plain(f.Message))
	f.Err = err
	if f.Hint == "" {
		f.Hint = hint(f)
	}
	return f
}

// hint says what the caller can do about a status.
func hint(f *Failure) string {
	switch {
	case f.Status == http.StatusUnauthorized:
		return "give the agent's token with --token-file FILE or the variable SALLYPORT_TOKEN"
	case f.Reason == "not_found", f.Status == http.StatusNotFound && f.Code == 0:
		return "check the URL, and that the token may use this tunnel and server; a server's URL is https://<gateway>/t/<tunnel>/<server>/mcp"
	case f.Reason == "misdirected":
		return "call the gateway by the host and port of its public_url"
	case f.Reason == "connector_offline":
		return "start the connector of this tunnel, or look into its log"
	}
	return ""
}

func explainNetwork(err error) *Failure {
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var verify *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	var dial *net.OpError
	switch {
	case errors.As(err, &unknown):
		return &Failure{Message: "the server's certificate is signed by an unknown authority",
			Hint: "for a gateway with self_signed give its CA file with --ca FILE"}
	case errors.As(err, &name):
		return &Failure{Message: "the server's certificate is for another name: " + name.Error(),
			Hint: "call the gateway by a name that its certificate covers"}
	case errors.As(err, &verify):
		return &Failure{Message: "the server's certificate is not valid: " + verify.Error(),
			Hint: "give the CA that signed it with --ca FILE, or have the certificate renewed"}
	case errors.As(err, &record):
		return &Failure{Message: "the server does not speak TLS on this port", Hint: "check the URL's port and scheme"}
	case errors.As(err, &dial):
		return &Failure{Message: "no connection: " + dial.Error(), Hint: "check the URL's host and port, and that the gateway runs"}
	}
	return &Failure{Message: "the connection failed: " + err.Error(), Hint: "check the URL, and the gateway's log"}
}
