package tunnel

import "testing"

func TestYamuxResets(t *testing.T) {
	header := func(flags byte, id byte) []byte { return []byte{0, 1, 0, flags, 0, 0, 0, id, 0, 0, 0, 0} }
	r := newYamuxResets()
	seven, nine := r.expect(7), r.expect(9)
	said := func(c <-chan struct{}) bool {
		select {
		case <-c:
			return true
		default:
			return false
		}
	}
	r.wrote(header(4, 7)) // a FIN
	r.wrote(header(yamuxFlagReset, 8))
	r.wrote(nil)
	if said(seven) || said(nine) {
		t.Fatal("a reset was seen that was not written")
	}
	r.wrote(header(yamuxFlagReset, 7))
	r.wrote(header(yamuxFlagReset, 7)) // a second one changes nothing
	if !said(seven) || said(nine) {
		t.Error("the reset of stream 7 alone was written")
	}
	r.forget(9)
	r.wrote(header(yamuxFlagReset, 9))
	if said(nine) || len(r.expected) != 0 {
		t.Error("a stream that was forgotten is still expected")
	}
}
