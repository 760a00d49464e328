package job

import (
	"context"
	"fmt"
	"time"

	"konsil/kit/clock"
)

// Follower works off a log of numbered entries, each at least once and in order, also over crashes: the cursor is stored
// after the work. Handle must bear an entry that it has seen before.
type Follower[E any] struct {
	// Load reads the cursor: everything up to it is done.
	Load func(ctx context.Context) (int64, error)
	// Take gives the next entries after a position, some hundred at most, and the position they reach. Positions that hold
	// nothing for this follower are passed over by an upTo without entries; upTo == after means there is no news.
	Take func(ctx context.Context, after int64) (batch []E, upTo int64, err error)
	// Handle does the work.
	Handle func(ctx context.Context, batch []E) error
	// Store writes the cursor.
	Store func(ctx context.Context, upTo int64) error

	// Wake says that there may be news. A hint may come without news, and several may be one.
	Wake <-chan struct{}
	// Poll looks without a hint, for hints that were lost; 0 means never.
	Poll  time.Duration
	Clock clock.Clock // for Poll; nil means the system's
}

// Follow runs f until ctx ends. An error ends it before the cursor moves: a Group starts it again.
func Follow[E any](ctx context.Context, f Follower[E]) error {
	if f.Clock == nil {
		f.Clock = clock.System()
	}
	cursor, err := f.Load(ctx)
	if err != nil {
		return fmt.Errorf("load cursor: %w", err)
	}
	for ctx.Err() == nil {
		upTo, err := f.step(ctx, cursor)
		if err != nil {
			return err
		}
		if upTo == cursor && !f.wait(ctx) {
			return nil
		}
		cursor = upTo
	}
	return nil
}

func (f *Follower[E]) step(ctx context.Context, cursor int64) (int64, error) {
	batch, upTo, err := f.Take(ctx, cursor)
	if err != nil {
		return 0, fmt.Errorf("take from %d: %w", cursor, err)
	}
	if upTo <= cursor {
		if len(batch) > 0 {
			return 0, errStuck
		}
		return cursor, nil
	}
	if len(batch) > 0 {
		if err := f.Handle(ctx, batch); err != nil {
			return 0, fmt.Errorf("handle from %d to %d: %w", cursor, upTo, err)
		}
	}
	if err := f.Store(ctx, upTo); err != nil {
		return 0, fmt.Errorf("store cursor %d: %w", upTo, err)
	}
	return upTo, nil
}

// wait says whether to look again.
func (f *Follower[E]) wait(ctx context.Context) bool {
	var poll <-chan time.Time
	if f.Poll > 0 {
		t := f.Clock.NewTimer(f.Poll)
		defer t.Stop()
		poll = t.C()
	}
	select {
	case <-f.Wake:
	case <-poll:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}
