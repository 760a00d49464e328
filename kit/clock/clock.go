// Package clock is where the program gets its time from: the system's clock in production, a fake one in tests. It holds
// no time zones and formats nothing; the Matrix APIs speak milliseconds, which Millis gives. A Clock is safe for concurrent use.
package clock

import "time"

// Clock tells the time and wakes up. Code that must run under a test's time takes one instead of calling package time.
type Clock interface {
	// Now is the present.
	Now() time.Time
	// NewTimer starts a timer that fires once.
	NewTimer(d time.Duration) Timer
	// After is NewTimer for those who never stop it; prefer NewTimer where the wait is usually cut short.
	After(d time.Duration) <-chan time.Time
}

// Timer is a time.Timer that may belong to a fake clock.
type Timer interface {
	// C receives the time once, when the timer fires. Nothing stale is received after Stop or Reset.
	C() <-chan time.Time
	// Stop says whether it kept the timer from firing.
	Stop() bool
	// Reset starts the timer again, and says whether it was running.
	Reset(d time.Duration) bool
}

// System is the clock of the machine.
func System() Clock { return system{} }

// Millis is the present in milliseconds since 1970, as the Matrix APIs write it.
func Millis(c Clock) int64 { return c.Now().UnixMilli() }

type system struct{}

func (system) Now() time.Time                         { return time.Now() }
func (system) After(d time.Duration) <-chan time.Time { return time.After(d) }
func (system) NewTimer(d time.Duration) Timer         { return systemTimer{time.NewTimer(d)} }

type systemTimer struct{ *time.Timer }

func (t systemTimer) C() <-chan time.Time { return t.Timer.C }
