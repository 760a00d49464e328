// Package delayed sends events later: a client that may vanish, as from a call, leaves the event that says so with the server,
// and puts it off for as long as it lives. What waits is stored, so that a restart forgets nothing; what was due meanwhile is
// sent then. MSC4140
//
// A Keeper is safe for concurrent use. One goroutine, Run's, sends what is due; an event may be sent by request at the same
// time, which makes no difference: its delay ID is its transaction ID, and the room takes it once.
package delayed

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"konsil/homeserver/room"
	"konsil/homeserver/store"
	"konsil/kit/clock"
	"konsil/kit/obs"
	"konsil/matrix/event"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
)

// Bounds of what one user may leave.
const (
	maxDelay = 24 * time.Hour
	maxOwn   = 100
)

// Config is what a Keeper stands on.
type Config struct {
	Store *store.DB
	Rooms *room.Engine
	Clock clock.Clock
	Rand  io.Reader
	Log   *slog.Logger // nil means slog.Default()
}

// Keeper keeps the delayed events of one domain.
type Keeper struct {
	cfg  Config
	wake chan struct{} // holds one hint: something may be due earlier than known
	due  atomic.Int64  // ms, when the next is due; 0 for never
}

// New assembles a Keeper. Nothing is sent until Run.
func New(cfg Config) *Keeper {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	return &Keeper{cfg: cfg, wake: make(chan struct{}, 1)}
}

func (k *Keeper) now() int64 { return clock.Millis(k.cfg.Clock) }

// errUnknown is the answer to delay IDs there are not, or no more.
func errUnknown() error { return mxerr.NotFound("No such delayed event") }

// Delay leaves an event to be sent later, and answers its delay ID. A repeated transaction answers the same.
func (k *Keeper) Delay(ctx context.Context, d room.Draft, delay time.Duration) (string, error) {
	if delay <= 0 {
		return "", mxerr.InvalidParam("The delay must be positive")
	}
	if delay > maxDelay {
		return "", exceeded("M_MAX_DELAY_EXCEEDED", "The delay is too long").With("org.matrix.msc4140.max_delay", maxDelay.Milliseconds())
	}
	info, err := k.cfg.Rooms.Room(ctx, d.Room)
	if err != nil {
		return "", err
	}
	if now, err := k.cfg.Rooms.Membership(ctx, d.Room, d.Sender); err != nil {
		return "", err
	} else if now != event.Join {
		return "", mxerr.Forbidden("You are not in the room")
	}
	next := store.DelayedEvent{User: d.Sender, Room: d.Room, Type: d.Type, StateKey: d.StateKey, Content: d.Content,
		Delay: delay.Milliseconds(), Since: k.now(), Pos: k.cfg.Store.Position()}
	if d.TxnID != "" {
		next.Txn = store.TxnKey(d.Sender, d.Device, "delayed "+d.TxnScope, info.NID, d.TxnID)
	}
	if next.ID, err = k.newID(); err != nil {
		return "", err
	}
	delayID := next.ID
	err = k.cfg.Store.Write(ctx, func(tx *store.Tx) error {
		delayID = next.ID
		known, err := tx.DelayedEventByTxn(ctx, next.Txn)
		if err == nil {
			delayID = known.ID
			return nil
		}
		if !errors.Is(err, store.ErrNotFound) {
			return err
		}
		return k.add(ctx, tx, next)
	})
	if err != nil {
		return "", err
	}
	k.hint()
	return delayID, nil
}

// add stores an event of a user who has not too many.
func (k *Keeper) add(ctx context.Context, tx *store.Tx, d store.DelayedEvent) error {
	if len(d.Content) == 0 {
		return mxerr.NotJSON("Content not JSON")
	}
	n, err := tx.CountDelayedEvents(ctx, d.User)
	if err != nil {
		return fmt.Errorf("count delayed events: %w", err)
	}
	if n >= maxOwn {
		return exceeded("M_MAX_DELAYED_EVENTS_EXCEEDED", "You have left too many delayed events")
	}
	_, err = tx.AddDelayedEvent(ctx, d)
	return err
}

// exceeded names a limit as the proposal does: in a field of its own.
func exceeded(code, message string) *mxerr.Error {
	return mxerr.New(http.StatusBadRequest, mxerr.CodeUnknown, "%s", message).With("org.matrix.msc4140.errcode", code)
}

