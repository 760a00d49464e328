// Package push follows the domain's order and decides, for each event and each local member of its room, whether the
// member is to be notified: it counts what is unread, and rings pushers.
//
// Counts live in memory, per room and member, and are a function of the order: events count up, receipts take back. They
// are written behind together with the position they hold for; what came after it is counted again after a crash. /sync
// calls Advance before it answers, so the count of an event never comes after the event. Rings go through a durable
// outbox. The package writes no events and speaks only to push gateways.
//
// All methods of Keeper are safe for concurrent use. Counting is done by one goroutine at a time, whoever needs it first.
package push

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"konsil/homeserver/notify"
	"konsil/homeserver/room"
	"konsil/homeserver/store"
	"konsil/kit/clock"
	"konsil/kit/obs"
	"konsil/matrix/id"
	"konsil/matrix/pushrule"
)

// Config is what a Keeper stands on.
type Config struct {
	Server id.ServerName
	Store  *store.DB
	Rooms  *room.Engine
	Notify *notify.Notifier
	Clock  clock.Clock  // nil means the system's
	Log    *slog.Logger // nil means slog.Default()

	// AllowPrivate lets pushers name http URLs and gateways on loopback and private addresses: development and tests.
	AllowPrivate bool
	// Dial makes the connections to push gateways, in place of a dialer that refuses addresses which are not public.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Keeper counts and rings for one domain.
type Keeper struct {
	cfg     Config
	gateway *gateway

	// turn is held by who counts or takes a snapshot of the counts. It is a queue, not a lock: reading the store under it
	// stops nobody but those who need the same counts.
	turn    chan struct{}
	pos     atomic.Int64 // all up to here is counted; written under turn
	started bool         // the cursor was read; under turn

	verdicts []verdict // scratch space of count; under turn
	held     int       // members in rooms, as they were loaded; under turn

	mu      sync.Mutex                      // what it guards is changed only under turn, waiting and pushers excepted
	rooms   map[id.RoomID]*roomCounts       // guarded by mu
	rules   map[id.UserID]*userRules        // guarded by mu
	dirty   map[id.RoomID]*roomCounts       // to be written, guarded by mu
	waiting []store.Notification            // to be written, guarded by mu
	pushers map[id.UserID][]store.PusherKey // guarded by mu; nil: to be read
	writing bool                            // a Flush is at work, guarded by mu

	flushSoon chan struct{} // holds one hint: something should be written now
	ringNow   chan struct{} // holds one hint: the outbox has something, or a pusher was set
	due       atomic.Int64  // ms: the next ring that waits for its time, 0 for none
}

// userRules is a user's set as it is kept in memory. Its fields are replaced by who has the turn, never changed.
type userRules struct {
	set      *pushrule.Set
	compiled *pushrule.Rules
	ignored  map[id.UserID]bool // nobody is notified of what these do
}

// New assembles a Keeper. Run must be running for rings to go out and counts to be written.
func New(cfg Config) *Keeper {
	if cfg.Clock == nil {
		cfg.Clock = clock.System()
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	return &Keeper{
		cfg:       cfg,
		gateway:   newGateway(cfg),
		turn:      make(chan struct{}, 1),
		rooms:     map[id.RoomID]*roomCounts{},
		rules:     map[id.UserID]*userRules{},
		dirty:     map[id.RoomID]*roomCounts{},
		flushSoon: make(chan struct{}, 1),
		ringNow:   make(chan struct{}, 1),
	}
}

// flushAfter is how long counts stay in memory only. What a crash loses is counted again from the events themselves.
const flushAfter = 5 * time.Second

// Run counts as things happen, writes the counts now and then, and rings; it ends with the context, after a last write.
func (k *Keeper) Run(ctx context.Context) error {
	var rings sync.WaitGroup
	rings.Go(func() { k.ringAll(ctx) })
	defer rings.Wait()
	wake := k.cfg.Notify.Follow("push", notify.Events|notify.Ephemeral|notify.Account)
	timer := k.cfg.Clock.NewTimer(flushAfter)
	defer timer.Stop()
	for {
		if err := k.Advance(ctx, k.cfg.Store.Position()); err != nil && ctx.Err() == nil {
			k.cfg.Log.Error("count unread events", obs.KeyError, err)
		}
		select {
		case <-ctx.Done():
			return k.Flush(context.WithoutCancel(ctx))
		case <-wake:
			continue
		case <-k.flushSoon:
		case <-timer.C():
			timer.Reset(flushAfter)
		}
		if err := k.Flush(ctx); err != nil && ctx.Err() == nil {
			k.cfg.Log.Error("write unread counts", obs.KeyError, err)
		}
	}
}

// take waits for the turn.
func (k *Keeper) take(ctx context.Context) error {
	select {
	case k.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (k *Keeper) give() { <-k.turn }

// Flush writes counts and rings that are in memory only.
func (k *Keeper) Flush(ctx context.Context) error {
	if err := k.take(ctx); err != nil {
		return err
	}
	k.mu.Lock()
	rooms, waiting, pos := k.dirty, k.waiting, k.pos.Load()
	k.dirty, k.waiting, k.writing = map[id.RoomID]*roomCounts{}, nil, true
	blobs := make(map[id.RoomID][]byte, len(rooms))
	for room, counts := range rooms {
		blobs[room] = counts.encode()
	}
	k.mu.Unlock()
	k.give()
	defer func() {
		k.mu.Lock()
		k.writing = false
		k.mu.Unlock()
	}()
	if len(blobs) == 0 && len(waiting) == 0 {
		return nil
	}
	err := k.cfg.Store.Write(ctx, func(tx *store.Tx) error {
		for room, counts := range blobs {
			if err := tx.SetUnread(ctx, room, counts); err != nil {
				return err
			}
		}
		for _, n := range waiting {
			if err := tx.AddNotification(ctx, n); err != nil {
				return err
			}
		}
		return tx.SetUnreadCursor(ctx, pos)
	})
	if err != nil {
		k.mu.Lock()
		for room, counts := range rooms {
			k.dirty[room] = counts
		}
		k.waiting = append(waiting, k.waiting...)
		k.mu.Unlock()
		return fmt.Errorf("write unread counts: %w", err)
	}
	if len(waiting) > 0 {
		hint(k.ringNow)
	}
	return nil
}

// NextDue says when a ring is to be tried again, in ms since 1970; 0 for never. A sleeping domain is woken then.
func (k *Keeper) NextDue() int64 { return k.due.Load() }

func hint(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // there is one already
	}
}
