package scrub

import (
	"errors"
	"io"
	"sync"
)

// Source gives the scrubber of now: a [Set].
type Source interface{ Current() *Scrubber }

// NewReader returns a body in which the secrets of from are masked as it is read, those too that become active meanwhile,
// but no longer those that have expired in from.
//
// What comes is passed on at once, but for an end that may be the beginning of a secret: never more than 20 times the bytes
// of the longest secret, so 1.25 MiB at the very most and some hundred bytes mostly. hit is called for each occurrence, once
// for those that overlap. An error of body comes behind the bytes before it. Close may be called while Read waits.
func NewReader(body io.ReadCloser, from Source, hit func()) io.ReadCloser {
	return &reader{body: body, closer: body, from: from, hit: hit}
}

// Reader is [NewReader] with the secrets of s alone. It returns body itself if there are none.
func (s *Scrubber) Reader(body io.ReadCloser, hit func()) io.ReadCloser {
	if s == nil || s.scanner == nil && s.rest == nil {
		return body
	}
	return NewReader(body, fixed{s}, hit)
}

type fixed struct{ *Scrubber }

func (f fixed) Current() *Scrubber { return f.Scrubber }

type reader struct {
	closer io.Closer
	from   Source
	hit    func()

	mu    sync.Mutex // guards what follows; Close may be called while Read waits
	body  io.Reader
	carry carry
	held  []byte // what may be the beginning of a secret
	own   []byte // memory to read into when the caller's is too small
	ready []byte // what of it is done and did not fit
	err   error  // of body, behind all of that
	done  bool
}

const (
	smallest = 4 << 10  // bytes of a buffer of one's own
	maxPiece = 64 << 10 // bytes that are looked through at once, which bounds the memory that it takes
	maxEmpty = 100      // reads in a row that bring nothing, as in bufio
)

// Read implements io.Reader. The bytes are masked in the caller's own buffer, if that is large enough.
func (r *reader) Read(p []byte) (n int, err error) {
	n, hits, err := r.read(p)
	for range hits { // without the lock: hit may close the body
		r.hit()
	}
	return n, err
}

func (r *reader) read(p []byte) (n, hits int, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for empty := 0; empty < maxEmpty; {
		if len(r.ready) > 0 {
			n = copy(p, r.ready)
			r.ready = r.ready[n:]
			return n, hits, nil
		}
		if r.done || len(p) == 0 {
			return 0, hits, r.err
		}
		into := p
		if len(p) < len(r.held)+max(smallest/2, len(r.held)/2) {
			into = r.memory()
		}
		got, done, found := r.fill(into[:min(len(into), len(r.held)+maxPiece)])
		hits += found
		if &into[0] != &p[0] {
			r.ready = into[:done]
		} else if done > 0 {
			return done, hits, nil
		}
		if empty++; got > 0 {
			empty = 0
		}
	}
	return 0, hits, io.ErrNoProgress
}

// memory returns a buffer with room behind what is held.
func (r *reader) memory() []byte {
	if len(r.own) < len(r.held)+smallest/2 {
		r.own = make([]byte, 3*len(r.held)+smallest) // so that it is not made anew, and what is held not looked at, too often
	}
	return r.own
}

// fill reads once behind what is held, and returns how much that has brought and how much of p is done. The rest is held,
// and p does not keep it.
func (r *reader) fill(p []byte) (got, done, hits int) {
	held := copy(p, r.held)
	got, err := r.body.Read(p[held:])
	if err != nil {
		r.err, r.done = err, true
	}
	piece := p[:held+got]
	now := r.from.Current() // the secrets of now, not of when the wait began; what is held is looked through again
	if now == nil {
		now = nothing
	}
	hits, done = now.mask(piece, &r.carry, r.done)
	r.held = append(r.held[:0], piece[done:]...)
	clear(piece[done:])
	return got, done, hits
}

// Close implements io.Closer.
func (r *reader) Close() error {
	err := r.closer.Close() // ends a Read that waits
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held, r.own, r.ready, r.done = nil, nil, nil, true
	if r.err == nil {
		r.err = errClosed
	}
	return err
}

// nothing masks nothing.
var nothing = newScrubber(nil)

var errClosed = errors.New("scrub: read from a closed body")
