package clock

import (
	"sync"
	"time"
)

// Fake is a clock for tests: it stands still until Advance moves it, and fires on the way the timers that fall due.
type Fake struct {
	mu      sync.Mutex
	now     time.Time             // guarded by mu
	timers  map[*fakeTimer]bool   // the running ones, guarded by mu
	waiters map[chan struct{}]int // closed once that many timers run, guarded by mu
}

// NewFake makes a clock that shows start; the zero time gives a fixed day.
func NewFake(start time.Time) *Fake {
	if start.IsZero() {
		start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	}
	return &Fake{now: start, timers: map[*fakeTimer]bool{}, waiters: map[chan struct{}]int{}}
}

// Now is what the clock shows.
func (f *Fake) Now() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.now
}

// After is NewTimer(d).C().
func (f *Fake) After(d time.Duration) <-chan time.Time { return f.NewTimer(d).C() }

// NewTimer starts a timer that fires when Advance passes its time.
func (f *Fake) NewTimer(d time.Duration) Timer {
	t := &fakeTimer{clock: f, c: make(chan time.Time, 1)}
	t.Reset(d)
	return t
}

// Advance moves the clock and fires what falls due, earliest first.
func (f *Fake) Advance(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	end := f.now.Add(d)
	for {
		var first *fakeTimer
		for t := range f.timers {
			if !t.due.After(end) && (first == nil || t.due.Before(first.due)) {
				first = t
			}
		}
		if first == nil {
			break
		}
		if first.due.After(f.now) {
			f.now = first.due
		}
		first.fire()
	}
	f.now = end
}

// WaitTimers blocks until at least n timers run: a test calls it before Advance, to know that the code under test has gone
// to sleep.
func (f *Fake) WaitTimers(n int) {
	f.mu.Lock()
	if len(f.timers) >= n {
		f.mu.Unlock()
		return
	}
	ready := make(chan struct{})
	f.waiters[ready] = n
	f.mu.Unlock()
	<-ready
}

type fakeTimer struct {
	clock *Fake
	c     chan time.Time
	due   time.Time // guarded by clock.mu
}

func (t *fakeTimer) C() <-chan time.Time { return t.c }

func (t *fakeTimer) Stop() bool {
	t.clock.mu.Lock()
	defer t.clock.mu.Unlock()
	return t.stop()
}

func (t *fakeTimer) Reset(d time.Duration) bool {
	f := t.clock
	f.mu.Lock()
	defer f.mu.Unlock()
	running := t.stop()
	t.due = f.now.Add(d)
	f.timers[t] = true
	if d <= 0 {
		t.fire()
	}
	for ready, n := range f.waiters {
		if len(f.timers) >= n {
			close(ready)
			delete(f.waiters, ready)
		}
	}
	return running
}

// stop needs clock.mu. It also takes back a time that was sent and not yet received, as time.Timer does since Go 1.23.
func (t *fakeTimer) stop() bool {
	running := t.clock.timers[t]
	delete(t.clock.timers, t)
	select {
	case <-t.c:
	default:
	}
	return running
}

// fire needs clock.mu.
func (t *fakeTimer) fire() {
	delete(t.clock.timers, t)
	select {
	case t.c <- t.clock.now:
	default:
	}
}
