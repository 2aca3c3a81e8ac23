package date_test

import (
	"testing"
	"time"

	"sallyport.dev/auth/internal/date"
)

func TestNumeric(t *testing.T) {
	at := func(seconds int64) *int64 { return &seconds }
	if d, err := date.Numeric(nil); d != nil || err != nil {
		t.Errorf("an absent time gives %v, %v", d, err)
	}
	for seconds, good := range map[int64]bool{1: true, 1_800_000_000: true, date.Max: true, 0: false, -1: false, date.Max + 1: false, 1<<63 - 1: false} {
		d, err := date.Numeric(at(seconds))
		if (err == nil) != good || good && !d.Equal(time.Unix(seconds, 0)) {
			t.Errorf("%d gives %v, %v", seconds, d, err)
		}
	}
}
