package fresh

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// thing is a value; number says the how-manieth it is.
type thing struct{ number int }

// fixture is a cache whose fetches a test decides about.
type fixture struct {
	*Cache[string, *thing]
	life  Lifetime
	takes time.Duration
	err   error
	same  bool // renew the old value

	mu      sync.Mutex
	fetches int
	dropped []int
}

func newFixture(t *testing.T, most int, life Lifetime) *fixture {
	t.Helper()
	f := &fixture{life: life}
	f.Cache = New(most, f.fetch, func(_ string, v *thing) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.dropped = append(f.dropped, v.number)
	})
	return f
}

func (f *fixture) fetch(ctx context.Context, _ string, old *thing) (*thing, Lifetime, error) {
	f.mu.Lock()
	f.fetches++
	n, takes, err, same, life := f.fetches, f.takes, f.err, f.same, f.life
	f.mu.Unlock()
	select {
	case <-time.After(takes):
	case <-ctx.Done():
		return nil, Lifetime{}, context.Cause(ctx)
	}
	if err != nil {
		return nil, Lifetime{}, err
	}
	if same && old != nil {
		return old, life, nil
	}
	return &thing{n}, life, nil
}

func (f *fixture) set(change func(*fixture)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

func (f *fixture) number(t *testing.T, key string) int {
	t.Helper()
	v, err := f.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	return v.number
}

func (f *fixture) drops() string {
	synctest.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	return fmt.Sprint(f.dropped)
}

var errDown = errors.New("it is down")

func TestAValueIsFetchedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 10, Lifetime{Expire: time.Minute})
		f.takes = time.Second
		var crew sync.WaitGroup
		for range 100 {
			crew.Go(func() {
				if v, err := f.Get(t.Context(), "a"); err != nil || v.number != 1 {
					t.Errorf("%v, %v", v, err)
				}
			})
		}
		crew.Wait()
		time.Sleep(58 * time.Second)
		if f.number(t, "a") != 1 || f.number(t, "b") != 2 {
			t.Error("a value that is valid is fetched again")
		}
		time.Sleep(time.Second)
		if f.number(t, "a") != 3 || f.drops() != "[1]" {
			t.Errorf("it is given out after its time, or not dropped once: %s", f.drops())
		}
		f.Close()
		if f.drops() != "[1 2 3]" && f.drops() != "[1 3 2]" {
			t.Errorf("in the end dropped are %s", f.drops())
		}
		if _, err := f.Get(t.Context(), "a"); !errors.Is(err, ErrClosed) {
			t.Errorf("a closed cache gives %v", err)
		}
	})
}

// While another value is fetched the old one is given out, without a wait; when that fails it is good until its end.
func TestAValueIsFetchedAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 10, Lifetime{Refresh: 40 * time.Second, Expire: time.Minute})
		f.number(t, "a")
		time.Sleep(41 * time.Second)
		f.set(func(f *fixture) { f.takes = 5 * time.Second })
		began := time.Now()
		if f.number(t, "a") != 1 || time.Since(began) > 0 {
			t.Error("a call waits though there is a value")
		}
		time.Sleep(6 * time.Second)
		if f.number(t, "a") != 2 || f.drops() != "[1]" {
			t.Errorf("the next value is not there: dropped %s", f.drops())
		}
		time.Sleep(35 * time.Second)
		f.set(func(f *fixture) { f.err, f.takes = errDown, 0 })
		for range 18 {
			if f.number(t, "a") != 2 {
				t.Error("a failure ends a value that is valid")
			}
			time.Sleep(time.Second)
		}
		time.Sleep(2 * time.Second)
		if _, err := f.Get(t.Context(), "a"); !errors.Is(err, errDown) {
			t.Errorf("after its end: %v", err)
		}
		f.set(func(f *fixture) { f.err = nil })
		time.Sleep(time.Second)
		f.number(t, "a")
		f.Close()
	})
}

func TestAFailureStandsForASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 10, Lifetime{Expire: time.Minute})
		f.err = errDown
		for range 50 {
			if _, err := f.Get(t.Context(), "a"); !errors.Is(err, errDown) {
				t.Errorf("%v", err)
			}
		}
		if f.fetches != 1 {
			t.Errorf("%d fetches within a second", f.fetches)
		}
		time.Sleep(time.Second)
		f.set(func(f *fixture) { f.err = nil })
		if f.number(t, "a") != 2 {
			t.Error("it does not come back")
		}
		f.Close()
	})
}

// A caller that leaves does not end the fetch that others wait for.
func TestACallerLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 10, Lifetime{Expire: time.Minute})
		f.takes = 10 * time.Second
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := f.Get(ctx, "a"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		if f.number(t, "a") != 1 {
			t.Error("it was fetched twice")
		}
		f.Close()
	})
}

func TestAFetchIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 200, Lifetime{Expire: time.Minute})
		f.takes = time.Hour
		began := time.Now()
		var crew sync.WaitGroup
		for i := range 150 { // more than may fetch at once
			crew.Go(func() {
				if _, err := f.Get(t.Context(), fmt.Sprint(i)); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("%v", err)
				}
			})
		}
		crew.Wait()
		if took := time.Since(began); took > fetchTimeout {
			t.Errorf("it takes %s", took)
		}
		f.Close()
	})
}

func TestAValueIsRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 10, Lifetime{Refresh: 40 * time.Second, Expire: time.Minute})
		f.same = true
		for range 10 {
			if f.number(t, "a") != 1 {
				t.Error("it was replaced")
			}
			synctest.Wait()
			time.Sleep(45 * time.Second)
		}
		if f.drops() != "[]" || f.fetches < 9 {
			t.Errorf("%d fetches, dropped %s", f.fetches, f.drops())
		}
		f.Close()
		if f.drops() != "[1]" {
			t.Errorf("in the end dropped are %s", f.drops())
		}
	})
}

func TestForget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 10, Lifetime{Expire: time.Minute})
		first, _ := f.Get(t.Context(), "a")
		f.Forget("a", first)
		if f.number(t, "a") != 2 {
			t.Error("it is still given out")
		}
		f.Forget("a", first) // somebody is late
		if f.number(t, "a") != 2 || f.Peek("a").number != 2 || f.Peek("none") != nil {
			t.Error("another value is forgotten")
		}
		f.Close()
	})
}

func TestValuesThatAreNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 10, Lifetime{})
		if f.number(t, "a") != 1 || f.number(t, "a") != 2 {
			t.Error("a value is kept")
		}
		f.Close()
	})
}

// A value that was valid for less time than its fetch took goes to nobody, and is dropped once.
func TestAValueThatComesTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 10, Lifetime{Expire: 10 * time.Second})
		f.takes = 10 * time.Second
		for range 2 {
			if v, err := f.Get(t.Context(), "a"); !errors.Is(err, ErrLate) || v != nil {
				t.Errorf("%v, %v", v, err)
			}
		}
		if f.fetches != 1 {
			t.Errorf("%d fetches: a source that is too slow is asked by each call", f.fetches)
		}
		time.Sleep(time.Second)
		f.set(func(f *fixture) { f.takes = 0 })
		if f.number(t, "a") != 2 || f.drops() != "[1]" {
			t.Errorf("dropped are %s", f.drops())
		}
		f.Close()
		if f.drops() != "[1 2]" {
			t.Errorf("in the end dropped are %s", f.drops())
		}
	})
}

// A fetch ahead that hangs beyond the end of the old value leaves nothing to give out but what it brings.
func TestAFetchAheadThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 10, Lifetime{Refresh: 40 * time.Second, Expire: time.Minute})
		f.number(t, "a")
		time.Sleep(50 * time.Second)
		f.set(func(f *fixture) { f.takes = 20 * time.Second })
		if f.number(t, "a") != 1 {
			t.Error("a call waits though there is a value")
		}
		time.Sleep(10 * time.Second) // to the very end
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if v, err := f.Get(ctx, "a"); !errors.Is(err, context.DeadlineExceeded) || v != nil {
			t.Errorf("after its end: %v, %v", v, err)
		}
		if f.number(t, "a") != 2 || f.drops() != "[1]" {
			t.Errorf("dropped are %s", f.drops())
		}
		f.Close()
	})
}

