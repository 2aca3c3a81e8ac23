package oidc

import (
	"time"

	"sallyport.dev/secret"
)

const (
	// anyName stands for every tunnel or server.
	anyName = "*"
	// defaultLeeway is the difference between the issuer's clock and ours that is forgiven unless configured.
	defaultLeeway = 30 * time.Second
	// maxLeeway is the most that may be forgiven.
	maxLeeway = 60 * time.Second
	// defaultType is that of RFC 9068 section 2.1.
	defaultType = "at+jwt"
	// plainType also stands for tokens that have no typ.
	plainType = "jwt"
)

// The values of proof.
const (
	// ProofOptional lets tokens pass that are bound to no key.
	ProofOptional = "optional"
	// ProofDPoP wants tokens that are bound to a key for DPoP (RFC 9449).
	ProofDPoP = "dpop"
	// ProofCertificate wants tokens that are bound to a client certificate (RFC 8705).
	ProofCertificate = "certificate"
)

// algorithms are those that can be had, in no order of preference: MACs and none are not among them.
func algorithms() []string {
	return []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
}

// Config is one identity provider whose tokens are accepted.
type Config struct {
	// Issuer is the provider's URL, exactly as iss has it, with a slash at the end or without. Plain http is for loopback
	// only. Required.
	Issuer string `yaml:"issuer"`
	// Tunnels are the tunnels that its tokens may be used for; all is ["*"]. Required at a gateway; a connector has one and
	// takes none.
	Tunnels []string `yaml:"tunnels"`
	// Servers are the servers of those tunnels that its tokens may be used for. Default ["*"], all.
	Servers []string `yaml:"servers"`
	// Audiences are what aud must have, one of them, in place of the server's canonical URL. It is for a provider that cannot
	// issue URLs: since then a token for one server is one for all, each of the servers must require something. Optional.
	Audiences []string `yaml:"audiences"`
	// ExtraAudiences accepts tokens that are meant for others too. Default false.
	ExtraAudiences bool `yaml:"extra_audiences"`
	// Require says what a token needs beyond its audience, by the name of a server, tunnel/server or "*". All that match a
	// call must hold. Optional.
	Require map[string]Requirement `yaml:"require"`
	// Clients are the OAuth clients whose tokens are accepted: azp, or client_id without it, or both if they differ. Default
	// all.
	Clients []string `yaml:"clients"`
	// Types are the accepted values of typ. JWT, for a provider that does not follow RFC 9068, also accepts tokens without
	// typ: make sure then that an ID token cannot have the right audience. Default [at+jwt].
	Types []string `yaml:"types"`
	// Algorithms are the accepted ones of those that its keys allow: RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384,
	// ES512, EdDSA. Default all of these.
	Algorithms []string `yaml:"algorithms"`
	// Leeway is the difference of clocks that is forgiven, at most 60s. Default 30s.
	Leeway time.Duration `yaml:"leeway"`
	// JWKSURL is where its keys are. Default what discovery says.
	JWKSURL string `yaml:"jwks_url"`
	// CAFile holds the CA certificates, in PEM, that it is verified by. Default the system's.
	CAFile string `yaml:"ca_file"`
	// AllowedIPs are the private addresses that it may have, as prefixes or addresses. Public ones are always allowed. Default
	// none.
	AllowedIPs []string `yaml:"allowed_ips"`
	// Proof says whether tokens must be bound to a key: dpop (RFC 9449), certificate (RFC 8705), or optional, where a token
	// that is bound must be proved and others pass. Default optional.
	Proof string `yaml:"proof"`
	// TrustTrace has the trace context of its callers, traceparent and whether it is sampled, count as the parent of ours. For a gateway alone.
	// Default false.
	TrustTrace bool `yaml:"trust_trace"`
	// Introspection has opaque tokens asked about at the provider (RFC 7662). One issuer may have it. Optional.
	Introspection *Introspection `yaml:"introspection"`
}

// Requirement is what a server asks of a token.
type Requirement struct {
	// Scopes must all be among the token's, in scope or scp.
	Scopes []string `yaml:"scopes"`
	// Claims must all be there with this value, or be lists that have it. A claim that is true or false is written so.
	Claims map[string]string `yaml:"claims"`
}

// Introspection says how opaque tokens are asked about.
type Introspection struct {
	// ClientID is the client, registered with the provider, that may ask. Required.
	ClientID string `yaml:"client_id"`
	// ClientSecret refers to its secret. Required.
	ClientSecret secret.Ref `yaml:"client_secret"`
	// URL is the endpoint. Default what discovery says; required with jwks_url.
	URL string `yaml:"url"`
}
