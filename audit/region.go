package audit

import (
	"crypto/sha256"
	"encoding/hex"
	"hash"
)

// region is bytes of a file that are no line of a log, as a recovered names them: from behind the last line to the
// newline before the recovered. The zero region is empty.
type region struct {
	begun bool
	// size is in bytes, and sum of them.
	size int64
	sum  hash.Hash
	// ended says that a newline follows, which is part of the region only if more does.
	ended bool
}

// add takes the next line in.
func (r *region) add(line textLine) {
	if !r.begun {
		r.begun, r.sum = true, sha256.New()
	}
	if r.ended {
		r.write([]byte{'\n'})
	}
	r.write(line.text)
	r.ended = line.ended
}

func (r *region) write(b []byte) {
	_, _ = r.sum.Write(b) // never fails
	r.size += int64(len(b))
}

// hash is the SHA-256 in hexadecimal; empty if there is no region.
func (r *region) hash() string {
	if !r.begun {
		return ""
	}
	return hex.EncodeToString(r.sum.Sum(nil))
}
