// Package address says which IP addresses may be dialled, of an upstream, or of whoever gives out a credential or the keys
// of an identity: judged where they are dialled, after the name has been looked up. It does not know what is sent there.
package address
