// Package dpop checks that who presents a token has the key that it is bound to, by the proof in a request's DPoP field
// (RFC 9449). It does not know what the token says, who issued it or whether it is valid: whoever asks has verified it, and
// names the key that it is bound to. What was accepted is known in this process alone: of several gateways each would accept
// a proof once, and so does one that has started again within a minute.
package dpop
