package issued_test

import (
	"os"
	"testing"
	"testing/synctest"
	"time"

	"sallyport.dev/auth"
	"sallyport.dev/auth/issued"
)

// TestNoListWasEverGood has no minute of grace: nothing is known that could stay in use.
func TestNoListWasEverGood(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, s site){
		"torn":    func(t *testing.T, s site) { write(t, s.list(), read(t, s.list())[:100]) },
		"missing": func(t *testing.T, s site) { must(t, os.Remove(s.list())) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t)
				c, token := s.create(t, order("ci"))
				_, err := s.Revoke([]string{c.ID})
				must(t, err)
				good := read(t, s.list())
				spoil(t, s)
				must(t, os.Rename(s.dir, s.dir+".backup"))
				v, h := s.watch(t) // without a directory
				must(t, os.Rename(s.dir+".backup", s.dir))
				time.Sleep(2*time.Second + time.Millisecond)
				expect(t, v, token, auth.ErrUnavailable)
				h.take()
				replace(t, s.list(), good)
				time.Sleep(2 * time.Second)
				expect(t, v, token, auth.ErrInvalid)
			})
		})
	}
}

// TestRevokersClockMayBeAhead by as much as the list keeps what has expired.
func TestRevokersClockMayBeAhead(t *testing.T) {
	s := newSite(t)
	var token string
	var c issued.Contents
	synctest.Test(t, func(t *testing.T) {
		o := order("ci")
		o.TTL = 10 * time.Minute
		c, token = s.create(t, o)
		time.Sleep(30 * time.Minute)
		before, err := s.Revoke([]string{c.ID})
		must(t, err)
		if before[0].State != issued.Expired {
			t.Errorf("it was %s", before[0].State)
		}
	})
	synctest.Test(t, func(t *testing.T) { // where it is half an hour earlier
		expect(t, s.verifier(t, nil), token, auth.ErrInvalid)
	})
}
