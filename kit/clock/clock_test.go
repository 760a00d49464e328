package clock_test

import (
	"testing"
	"time"

	"konsil/kit/clock"
)

func TestFakeFiresInOrder(t *testing.T) {
	f := clock.NewFake(time.Time{})
	start := f.Now()
	late, early := f.NewTimer(2*time.Minute), f.NewTimer(time.Minute)
	f.Advance(59 * time.Second)
	select {
	case <-early.C():
		t.Fatal("fired too early")
	default:
	}
	f.Advance(2 * time.Minute)
	if at := <-early.C(); at.Sub(start) != time.Minute {
		t.Errorf("early fired at %v", at.Sub(start))
	}
	if at := <-late.C(); at.Sub(start) != 2*time.Minute {
		t.Errorf("late fired at %v", at.Sub(start))
	}
	if f.Now().Sub(start) != 2*time.Minute+59*time.Second {
		t.Errorf("now %v", f.Now().Sub(start))
	}
}

func TestFakeStopAndReset(t *testing.T) {
	f := clock.NewFake(time.Time{})
	timer := f.NewTimer(time.Second)
	if !timer.Stop() || timer.Stop() {
		t.Error("Stop does not say whether the timer ran")
	}
	if timer.Reset(time.Second) {
		t.Error("Reset calls a stopped timer running")
	}
	f.Advance(time.Second)
	timer.Reset(time.Minute)
	select {
	case <-timer.C():
		t.Error("a stale time after Reset")
	default:
	}
	f.Advance(time.Minute)
	<-timer.C()
	<-f.After(0)
}

func TestWaitTimers(t *testing.T) {
	f := clock.NewFake(time.Time{})
	woke := make(chan struct{})
	go func() {
		<-f.After(time.Hour)
		close(woke)
	}()
	f.WaitTimers(1)
	f.Advance(time.Hour)
	<-woke
}

func TestSystem(t *testing.T) {
	c := clock.System()
	if d := time.Since(c.Now()); d < 0 || d > time.Minute {
		t.Errorf("off by %v", d)
	}
	timer := c.NewTimer(time.Hour)
	if !timer.Stop() {
		t.Error("the timer did not run")
	}
	<-c.After(0)
	if clock.Millis(c) < 1_700_000_000_000 {
		t.Error("not milliseconds")
	}
}
