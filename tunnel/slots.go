package tunnel

import "sync"

// slots count the streams that one side has open, against what its peer
// accepts, where the transport does not count them itself.
type slots struct {
	// changed signals that a slot, or something else that an opener waits for,
	// may have come free. Who is woken and uses it wakes the next.
	changed chan struct{}

	mu   sync.Mutex // guards what follows
	max  int
	used int
}

// newSlots allows one stream: the control stream, until hello says more.
func newSlots() *slots { return &slots{changed: make(chan struct{}, 1), max: 1} }

// limit sets how many streams the peer accepts beside the control stream.
func (s *slots) limit(streams int) {
	s.mu.Lock()
	s.max = streams + 1
	s.mu.Unlock()
	s.wake()
}

// wake lets one waiting opener look again.
func (s *slots) wake() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// take reports whether there was a free slot, which the caller then has.
func (s *slots) take() bool {
	s.mu.Lock()
	free := s.used < s.max
	if free {
		s.used++
	}
	s.mu.Unlock()
	if free {
		s.wake()
	}
	return free
}

// give returns a slot.
func (s *slots) give() {
	s.mu.Lock()
	s.used--
	s.mu.Unlock()
	s.wake()
}

// inUse returns how many are taken.
func (s *slots) inUse() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.used
}
