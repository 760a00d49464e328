package limit_test

import (
	"fmt"
	"testing"
	"time"

	"konsil/kit/clock"
	"konsil/kit/limit"
)

func TestBucketEmptiesAndRefills(t *testing.T) {
	c := clock.NewFake(time.Time{})
	l := limit.New(c, 100)
	r := limit.Rate{PerSecond: 2, Burst: 3}
	for i := range 3 {
		if _, ok := l.Allow("send", "anna", r); !ok {
			t.Fatalf("refused at %d of a burst of 3", i)
		}
	}
	wait, ok := l.Allow("send", "anna", r)
	if ok || wait != 500*time.Millisecond {
		t.Errorf("got %v, %v; want a wait of 500ms", wait, ok)
	}
	if _, ok := l.Allow("send", "kurt", r); !ok {
		t.Error("another person is refused")
	}
	if _, ok := l.Allow("join", "anna", r); !ok {
		t.Error("another class is refused")
	}
	c.Advance(499 * time.Millisecond)
	if _, ok := l.Allow("send", "anna", r); ok {
		t.Error("let through before its time")
	}
	c.Advance(time.Millisecond)
	if _, ok := l.Allow("send", "anna", r); !ok {
		t.Error("refused after the wait it was told")
	}
	c.Advance(time.Hour)
	n := 0
	for ; n < 10; n++ {
		if _, ok := l.Allow("send", "anna", r); !ok {
			break
		}
	}
	if n != 3 {
		t.Errorf("a rested bucket gives %d, want 3", n)
	}
}

func TestRefusalsCostNothing(t *testing.T) {
	c := clock.NewFake(time.Time{})
	l := limit.New(c, 100)
	r := limit.Rate{PerSecond: 1, Burst: 1}
	l.Allow("x", "y", r)
	for range 1000 {
		l.Allow("x", "y", r)
	}
	c.Advance(time.Second)
	if _, ok := l.Allow("x", "y", r); !ok {
		t.Error("who asks while refused waits longer")
	}
}

func TestMemoryIsBounded(t *testing.T) {
	c := clock.NewFake(time.Time{})
	l := limit.New(c, 1000)
	r := limit.Rate{PerSecond: 0.001, Burst: 2}
	for i := range 100_000 {
		l.Allow("x", fmt.Sprint(i), r)
	}
	if n := l.Len(); n > 1000+16 {
		t.Errorf("%d buckets, room for 1000", n)
	}
}

func TestOffLetsEverythingPass(t *testing.T) {
	l := limit.Off()
	for range 100 {
		if _, ok := l.Allow("x", "y", limit.Rate{PerSecond: 0.001, Burst: 1}); !ok {
			t.Fatal("refused")
		}
	}
}

func BenchmarkAllow(b *testing.B) {
	l := limit.New(clock.System(), 100_000)
	r := limit.Rate{PerSecond: 1e9, Burst: 1000}
	b.ReportAllocs()
	for b.Loop() {
		l.Allow("send", "@anna:klinik.test", r)
	}
}
