//go:build !linux && !darwin

package source

import (
	"io/fs"
	"time"
)

// changed is the time of modification where no other is known.
func changed(info fs.FileInfo) time.Time { return info.ModTime() }
