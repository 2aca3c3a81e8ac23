package cache_test

import (
	"sync"
	"testing"

	"sallyport.dev/auth/internal/cache"
)

func TestCacheStaysBoundedAndKeepsWhatIsUsed(t *testing.T) {
	c := cache.New[int, int](10)
	c.Put(-1, 42)
	for i := range 1000 {
		c.Put(i, i)
		if v, ok := c.Get(-1); !ok || v != 42 {
			t.Fatalf("after %d others the entry in use is gone", i+1)
		}
		if n := c.Size(); n > 20 {
			t.Fatalf("holds %d entries, above 20", n)
		}
	}
	if _, ok := c.Get(0); ok {
		t.Error("an entry that nobody asked for survived 999 others")
	}
}

func TestCacheConcurrently(t *testing.T) {
	c := cache.New[int, int](16)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 2000 {
				if v, ok := c.Get(i % 64); ok && v != i%64 {
					t.Errorf("key %d gave %d", i%64, v)
				}
				c.Put(i%64, i%64)
			}
		})
	}
	wg.Wait()
}
