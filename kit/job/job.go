// Package job owns what runs in the background: groups of goroutines that end with their parent, and are started again
// when they fail. It knows no queue and no table. A Group is safe for concurrent use.
package job

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"konsil/kit/clock"
	"konsil/kit/obs"
)

// Group runs functions until its context ends.
type Group struct {
	ctx    context.Context
	cancel context.CancelFunc
	cfg    Config
	wg     sync.WaitGroup
}

// Config is what a Group stands on.
type Config struct {
	Clock clock.Clock  // nil means the system's
	Rand  io.Reader    // for jitter; nil means none
	Log   *slog.Logger // nil means slog.Default()
}

// Between two attempts of a function that fails.
const (
	firstPause = time.Second
	longPause  = 5 * time.Minute
	healthy    = 10 * time.Minute // after running so long, a failure is a new one
)

// NewGroup makes a group that ends with ctx.
func NewGroup(ctx context.Context, cfg Config) *Group {
	if cfg.Clock == nil {
		cfg.Clock = clock.System()
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	ctx, cancel := context.WithCancel(ctx)
	return &Group{ctx: ctx, cancel: cancel, cfg: cfg}
}

// Go runs fn. When it fails or panics it is run again after a pause that grows; the first failure in a row is logged, the
// others are counted in the line that says it has recovered. When fn returns nil, its work is done.
func (g *Group) Go(name string, fn func(ctx context.Context) error) {
	g.wg.Go(func() { g.keep(name, fn) })
}

// Stop ends the group and waits for all its functions.
func (g *Group) Stop() {
	g.cancel()
	g.wg.Wait()
}

// Wait waits until all functions are done, or the group has ended.
func (g *Group) Wait() { g.wg.Wait() }

func (g *Group) keep(name string, fn func(ctx context.Context) error) {
	pause, failures := firstPause, 0
	for {
		begun := g.cfg.Clock.Now()
		err := attempt(g.ctx, fn)
		if err == nil || g.ctx.Err() != nil {
			if failures > 0 && err == nil {
				g.cfg.Log.Info("job recovered", obs.KeyJob, name, obs.KeyFailures, failures)
			}
			return
		}
		if g.cfg.Clock.Now().Sub(begun) >= healthy {
			pause, failures = firstPause, 0
		}
		if failures++; failures == 1 {
			g.cfg.Log.Error("job failed, is tried again", obs.KeyJob, name, obs.KeyError, err)
		}
		if !sleep(g.ctx, g.cfg.Clock, Jitter(g.cfg.Rand, pause)) {
			return
		}
		pause = min(2*pause, longPause)
	}
}

// attempt turns a panic into an error: one broken job is not to end the others.
func attempt(ctx context.Context, fn func(ctx context.Context) error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v\n%s", r, debug.Stack())
		}
	}()
	return fn(ctx)
}

// sleep says whether the time passed before ctx ended.
func sleep(ctx context.Context, c clock.Clock, d time.Duration) bool {
	t := c.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C():
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// Jitter is d, a tenth more or less, so that what started together does not stay together. Without rand it is d.
func Jitter(rand io.Reader, d time.Duration) time.Duration {
	var b [8]byte
	if rand == nil || d < 10 {
		return d
	}
	if _, err := io.ReadFull(rand, b[:]); err != nil {
		return d
	}
	span := uint64(d / 5)
	return d - d/10 + time.Duration(binary.BigEndian.Uint64(b[:])%(span+1))
}