// Whatever callers, expiry, renewal, failures and eviction do at once: each value is dropped once, and never while it can
// still be got.
func TestEachValueIsDroppedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		made, dropped, fetches := make(map[*thing]bool), make(map[*thing]int), 0
		c := New(5, func(_ context.Context, _ string, old *thing) (*thing, Lifetime, error) {
			mu.Lock()
			defer mu.Unlock()
			fetches++
			switch {
			case fetches%7 == 0:
				return nil, Lifetime{}, errDown
			case fetches%3 == 0 && old != nil:
				return old, Lifetime{Refresh: time.Second, Expire: 2 * time.Second}, nil
			}
			v := &thing{fetches}
			made[v] = true
			return v, Lifetime{Refresh: time.Duration(fetches%4) * time.Second, Expire: time.Duration(fetches%5) * time.Second}, nil
		}, func(_ string, v *thing) {
			mu.Lock()
			defer mu.Unlock()
			dropped[v]++
		})
		var crew sync.WaitGroup
		for i := range 20 {
			crew.Go(func() {
				for j := range 200 {
					v, err := c.Get(t.Context(), fmt.Sprint((i+j)%9))
					if err == nil && j%11 == 0 {
						c.Forget(fmt.Sprint((i+j)%9), v)
					}
					time.Sleep(time.Duration(i*37+j) * time.Millisecond)
				}
			})
		}
		crew.Wait()
		c.Close()
		for v := range made {
			if dropped[v] != 1 {
				t.Errorf("value %d was dropped %d times", v.number, dropped[v])
			}
		}
		if len(made) < 100 {
			t.Errorf("only %d values were made", len(made))
		}
	})
}

func TestACacheIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 3, Lifetime{Expire: time.Hour})
		for _, key := range []string{"a", "b", "c"} {
			f.number(t, key)
		}
		if _, err := f.Get(t.Context(), "d"); !errors.Is(err, ErrFull) {
			t.Errorf("%v", err)
		}
		time.Sleep(idleFor - time.Minute)
		f.number(t, "a")
		time.Sleep(2 * time.Minute) // nobody has asked for b and c
		f.number(t, "d")
		if f.number(t, "a") != 1 || f.drops() != "[2 3]" && f.drops() != "[3 2]" {
			t.Errorf("dropped are %s", f.drops())
		}
		f.Close()
	})
}

// A value that comes when the cache has been closed is dropped, and nobody gets it.
func TestCloseDuringAFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var drops atomic.Int64
		release := make(chan struct{})
		c := New(10, func(context.Context, string, *thing) (*thing, Lifetime, error) {
			<-release // it does not heed its context
			return &thing{1}, Lifetime{Expire: time.Minute}, nil
		}, func(string, *thing) { drops.Add(1) })
		got := make(chan error, 1)
		go func() { _, err := c.Get(t.Context(), "a"); got <- err }()
		synctest.Wait()
		closed := make(chan struct{})
		go func() { c.Close(); close(closed) }()
		synctest.Wait()
		close(release)
		<-closed
		if err := <-got; !errors.Is(err, ErrClosed) || drops.Load() != 1 {
			t.Errorf("%v, %d drops", err, drops.Load())
		}
	})
}

func BenchmarkGet(b *testing.B) {
	c := New(10, func(context.Context, string, *thing) (*thing, Lifetime, error) {
		return &thing{1}, Lifetime{Expire: time.Hour}, nil
	}, nil)
	defer c.Close()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Get(b.Context(), "a"); err != nil {
			b.Fatal(err)
		}
	}
}
