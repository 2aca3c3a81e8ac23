// Package watch lets whoever makes a call know what it has waited for until its credentials were there. It does not know what a
// credential is, and sees no value of one.
package watch
