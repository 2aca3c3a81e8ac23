package scrub

import (
	"errors"
	"io"
	"sync"
)

// Source gives the scrubber of now: a [Set].
type Source interface{ Current() *Scrubber }

// NewReader returns a body in which the secrets of from are masked as it is read, those too that become active meanwhile.
// What comes is passed on at once, but for an end that may be the beginning of a secret; that is never more than six times
// the longest secret in hexadecimal. hit is called for each occurrence. An error of body comes behind the bytes before it.
func NewReader(body io.ReadCloser, from Source, hit func()) io.ReadCloser {
	return &reader{body: body, from: from, hit: hit}
}

// Reader is [NewReader] with the secrets of s alone.
func (s *Scrubber) Reader(body io.ReadCloser, hit func()) io.ReadCloser {
	return NewReader(body, fixed{s}, hit)
}

type fixed struct{ *Scrubber }

func (f fixed) Current() *Scrubber { return f.Scrubber }

type reader struct {
	body io.ReadCloser
	from Source
	hit  func()

	mu    sync.Mutex // guards what follows; Close may be called while Read waits
	s     *Scrubber  // by which held was judged
	held  []byte     // what may be the beginning of a secret
	ready []byte     // what is done and did not fit
	err   error      // of body, behind all of that
	done  bool
}

const (
	smallest = 4 << 10 // bytes of a buffer that is read into when the caller's is too small
	maxEmpty = 1 << 20 // reads in a row without a byte to pass on: as many as one byte each can be held
)

// Read implements io.Reader. The bytes are masked in the caller's own buffer.
func (r *reader) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for range maxEmpty {
		if len(r.ready) > 0 {
			n := copy(p, r.ready)
			r.ready = r.ready[n:]
			return n, nil
		}
		if r.done || len(p) == 0 {
			return 0, r.err
		}
		if len(r.held) == 0 {
			r.s = r.from.Current()
		}
		if len(p) >= len(r.held)+smallest/2 {
			if n := r.fill(p); n > 0 {
				return n, nil
			}
			continue
		}
		own := make([]byte, len(r.held)+smallest)
		r.ready = own[:r.fill(own)]
	}
	return 0, io.ErrNoProgress
}

// fill reads once behind what is held, and returns how much of p is done. The rest is held.
func (r *reader) fill(p []byte) int {
	held := copy(p, r.held)
	n, err := r.body.Read(p[held:])
	if err != nil {
		r.err, r.done = err, true
	}
	piece := p[:held+n]
	if r.s == nil || len(r.s.scanners) == 0 {
		r.held = r.held[:0]
		return len(piece)
	}
	hits, done := r.s.mask(piece, r.done)
	for range hits {
		r.hit()
	}
	r.held = append(r.held[:0], piece[done:]...)
	return done
}

// Close implements io.Closer.
func (r *reader) Close() error {
	err := r.body.Close() // ends a Read that waits
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held, r.ready, r.done = nil, nil, true
	if r.err == nil {
		r.err = errClosed
	}
	return err
}

var errClosed = errors.New("scrub: read from a closed body")
