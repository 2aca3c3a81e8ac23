// Package source reads secrets from where references point: the environment, files, commands, systemd and Vault, one file
// for each. It does not know what a value is for.
package source
