package auth

import (
	"sync"
	"testing"
)

func TestCacheStaysBoundedAndKeepsWhatIsUsed(t *testing.T) {
	c := newCache[int, int](10)
	c.put(-1, 42)
	for i := range 1000 {
		c.put(i, i)
		if v, ok := c.get(-1); !ok || v != 42 {
			t.Fatalf("after %d others the entry in use is gone", i+1)
		}
		if n := c.size(); n > 20 {
			t.Fatalf("holds %d entries, above 20", n)
		}
	}
	if _, ok := c.get(0); ok {
		t.Error("an entry that nobody asked for survived 999 others")
	}
}

func TestCacheConcurrently(t *testing.T) {
	c := newCache[int, int](16)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 2000 {
				if v, ok := c.get(i % 64); ok && v != i%64 {
					t.Errorf("key %d gave %d", i%64, v)
				}
				c.put(i%64, i%64)
			}
		})
	}
	wg.Wait()
}
