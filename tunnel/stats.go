package tunnel

import (
	"sync"
	"time"
)

// Stats is what a session has moved so far, and how it is doing now.
type Stats struct {
	// RTT is the round trip of the last heartbeat; of a sum, the longest.
	RTT time.Duration
	// Streams are those that are open now.
	Streams int64
	// BytesIn and BytesOut are what streams have read and written.
	BytesIn, BytesOut int64
	// PacketsSent are QUIC packets, and PacketsLost those of them that were lost on the way. 0 elsewhere.
	PacketsSent, PacketsLost int64
}

// Stats says what the session has moved so far.
func (s *Session) Stats() Stats {
	sent, lost := s.mux.packets()
	return Stats{RTT: s.RTT(), Streams: s.open.Load(), BytesIn: s.bytesIn.Load(), BytesOut: s.bytesOut.Load(), PacketsSent: sent, PacketsLost: lost}
}

// add sums what only grows, and takes the longer round trip.
func (a Stats) add(b Stats) Stats {
	return Stats{
		RTT: max(a.RTT, b.RTT), Streams: a.Streams + b.Streams, BytesIn: a.BytesIn + b.BytesIn, BytesOut: a.BytesOut + b.BytesOut,
		PacketsSent: a.PacketsSent + b.PacketsSent, PacketsLost: a.PacketsLost + b.PacketsLost,
	}
}

// Totals sum up sessions, those that have ended too, so that what only grows never falls. The zero Totals is ready, and safe
// for concurrent use.
type Totals struct {
	mu    sync.Mutex // guards what follows
	live  map[*Session]int64
	ended map[Transport]Stats
}

// Add counts a session from now on.
func (t *Totals) Add(s *Session) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.live == nil {
		t.live, t.ended = make(map[*Session]int64), make(map[Transport]Stats)
	}
	t.live[s] = 0
}

// Remove keeps what a session has moved, and nothing else of it.
func (t *Totals) Remove(s *Session) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.live[s]; !ok {
		return
	}
	last := t.read(s)
	last.RTT, last.Streams = 0, 0
	delete(t.live, s)
	transport := s.peer.Transport
	t.ended[transport] = t.ended[transport].add(last)
}

// Sums are the sums by transport, of QUIC and TCP in any case.
func (t *Totals) Sums() map[Transport]Stats {
	t.mu.Lock()
	defer t.mu.Unlock()
	sums := map[Transport]Stats{QUIC: t.ended[QUIC], TCP: t.ended[TCP]}
	if memory, ok := t.ended[Memory]; ok {
		sums[Memory] = memory
	}
	for s := range t.live {
		sums[s.peer.Transport] = sums[s.peer.Transport].add(t.read(s))
	}
	return sums
}

// read reads a live session. Packets that were given up and came after all make the number of lost ones fall, which what is
// summed must not.
func (t *Totals) read(s *Session) Stats {
	now := s.Stats()
	now.PacketsLost = max(now.PacketsLost, t.live[s])
	t.live[s] = now.PacketsLost
	return now
}
