// Package address says which IP addresses an upstream, or whoever gives out a credential, may have: judged where they are
// dialled, after the name has been looked up. It does not know what is sent there.
package address
