package source

import (
	"errors"
	"fmt"
	"syscall"
	"time"

	"sallyport.dev/credential"
	"sallyport.dev/credential/source/vault"
	"sallyport.dev/secret"
)

const (
	defaultExecTimeout = 10 * time.Second
	maxExecTimeout     = 25 * time.Second // below that of every fetch
	defaultExecTTL     = 5 * time.Minute
	minExecTTL         = time.Second
	maxExecTTL         = 24 * time.Hour
)

// Config says where secrets are read that are not in files or variables.
type Config struct {
	// Exec bounds the programs of exec: references.
	Exec Exec `yaml:"exec"`
	// Vault is where vault: references are read. Optional.
	Vault vault.Config `yaml:"vault"`

	// Issuers are the names by which issuers stand in paths of Vault. Optional.
	Issuers map[string]string `yaml:"-"`
	// Control has the last word about addresses that are dialled (net.Dialer.Control). Optional.
	Control func(network, address string, c syscall.RawConn) error `yaml:"-"`
	// Log is told what goes wrong while nobody waits for it. Optional.
	Log func(event string, ref secret.Ref, err error) `yaml:"-"`
}

// Exec bounds the programs of exec: references.
type Exec struct {
	// Timeout is how long a program may take, at most 25s. Default 10s.
	Timeout time.Duration `yaml:"timeout"`
	// TTL is how long what it printed is kept before it is run again, 1s to 24h. Default 5m.
	TTL time.Duration `yaml:"ttl"`
}

// Validate applies the defaults, and says what to write instead.
func (c *Config) Validate() error {
	if c.Exec.Timeout == 0 {
		c.Exec.Timeout = defaultExecTimeout
	}
	if c.Exec.TTL == 0 {
		c.Exec.TTL = defaultExecTTL
	}
	var errs []error
	if c.Exec.Timeout < time.Millisecond || c.Exec.Timeout > maxExecTimeout {
		errs = append(errs, fmt.Errorf("%w: sources.exec.timeout: at most %s is allowed", credential.ErrConfig, maxExecTimeout))
	}
	if c.Exec.TTL < minExecTTL || c.Exec.TTL > maxExecTTL {
		errs = append(errs, fmt.Errorf("%w: sources.exec.ttl: %s to %s are allowed", credential.ErrConfig, minExecTTL, maxExecTTL))
	}
	for issuer, name := range c.Issuers {
		if issuer == "" || !isSegment(name) {
			errs = append(errs, fmt.Errorf("%w: issuers: a name cannot stand in a path, or is of no issuer", credential.ErrConfig))
		}
	}
	if err := c.Vault.Validate(); err != nil {
		errs = append(errs, fmt.Errorf("sources.vault: %w", err))
	}
	return errors.Join(errs...)
}
