package auth

import (
	"crypto/ed25519"
	"fmt"

	"github.com/go-json-experiment/json"
)

// AttachPath is where a connector attaches, by POST on a stream that it opens
// to the gateway, with its tunnel token as bearer token.
const AttachPath = "/attach"

// DescribePath is where a connector asks where its servers would be, with the
// request, the token and the answer of an attach, and without attaching: the
// session carries nothing afterwards, and the asker closes it.
const DescribePath = "/describe"

// KeysPath is where a connector that has attached asks for the gateway's assertion keys again, by POST without a body, when
// it has seen one that it does not know.
const KeysPath = "/keys"

// MaxAttachBytes bounds the body of an attach request and of its answer.
const MaxAttachBytes = 64 << 10

// AttachRequest is what a connector says of itself when it attaches.
type AttachRequest struct {
	// Instance is the connector's instance id, the same as in its hello.
	Instance string `json:"instance"`
	// Version is the connector's software version, for the operator.
	Version string `json:"version"`
	// Servers are the names of the servers that it serves.
	Servers []string `json:"servers"`
	// Bound are those of them whose MCP sessions live in the connector's own process: no other instance knows them.
	Bound []string `json:"bound,omitempty"`
	// Verifies are the issuers whose principals it accepts, by their own tokens, which it therefore must be sent. Empty if
	// the gateway's word is enough.
	Verifies []string `json:"verifies,omitempty"`
}

// AttachAnswer is what a gateway tells a connector that has attached, or that
// asked to be described.
type AttachAnswer struct {
	// Tunnel is the tunnel that the token belongs to.
	Tunnel string `json:"tunnel"`
	// Issuer is who signs the assertions: the gateway's public URL.
	Issuer string `json:"issuer"`
	// AssertionKeys are the public halves of the gateway's Ed25519 keys: the one that signs, and for a while after a
	// rotation the one before.
	AssertionKeys []ed25519.PublicKey `json:"assertion_keys"`
	// URLs are the canonical URLs of the servers, by name.
	URLs map[string]string `json:"urls"`
}

// KeysAnswer is what a gateway answers at [KeysPath].
type KeysAnswer struct {
	// AssertionKeys are as in [AttachAnswer].
	AssertionKeys []ed25519.PublicKey `json:"assertion_keys"`
}

// MarshalAttach encodes an attach request or answer.
func MarshalAttach(v any) ([]byte, error) { return json.Marshal(v) }

// UnmarshalAttach decodes an attach request or answer into v, strictly: no
// duplicate key, no other case, at most [MaxAttachBytes].
func UnmarshalAttach(body []byte, v any) error {
	if len(body) > MaxAttachBytes {
		return fmt.Errorf("%w: an attach message of %d bytes", ErrMalformed, len(body))
	}
	if json.Unmarshal(body, v) != nil { // its text would quote the body
		return fmt.Errorf("%w: an attach message that is not the expected JSON", ErrMalformed)
	}
	return nil
}
