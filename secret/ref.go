package secret

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Errors that callers may test for. None of them, nor anything that wraps them, contains a secret's text.
var (
	// ErrNotReference means that a text is not a reference. The text itself is never repeated: whoever wrote it may
	// have put the secret there.
	ErrNotReference = errors.New("secret: not a reference")
	// ErrUnset means that what a reference names does not exist, is empty or cannot be read by this user.
	ErrUnset = errors.New("secret: not available")
	// ErrUnsafe means that others could have chosen the secret, because they may write to its file.
	ErrUnsafe = errors.New("secret: file is not safe")
)

const (
	schemeEnv     = "env"
	schemeFile    = "file"
	schemeExec    = "exec"
	schemeSystemd = "systemd"
	schemeVault   = "vault"

	// maxReference bounds a reference in bytes: Linux's PATH_MAX and the scheme.
	maxReference = 4096 + len("file:")

	// credentialsDirectory is where systemd puts the credentials of a unit (systemd.exec(5), LoadCredential=).
	credentialsDirectory = "CREDENTIALS_DIRECTORY"

	forms = "env:NAME, file:/absolute/path, systemd:NAME, exec:/absolute/program or vault:MOUNT/PATH#FIELD"
)

// What stands in a vault: reference, as a whole segment, for a part of the principal's identity.
const (
	// PrincipalIssuer stands for the name of the issuer.
	PrincipalIssuer = "{principal.issuer}"
	// PrincipalSubject stands for the subject.
	PrincipalSubject = "{principal.subject}"
)

// Ref says where a secret is: env:NAME, file:/absolute/path, systemd:NAME, exec:/absolute/program and its arguments, or
// vault:MOUNT/PATH#FIELD. A Ref is safe to print and to log, because ParseRef accepts nothing but these forms. The zero
// Ref refers to nothing. Two Refs are the same if they are equal.
type Ref struct {
	scheme string
	name   string
}

// ParseRef reads a reference. Its errors name what is accepted and never repeat text.
func ParseRef(text string) (Ref, error) {
	if text == "" {
		return Ref{}, fmt.Errorf("%w: it is empty; write %s", ErrNotReference, forms)
	}
	if len(text) > maxReference {
		return Ref{}, fmt.Errorf("%w: it is longer than %d bytes; write %s", ErrNotReference, maxReference, forms)
	}
	scheme, name, found := strings.Cut(text, ":")
	if !found {
		return Ref{}, fmt.Errorf("%w: it has no scheme; put the secret itself into a file or a variable and write file:/absolute/path or env:NAME", ErrNotReference)
	}
	if scheme != schemeVault && hasBraces(scheme, name) {
		return Ref{}, fmt.Errorf("%w: braces, as in %s, may stand in vault: alone", ErrNotReference, PrincipalSubject)
	}
	switch scheme {
	case schemeEnv:
		if !isVariable(name) {
			return Ref{}, fmt.Errorf("%w: after env: comes the name of a variable, letters, digits and _ only", ErrNotReference)
		}
	case schemeFile:
		if !filepath.IsAbs(name) || hasControl(name) {
			return Ref{}, fmt.Errorf("%w: after file: comes an absolute path, as in file:/etc/sallyport/token", ErrNotReference)
		}
	case schemeExec:
		if !isCommand(name) {
			return Ref{}, fmt.Errorf("%w: after exec: come a program with a clean absolute path and its arguments, with one space between them and without quotes or backslashes; put what needs more into a script", ErrNotReference)
		}
	case schemeSystemd:
		if !isPlain(name) || name[0] == '.' {
			return Ref{}, fmt.Errorf("%w: after systemd: comes the name of a credential of the unit, letters, digits, dots, - and _ only", ErrNotReference)
		}
	case schemeVault:
		if !isVaultPath(name) {
			return Ref{}, fmt.Errorf("%w: after vault: comes MOUNT/PATH#FIELD, as in vault:kv/wiki#token; %s and %s may stand for a whole segment behind the first", ErrNotReference, PrincipalIssuer, PrincipalSubject)
		}
	default:
		return Ref{}, fmt.Errorf("%w: unknown scheme; use %s", ErrNotReference, forms)
	}
	return Ref{scheme: scheme, name: name}, nil
}

// UnmarshalText implements encoding.TextUnmarshaler with ParseRef.
func (r *Ref) UnmarshalText(text []byte) error {
	parsed, err := ParseRef(string(text))
	if err != nil {
		return err
	}
	*r = parsed
	return nil
}

// MarshalText implements encoding.TextMarshaler; the zero Ref gives an empty text.
func (r Ref) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// String returns the reference as it was written; the zero Ref gives an empty string.
func (r Ref) String() string {
	if r.IsZero() {
		return ""
	}
	return r.scheme + ":" + r.name
}

// IsZero reports whether the reference is unset.
func (r Ref) IsZero() bool { return r.scheme == "" }

// File returns the path of a file: reference, and false for every other one.
func (r Ref) File() (path string, ok bool) { return r.name, r.scheme == schemeFile }

// Scheme returns what stands before the colon: env, file, systemd, exec or vault; nothing for the zero Ref.
func (r Ref) Scheme() string { return r.scheme }

