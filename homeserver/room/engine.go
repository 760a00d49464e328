// Package room is the room engine: the only writer of events. It creates rooms, sends, joins, receives what other servers
// send, resolves state, redacts, and answers every question about rooms: state, members, history, who may see what.
//
// It speaks to no network (federation fetches what is missing and calls again) and holds no SQL (that is store). What the
// specification decides is decided by the pure packages room/auth and room/resolve; here facts are gathered, the verdict is
// asked for, and the result is written in one transaction.
//
// Each room has a queue; a leader takes all that waits, builds it one after another on the room's head in memory and stores
// it in one transaction. Rooms never wait for each other. All methods of Engine are safe for concurrent use; the values they
// return are immutable and shared: nobody changes them.
package room

import (
	"context"
	"crypto/rand"
	"io"
	"sync/atomic"

	"konsil/homeserver/notify"
	"konsil/homeserver/store"
	"konsil/kit/clock"
	"konsil/matrix/id"
	"konsil/matrix/sign"
)

// Config is what an engine stands on.
type Config struct {
	Store  *store.DB
	Notify *notify.Notifier
	Clock  clock.Clock // nil means the system's
	Rand   io.Reader   // nil means crypto/rand
	Server id.ServerName
	Key    sign.Key

	// DefaultVersion is the version of rooms whose creator asked for none. Empty means "11".
	DefaultVersion string
	// CacheBytes bounds the rooms, events and states kept in memory. 0 means 32 MiB.
	CacheBytes int64

	// Profile gives display name and avatar of a local user, for their member events. nil means none has any.
	Profile func(ctx context.Context, user id.UserID) (Profile, error)

	// CheckInvite refuses invites that a local user does not want. nil means that all are wanted.
	CheckInvite func(ctx context.Context, target, from id.UserID) error
}

// Profile is what member events carry about a user. Empty fields are left out.
type Profile struct {
	DisplayName string
	AvatarURL   string
}

// Engine is one domain's room engine.
type Engine struct {
	cfg    Config
	store  *store.DB
	rooms  rooms
	events eventCache
	snaps  snapshotCache
	recent recent

	created lastTime     // of create events
	waiting atomic.Int32 // whether redactions wait for their targets, see redactionsWait
}

const defaultCacheBytes = 32 << 20

// New assembles an engine. It starts nothing and reads nothing.
func New(cfg Config) *Engine {
	if cfg.Clock == nil {
		cfg.Clock = clock.System()
	}
	if cfg.Rand == nil {
		cfg.Rand = rand.Reader
	}
	if cfg.Notify == nil {
		cfg.Notify = notify.New()
	}
	if cfg.DefaultVersion == "" {
		cfg.DefaultVersion = "11"
	}
	if cfg.CacheBytes == 0 {
		cfg.CacheBytes = defaultCacheBytes
	}
	e := &Engine{cfg: cfg, store: cfg.Store}
	e.events.init(cfg.CacheBytes / 2)
	e.snaps.init(cfg.CacheBytes / 4)
	e.rooms.init(cfg.CacheBytes / 4)
	e.recent.init(cfg.Store.Position())
	return e
}

// local reports whether a user is of this domain.
func (e *Engine) local(user id.UserID) bool { return user.Server() == e.cfg.Server }

// now is the time as events carry it.
func (e *Engine) now() int64 { return clock.Millis(e.cfg.Clock) }

// profile reads a local user's profile; others have theirs in their own events.
func (e *Engine) profile(ctx context.Context, user id.UserID) (Profile, error) {
	if e.cfg.Profile == nil || !e.local(user) {
		return Profile{}, nil
	}
	return e.cfg.Profile(ctx, user)
}

// CheckInvite refuses the invite of a local user who does not want it. CS v1.18 #invite-permission
func (e *Engine) CheckInvite(ctx context.Context, target, from id.UserID) error {
	if e.cfg.CheckInvite == nil || !e.local(target) {
		return nil
	}
	return e.cfg.CheckInvite(ctx, target, from)
}
