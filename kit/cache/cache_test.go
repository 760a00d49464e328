package cache_test

import (
	"fmt"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"konsil/kit/cache"
)

func length(_ string, v string) int64 { return int64(len(v)) }

func TestTheLeastUsedLeaves(t *testing.T) {
	c := cache.New(10*(100+120), func(int, string) int64 { return 100 })
	for i := range 10 {
		c.Put(i, "x")
	}
	c.Get(0)
	c.Put(10, "x")
	if _, ok := c.Get(0); !ok {
		t.Error("the one just used is gone")
	}
	if _, ok := c.Get(1); ok {
		t.Error("the one never used is still there")
	}
	if s := c.Stats(); s.Entries != 10 || s.Evictions != 1 || s.Hits != 2 || s.Misses != 1 {
		t.Errorf("%+v", s)
	}
}

func TestALargeValueIsNotKept(t *testing.T) {
	c := cache.New(8000, length)
	c.Put("small", "x")
	c.Put("large", string(make([]byte, 4000)))
	if _, ok := c.Get("large"); ok {
		t.Error("kept half of the cache in one value")
	}
	c.Put("small", string(make([]byte, 4000)))
	if _, ok := c.Get("small"); ok {
		t.Error("the old value is served after a new one was put")
	}
}

// TestBudgetHolds compares with a map: a hit is the value put last, and the bytes never exceed the budget.
func TestBudgetHolds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const budget = 20_000
		c := cache.New(budget, length)
		model := map[string]string{}
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			k := rapid.StringMatching(`[a-f]{1,2}`).Draw(t, "key")
			switch rapid.IntRange(0, 3).Draw(t, "what") {
			case 0:
				c.Delete(k)
				delete(model, k)
			case 1, 2:
				v := rapid.StringN(0, 500, 2000).Draw(t, "value")
				c.Put(k, v)
				model[k] = v
			case 3:
				if v, ok := c.Get(k); ok && v != model[k] {
					t.Fatalf("got %q, put %q", v, model[k])
				}
			}
			if s := c.Stats(); s.Bytes > budget || s.Bytes < 0 {
				t.Fatalf("%d bytes of %d", s.Bytes, budget)
			}
		}
	})
}

func TestConcurrentUse(t *testing.T) {
	c := cache.New(50_000, length)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 1000 {
				k := fmt.Sprint((i * g) % 97)
				c.Put(k, k)
				if v, ok := c.Get(k); ok && v != k {
					t.Errorf("%q under %q", v, k)
				}
				c.Delete(fmt.Sprint(i % 13))
			}
		})
	}
	wg.Wait()
}

func BenchmarkGet(b *testing.B) {
	c := cache.New(1<<20, length)
	c.Put("token", "caller")
	b.ReportAllocs()
	for b.Loop() {
		c.Get("token")
	}
}