// newID draws a delay ID. Who knows it may act on the event without more, so it can not be guessed.
func (k *Keeper) newID() (string, error) {
	var b [18]byte
	if _, err := io.ReadFull(k.cfg.Rand, b[:]); err != nil {
		return "", fmt.Errorf("draw a delay ID: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(b[:]), nil
}

// List gives the events that a user has left and that still wait.
func (k *Keeper) List(ctx context.Context, user id.UserID) (list []store.DelayedEvent, err error) {
	err = k.cfg.Store.ReadOne(ctx, func(tx *store.Tx) (err error) {
		list, err = tx.DelayedEventsOf(ctx, user)
		return err
	})
	return list, err
}

// Cancel forgets an event.
func (k *Keeper) Cancel(ctx context.Context, delayID string) error {
	return k.change(ctx, func(tx *store.Tx) (bool, error) { return tx.RemoveDelayedEvent(ctx, delayID) })
}

// Restart begins its delay anew.
func (k *Keeper) Restart(ctx context.Context, delayID string) error {
	return k.change(ctx, func(tx *store.Tx) (bool, error) { return tx.RestartDelayedEvent(ctx, delayID, k.now()) })
}

func (k *Keeper) change(ctx context.Context, fn func(tx *store.Tx) (bool, error)) error {
	found := false
	err := k.cfg.Store.Write(ctx, func(tx *store.Tx) (err error) {
		found, err = fn(tx)
		return err
	})
	if err == nil && !found {
		err = errUnknown()
	}
	k.hint()
	return err
}

// Send sends an event now.
func (k *Keeper) Send(ctx context.Context, delayID string) error {
	var d store.DelayedEvent
	err := k.cfg.Store.ReadOne(ctx, func(tx *store.Tx) (err error) {
		d, err = tx.DelayedEvent(ctx, delayID)
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		return errUnknown()
	}
	if err != nil {
		return err
	}
	return k.send(ctx, d)
}

// send sends an event and forgets it, also when the room refuses it: later it would be no more welcome. Only what is our own
// trouble keeps it waiting.
func (k *Keeper) send(ctx context.Context, d store.DelayedEvent) error {
	stale, err := k.overtaken(ctx, d)
	if err != nil {
		return err
	}
	var refused error
	if !stale {
		_, err = k.cfg.Rooms.Send(ctx, room.Draft{Room: d.Room, Sender: d.User, Type: d.Type, StateKey: d.StateKey, Content: d.Content,
			TxnScope: "delayed", TxnID: d.ID})
		if _, ok := mxerr.As(err); ok {
			refused = err
		} else if err != nil {
			return err
		}
	}
	err = k.cfg.Store.Write(ctx, func(tx *store.Tx) error {
		_, err := tx.RemoveDelayedEvent(ctx, d.ID)
		return err
	})
	if err != nil {
		return fmt.Errorf("forget a delayed event: %w", err)
	}
	return refused
}

// overtaken says whether somebody else has set the state since, who shall not be overruled by what was said before.
func (k *Keeper) overtaken(ctx context.Context, d store.DelayedEvent) (bool, error) {
	if d.StateKey == nil {
		return false, nil
	}
	now, err := k.cfg.Rooms.StateEvent(ctx, d.Room, d.Type, *d.StateKey)
	if errors.Is(err, room.ErrUnknownRoom) {
		return true, nil
	}
	return now != nil && now.Pos > d.Pos && now.Sender != d.User, err
}

func (k *Keeper) hint() {
	select {
	case k.wake <- struct{}{}:
	default: // there is one already
	}
}

// NextDue says when the next event is due, in ms since 1970; 0 for never. A sleeping domain is woken then.
func (k *Keeper) NextDue() int64 { return k.due.Load() }

// Run sends what is due until the context ends.
func (k *Keeper) Run(ctx context.Context) error {
	for {
		next, err := k.sendDue(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		k.due.Store(next)
		if !k.wait(ctx, next) {
			return nil
		}
	}
}

// wait waits for the time when something is due, or for a hint; false means that ctx has ended.
func (k *Keeper) wait(ctx context.Context, due int64) bool {
	var timer <-chan time.Time
	if due > 0 {
		t := k.cfg.Clock.NewTimer(time.Duration(max(due-k.now(), 0)) * time.Millisecond)
		defer t.Stop()
		timer = t.C()
	}
	select {
	case <-timer:
	case <-k.wake:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}

// sendDue sends all that is due, and says when the next is.
func (k *Keeper) sendDue(ctx context.Context) (next int64, err error) {
	const atOnce = 100
	for {
		var due []store.DelayedEvent
		err := k.cfg.Store.Read(ctx, func(tx *store.Tx) (err error) {
			if due, err = tx.DueDelayedEvents(ctx, k.now(), atOnce); err != nil {
				return err
			}
			next, err = tx.NextDelayedEvent(ctx)
			return err
		})
		if err != nil {
			return 0, fmt.Errorf("read delayed events: %w", err)
		}
		if len(due) == 0 {
			return next, nil
		}
		for _, d := range due {
			if err := k.send(ctx, d); err != nil {
				if e, refused := mxerr.As(err); refused {
					k.cfg.Log.Info("a delayed event was refused", obs.KeyError, e.Code)
					continue
				}
				return 0, fmt.Errorf("send a delayed event: %w", err)
			}
		}
	}
}
