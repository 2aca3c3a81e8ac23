// Package inject puts values into a request, one file for each way. It does not know where the values come from, whom they
// belong to, or whether they may go where the request goes: by the time it runs, that has been decided.
package inject