// Exec returns the program and the arguments of an exec: reference, and false for every other one.
func (r Ref) Exec() (argv []string, ok bool) {
	if r.scheme != schemeExec {
		return nil, false
	}
	return strings.Split(r.name, " "), true
}

// Vault returns the segments of the path and the field of a vault: reference, and false for every other one.
func (r Ref) Vault() (path []string, field string, ok bool) {
	if r.scheme != schemeVault {
		return nil, "", false
	}
	text, field, _ := strings.Cut(r.name, "#")
	return strings.Split(text, "/"), field, true
}

// NamesPrincipal reports which parts of a principal's identity the reference depends on.
func (r Ref) NamesPrincipal() (issuer, subject bool) {
	path, _, _ := r.Vault()
	return slices.Contains(path, PrincipalIssuer), slices.Contains(path, PrincipalSubject)
}

// Resolve reads the secret now. A file must be regular, at most 64 KiB and writable by its owner only; one newline at
// its end (LF or CRLF) is dropped. What is empty or missing is an error, so that a caller never goes on without it. What
// exec: and vault: refer to takes more than reading, and is an error here.
func (r Ref) Resolve() (Value, error) {
	switch r.scheme {
	case schemeEnv:
		text := os.Getenv(r.name)
		if text == "" {
			return Value{}, fmt.Errorf("%w: %s is not set; set the variable %s in the environment of the process", ErrUnset, r, r.name)
		}
		return New(text), nil
	case schemeFile:
		return readFile(r.name)
	case schemeSystemd:
		dir := os.Getenv(credentialsDirectory)
		if !filepath.IsAbs(dir) {
			return Value{}, fmt.Errorf("%w: %s: systemd has given this process no credentials; set LoadCredential=%s:/path in its unit", ErrUnset, r, r.name)
		}
		return readFile(filepath.Join(dir, r.name))
	case schemeExec, schemeVault:
		return Value{}, fmt.Errorf("%w: %s: is for the servers of a connector alone; write env:NAME, file:/absolute/path or systemd:NAME here", ErrUnset, r.scheme)
	default:
		return Value{}, fmt.Errorf("%w: no reference is given; write %s", ErrUnset, forms)
	}
}

// Path returns the file that a file: or systemd: reference is read from now, and false for every other one and where
// systemd has given no credentials.
func (r Ref) Path() (path string, ok bool) {
	switch r.scheme {
	case schemeFile:
		return r.name, true
	case schemeSystemd:
		if dir := os.Getenv(credentialsDirectory); filepath.IsAbs(dir) {
			return filepath.Join(dir, r.name), true
		}
	}
	return "", false
}

// Warnings returns sentences about what is allowed but unwise, such as a file that others may read. It returns none
// when the file cannot be examined: Resolve reports that.
func (r Ref) Warnings() []string {
	if r.scheme != schemeFile {
		return nil
	}
	info, err := os.Stat(r.name)
	if err != nil || info.Mode().Perm()&othersRead == 0 {
		return nil
	}
	return []string{fmt.Sprintf("%s is readable by group or others; run: chmod go-rwx %s", r, r.name)}
}

// isVariable reports whether name is a variable's name as POSIX shells accept it.
func isVariable(name string) bool {
	for i := range len(name) {
		c := name[i]
		switch {
		case c == '_', 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z':
		case '0' <= c && c <= '9' && i > 0:
		default:
			return false
		}
	}
	return name != ""
}

// hasControl reports whether text holds what no log line or message should repeat: a control character, those of C1 that
// terminals obey included, or bytes that are no UTF-8.
func hasControl(text string) bool {
	return !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl)
}

// hasBraces reports whether a name holds braces that look like a principal's. A file's name may hold others.
func hasBraces(scheme, name string) bool {
	if scheme == schemeFile {
		return strings.Contains(name, "{principal.")
	}
	return strings.ContainsAny(name, "{}")
}

// isPlain reports whether text is letters, digits, dots, - and _.
func isPlain(text string) bool {
	for i := range len(text) {
		c := text[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '-', c == '_':
		default:
			return false
		}
	}
	return text != ""
}

// isCommand reports whether text is a program and arguments that can be told apart without a shell.
func isCommand(text string) bool {
	argv := strings.Split(text, " ")
	if !filepath.IsAbs(argv[0]) || filepath.Clean(argv[0]) != argv[0] || hasControl(text) || strings.ContainsAny(text, "\"'`\\$") {
		return false
	}
	return !slices.Contains(argv, "")
}

// isVaultPath reports whether text is a path of Vault and a field.
func isVaultPath(text string) bool {
	path, field, found := strings.Cut(text, "#")
	segments := strings.Split(path, "/")
	if !found || !isPlain(field) || len(segments) < 2 || hasControl(path) {
		return false
	}
	for i, segment := range segments {
		switch {
		case segment == "", segment == ".", segment == "..", strings.ContainsAny(segment, `\?%#`):
			return false
		case (segment == PrincipalIssuer || segment == PrincipalSubject) && i > 0:
		case strings.ContainsAny(segment, "{}"):
			return false
		}
	}
	return true
}
