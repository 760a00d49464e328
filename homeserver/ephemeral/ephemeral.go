// Package ephemeral keeps what is true only for a while: who is typing, how far everybody has read, who is there. It takes
// it from our users and from other servers, stores what has to outlive a restart, and writes it the way clients get it.
// Sending it to other servers is federation's work, counting what is unread the push package's.
//
// A Keeper is safe for concurrent use. Typing lives in memory; receipts and presence in the store.
package ephemeral

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"konsil/homeserver/account"
	"konsil/homeserver/notify"
	"konsil/homeserver/room"
	"konsil/homeserver/store"
	"konsil/kit/clock"
	"konsil/kit/obs"
	"konsil/matrix/id"
)

// Config is what a Keeper stands on.
type Config struct {
	Server   id.ServerName
	Store    *store.DB
	Notify   *notify.Notifier
	Rooms    *room.Engine
	Accounts *account.Keeper
	Clock    clock.Clock  // nil means the system's
	Log      *slog.Logger // nil means slog.Default()

	// Presence makes the domain keep and share the presence of its users. Off by default: it tells when people work.
	Presence bool
}

// Keeper keeps one domain's.
type Keeper struct {
	Config

	mu     sync.Mutex
	typing map[id.RoomID]*typingRoom // guarded by mu
	active map[id.UserID]*activity   // of our users; guarded by mu
	next   time.Time                 // when Run has to look next, zero for never; guarded by mu
	sooner chan struct{}             // tells Run that next came nearer
}

// New assembles a Keeper. It starts nothing: timers run in Run.
func New(cfg Config) *Keeper {
	if cfg.Clock == nil {
		cfg.Clock = clock.System()
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	return &Keeper{
		Config: cfg,
		typing: map[id.RoomID]*typingRoom{},
		active: map[id.UserID]*activity{},
		sooner: make(chan struct{}, 1),
	}
}

// Run ends what ends by itself: typing that nobody renews, presence of who went away. It returns when the context ends.
func (k *Keeper) Run(ctx context.Context) error {
	if k.Presence {
		if err := k.loadPresence(ctx); err != nil && ctx.Err() == nil {
			k.Log.Warn("load presence", obs.KeyError, err) // those who are there show themselves soon
		}
	}
	timer := k.Clock.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		timer.Reset(k.untilNext())
		select {
		case <-timer.C():
			if err := k.tick(ctx); err != nil && ctx.Err() == nil {
				k.Log.Warn("end typing and presence", obs.KeyError, err) // the next round does it
			}
		case <-k.sooner:
		case <-ctx.Done():
			return nil
		}
	}
}

// untilNext is how long Run may sleep.
func (k *Keeper) untilNext() time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.next.IsZero() {
		return time.Hour
	}
	return max(time.Millisecond, k.next.Sub(k.Clock.Now()))
}

// lookAt makes Run look at a time. Needs k.mu.
func (k *Keeper) lookAt(t time.Time) {
	if !k.next.IsZero() && !t.Before(k.next) {
		return
	}
	k.next = t
	select {
	case k.sooner <- struct{}{}:
	default:
	}
}

func (k *Keeper) tick(ctx context.Context) error {
	now := k.Clock.Now()
	k.mu.Lock()
	k.next = time.Time{}
	rooms := k.expireTyping(now)
	gone := k.expirePresence(now)
	k.mu.Unlock()
	for _, room := range rooms {
		if err := k.typingChanged(ctx, room); err != nil {
			return err
		}
	}
	for _, p := range gone {
		if err := k.storePresence(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

func (k *Keeper) local(user id.UserID) bool { return user.Server() == k.Server }

// joined reports whether a user, ours or not, is in a room.
func (k *Keeper) joined(ctx context.Context, room id.RoomID, user id.UserID) (bool, error) {
	m, err := k.Rooms.Membership(ctx, room, user)
	return m == "join", err
}
