package credential

import (
	"crypto/tls"
	"net/http"

	"sallyport.dev/secret"
)

// Injector is one way to put values into a request.
type Injector interface {
	// Validate checks what was configured, and says what to write instead. Its error matches [ErrConfig].
	Validate() error
	// Place names what is set, such as "header authorization", in one spelling for all that would overwrite each other.
	Place() string
	// Order says when it has its turn: what reads or signs other parts of the request comes behind what sets them.
	Order() int
	// Strip takes out what the request has in that place, in every spelling that some server takes for it.
	Strip(r *http.Request) error
	// Inject strips and then puts the values in. The request is the injector's to change: header, URL and body. An error
	// matches [ErrUnusable] and repeats no value; the place is then empty.
	Inject(r *http.Request, values []secret.Value) error
}

// Nester is an Injector whose place may hold other places.
type Nester interface {
	Injector
	// Holds reports whether the place of another lies in its own, so that setting the one takes out the other.
	Holds(other Injector) bool
}

// The turns of injectors.
const (
	OrderBody = iota
	OrderURL
	OrderHeader
	OrderSignature
)

// Presenter is an Injector that puts nothing into the request: it shows a certificate to the upstream, in the handshake
// below. Its first value, the certificate with its chain, is no secret: whoever listens may see it.
type Presenter interface {
	Injector
	// Certificate makes it of the values. An error matches [ErrUnusable] and repeats no value.
	Certificate(values []secret.Value) (*tls.Certificate, error)
}
