package secret

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
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
	schemeEnv  = "env"
	schemeFile = "file"

	// maxReference bounds a reference in bytes: Linux's PATH_MAX and the scheme.
	maxReference = 4096 + len("file:")
)

// Ref says where a secret is: env:NAME, or file:/absolute/path. A Ref is safe to print and to log, because ParseRef
// accepts nothing but these two forms. The zero Ref refers to nothing.
type Ref struct {
	scheme string
	name   string
}

// ParseRef reads a reference. Its errors name what is accepted and never repeat text.
func ParseRef(text string) (Ref, error) {
	if text == "" {
		return Ref{}, fmt.Errorf("%w: it is empty; write env:NAME or file:/absolute/path", ErrNotReference)
	}
	if len(text) > maxReference {
		return Ref{}, fmt.Errorf("%w: it is longer than %d bytes; write env:NAME or file:/absolute/path", ErrNotReference, maxReference)
	}
	scheme, name, found := strings.Cut(text, ":")
	if !found {
		return Ref{}, fmt.Errorf("%w: it has no scheme; put the secret itself into a file or a variable and write file:/absolute/path or env:NAME", ErrNotReference)
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
	case "vault", "exec", "systemd":
		return Ref{}, fmt.Errorf("%w: %s: is not supported by this version; use env:NAME or file:/absolute/path", ErrNotReference, scheme)
	default:
		return Ref{}, fmt.Errorf("%w: unknown scheme; use env:NAME or file:/absolute/path", ErrNotReference)
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

// Resolve reads the secret now. A file must be regular, at most 64 KiB and writable by its owner only; one newline at
// its end (LF or CRLF) is dropped. What is empty or missing is an error, so that a caller never goes on without it.
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
	default:
		return Value{}, fmt.Errorf("%w: no reference is given; write env:NAME or file:/absolute/path", ErrUnset)
	}
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

// hasControl reports whether text holds an ASCII control character, which no log line or message should repeat.
func hasControl(text string) bool {
	return strings.ContainsFunc(text, func(r rune) bool { return r < 0x20 || r == 0x7f })
}
