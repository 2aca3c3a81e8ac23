package sqlite

import (
	"errors"
	"path/filepath"
	"strings"
	"unicode/utf8"
)

// Config says which file is the database.
type Config struct {
	// File is the absolute path of the SQLite database. It is read only, unless a named statement writes.
	File string `yaml:"file"`
	// Writable says that there are statements that write. Without it no connection is ever made that could.
	Writable bool `yaml:"-"`
}

// Validate says what is wrong with the configuration.
func (c Config) Validate() error {
	switch {
	case c.File == "":
		return errors.New("file: required, the absolute path of an SQLite database")
	case strings.HasPrefix(c.File, "file:"):
		return errors.New("file: write a path, not a URI: how the file is opened is not up to the configuration")
	case strings.ContainsRune(c.File, 0) || !utf8.ValidString(c.File):
		return errors.New("file: holds a NUL byte or is no UTF-8")
	case !filepath.IsAbs(c.File):
		return errors.New("file: not an absolute path")
	case filepath.Clean(c.File) != c.File:
		return errors.New("file: write it as " + filepath.Clean(c.File))
	}
	return nil
}
