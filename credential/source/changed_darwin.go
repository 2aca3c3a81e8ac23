package source

import (
	"io/fs"
	"syscall"
	"time"
)

// changed is when the system last noted a change of the file. Nobody can set it back, as the time of modification can be.
func changed(info fs.FileInfo) time.Time {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return time.Unix(stat.Ctimespec.Unix())
	}
	return info.ModTime()
}
