package vault

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"sallyport.dev/credential"
	"sallyport.dev/secret"
)

const (
	defaultTTL = 5 * time.Minute
	minTTL     = time.Second
	maxTTL     = 24 * time.Hour

	kubernetesToken = "file:/var/run/secrets/kubernetes.io/serviceaccount/token" //nolint:gosec // where it is, not what it is
)

// Config says where Vault is, and who we are there.
type Config struct {
	// Address is Vault's, such as https://vault.internal:8200; plain http on this machine's loopback alone. Required for
	// vault: references.
	Address string `yaml:"address"`
	// CAFile is a file with the CA certificates to trust for it, in PEM, instead of the system's. Optional.
	CAFile string `yaml:"ca_file"`
	// Namespace is Vault's namespace. Optional.
	Namespace string `yaml:"namespace"`
	// TTL is how long a secret without a lease is kept before it is read again, 1s to 24h. Default 5m.
	TTL time.Duration `yaml:"ttl"`
	// Auth is one way to log in. Required.
	Auth Auth `yaml:"auth"`
}

// Auth is a way to log in: one of its keys.
type Auth struct {
	// Token refers to a token that Vault has given out already. It is renewed if it can be.
	Token secret.Ref `yaml:"token"`
	// AppRole logs in as a role of the AppRole method.
	AppRole *AppRole `yaml:"approle"`
	// Kubernetes logs in with the pod's service account.
	Kubernetes *Kubernetes `yaml:"kubernetes"`
	// JWT logs in with a JWT of another issuer.
	JWT *JWT `yaml:"jwt"`
}

// AppRole is the AppRole method.
type AppRole struct {
	// RoleID refers to the role's id. Required.
	RoleID secret.Ref `yaml:"role_id"`
	// SecretID refers to the role's secret id. Required.
	SecretID secret.Ref `yaml:"secret_id"`
	// Mount is where the method is enabled. Default approle.
	Mount string `yaml:"mount"`
}

// Kubernetes is the Kubernetes method.
type Kubernetes struct {
	// Role is the role's name. Required.
	Role string `yaml:"role"`
	// JWT refers to the service account's token. Default file:/var/run/secrets/kubernetes.io/serviceaccount/token.
	JWT secret.Ref `yaml:"jwt"`
	// Mount is where the method is enabled. Default kubernetes.
	Mount string `yaml:"mount"`
}

// JWT is the JWT method.
type JWT struct {
	// Role is the role's name. Required.
	Role string `yaml:"role"`
	// JWT refers to the token. Required.
	JWT secret.Ref `yaml:"jwt"`
	// Mount is where the method is enabled. Default jwt.
	Mount string `yaml:"mount"`
}

// IsZero reports whether nothing is configured.
func (c *Config) IsZero() bool { return c.Address == "" && c.Auth == Auth{} }

// Validate applies the defaults, and says what to write instead.
func (c *Config) Validate() error {
	if c.IsZero() {
		return nil
	}
	if c.TTL == 0 {
		c.TTL = defaultTTL
	}
	u, err := url.Parse(c.Address)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "":
		return wrong("address: write https://host:port")
	case u.Scheme != "https" && (u.Scheme != "http" || !isLoopback(u.Hostname())):
		return wrong("address: write https://; plain http is allowed on this machine's loopback alone")
	case c.TTL < minTTL || c.TTL > maxTTL:
		return wrong("ttl: %s to %s are allowed", minTTL, maxTTL)
	case c.CAFile != "" && !filepath.IsAbs(c.CAFile):
		return wrong("ca_file: write an absolute path")
	case strings.ContainsAny(c.Namespace, " \t\r\n\x00"):
		return wrong("namespace: it is no name of a namespace")
	}
	return c.Auth.validate()
}

func (a *Auth) validate() error {
	ways := 0
	for _, set := range []bool{!a.Token.IsZero(), a.AppRole != nil, a.Kubernetes != nil, a.JWT != nil} {
		if set {
			ways++
		}
	}
	if ways != 1 {
		return wrong("auth: write one of token, approle, kubernetes and jwt")
	}
	var refs []secret.Ref
	var mount string
	switch {
	case a.AppRole != nil:
		setDefault(&a.AppRole.Mount, "approle")
		refs, mount = []secret.Ref{a.AppRole.RoleID, a.AppRole.SecretID}, a.AppRole.Mount
	case a.Kubernetes != nil:
		setDefault(&a.Kubernetes.Mount, "kubernetes")
		if a.Kubernetes.JWT.IsZero() {
			a.Kubernetes.JWT, _ = secret.ParseRef(kubernetesToken) // a constant
		}
		refs, mount = []secret.Ref{a.Kubernetes.JWT}, a.Kubernetes.Mount
	case a.JWT != nil:
		setDefault(&a.JWT.Mount, "jwt")
		refs, mount = []secret.Ref{a.JWT.JWT}, a.JWT.Mount
	default:
		refs, mount = []secret.Ref{a.Token}, "token"
	}
	if (a.Kubernetes != nil && a.Kubernetes.Role == "") || (a.JWT != nil && a.JWT.Role == "") {
		return wrong("auth: role is required")
	}
	if strings.Trim(mount, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_/") != "" || strings.HasPrefix(mount, "/") || strings.HasSuffix(mount, "/") {
		return wrong("auth: mount: it is no path of an auth method")
	}
	for _, ref := range refs {
		switch ref.Scheme() {
		case "env", "file", "systemd":
		default:
			return wrong("auth: a reference is required: env:NAME, file:/absolute/path or systemd:NAME")
		}
	}
	return nil
}

// Refs are the references by which we log in.
func (a *Auth) Refs() []secret.Ref {
	switch {
	case a.AppRole != nil:
		return []secret.Ref{a.AppRole.RoleID, a.AppRole.SecretID}
	case a.Kubernetes != nil:
		return []secret.Ref{a.Kubernetes.JWT}
	case a.JWT != nil:
		return []secret.Ref{a.JWT.JWT}
	}
	return []secret.Ref{a.Token}
}

func setDefault(text *string, to string) {
	if *text == "" {
		*text = to
	}
}

func isLoopback(host string) bool {
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.IsLoopback()
	}
	return strings.EqualFold(host, "localhost")
}

func wrong(format string, args ...any) error {
	return fmt.Errorf("%w: vault: %s", credential.ErrConfig, fmt.Sprintf(format, args...))
}

// ErrRefused means that Vault does not let us.
var ErrRefused = errors.New("vault: permission denied")
