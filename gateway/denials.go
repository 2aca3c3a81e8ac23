package gateway

import (
	"sync"
	"time"

	"sallyport.dev/audit"
)

const (
	// denialsAPart is how many denials of one caller have a line of their own in the audit log, in each denialsTime.
	denialsAPart = 60
	denialsTime  = time.Minute
)

// denials writes denials to the audit log. A caller who is denied more often than a person would read about gets one line for
// all the rest of the time: whoever is at the gate can be denied as often as he likes, and must not rotate away what the log
// says of others. All who have not said who they are count as one caller.
type denials struct {
	write func(audit.Event)

	mu    sync.Mutex           // guards what follows
	of    map[caller]*repeated // nil if nobody was denied lately
	timer *time.Timer
}

// caller is who was denied; the zero caller is a stranger.
type caller struct{ issuer, subject string }

// repeated is what a caller was denied in a denialsTime.
type repeated struct {
	lines int64
	more  int64       // without a line
	last  audit.Event // of those
}

// add records a denial.
func (d *denials) add(e audit.Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.of == nil {
		d.of = make(map[caller]*repeated)
		d.timer = time.AfterFunc(denialsTime, d.flush)
	}
	who := caller{e.Issuer, e.Subject}
	r := d.of[who]
	if r == nil {
		r = new(repeated)
		d.of[who] = r
	}
	if r.lines < denialsAPart {
		r.lines++
		d.write(e)
		return
	}
	r.more, r.last = r.more+1, e
}

// flush writes what has no line yet, and begins anew.
func (d *denials) flush() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.of == nil {
		return
	}
	d.timer.Stop()
	for _, r := range d.of {
		if r.more > 0 {
			r.last.Alike = r.more - 1
			d.write(r.last)
		}
	}
	d.of, d.timer = nil, nil
}
