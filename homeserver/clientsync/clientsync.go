// Package clientsync answers /sync: what has happened for a user's device since a position of the domain's order.
//
// It writes nothing but what a sync itself does (to-device messages that have arrived are dropped), decides nothing about
// rooms, and costs in proportion to what changed: a tail of the order is kept in memory for all who wait, so that nothing
// new is a comparison of numbers, and an event that a hundred clients wait for is read once. What lies before the tail is
// read from the store. All methods of Syncer are safe for concurrent use.
package clientsync

import (
	"context"
	"time"

	"konsil/homeserver/account"
	"konsil/homeserver/e2ee"
	"konsil/homeserver/ephemeral"
	"konsil/homeserver/notify"
	"konsil/homeserver/room"
	"konsil/homeserver/store"
	"konsil/kit/clock"
	"konsil/matrix/id"
)

// Config is what a Syncer stands on.
type Config struct {
	Server    id.ServerName
	Store     *store.DB
	Rooms     *room.Engine
	Accounts  *account.Keeper
	E2EE      *e2ee.Keeper
	Ephemeral *ephemeral.Keeper
	Notify    *notify.Notifier
	Clock     clock.Clock // nil means the system's

	// Unread gives a user's counts in rooms, in the order of the rooms, as they are at a position or a little later. nil means
	// that nothing is counted.
	Unread func(ctx context.Context, user id.UserID, rooms []id.RoomID, upTo int64) ([]store.UnreadCounts, error)
}

// Syncer answers the syncs of one domain.
type Syncer struct {
	cfg   Config
	tail  *tail
	views *views
	lazy  *lazyMembers
	known *filters
	acked *acknowledged
}

// New assembles a Syncer. It starts nothing.
func New(cfg Config) *Syncer {
	if cfg.Clock == nil {
		cfg.Clock = clock.System()
	}
	return &Syncer{cfg: cfg, tail: newTail(cfg.Server, cfg.Store, cfg.Rooms), views: newViews(), lazy: newLazyMembers(), known: newFilters(),
		acked: newAcknowledged()}
}

// Request is what /sync was asked. CS v1.16 #get_matrixclientv3sync
type Request struct {
	User       id.UserID
	Device     id.DeviceID
	Filter     string // ID of a stored filter, a definition, or "" for none
	Since      string // "" for an initial sync
	FullState  bool
	Presence   string // set_presence; "" means online
	Timeout    time.Duration
	StateAfter StateAfter
}

// StateAfter says whether the client wants the state at the end of the timeline in place of that at its start. MSC4222
type StateAfter int

// How StateAfter was asked for.
const (
	StateBefore        StateAfter = iota // not at all
	StateAfterStable                     // use_state_after
	StateAfterUnstable                   // org.matrix.msc4222.use_state_after
)

// maxTimeout bounds how long a sync waits. Proxies between us and the client give up earlier.
const maxTimeout = 5 * time.Minute

// Sync answers a request with the body of the response. It waits for something to tell unless the client wants an answer at
// once: at the first sync, with full_state, without a timeout.
func (s *Syncer) Sync(ctx context.Context, req Request) ([]byte, error) {
	since, err := s.parseToken(req.Since)
	if err != nil {
		return nil, err
	}
	q := &query{Request: req, since: since, initial: req.Since == "", full: req.Since == "" || req.FullState}
	if q.filter, err = s.filter(ctx, req.User, req.Filter); err != nil {
		return nil, err
	}
	if err := s.arrived(ctx, q); err != nil {
		return nil, err
	}
	done, err := s.online(ctx, q)
	defer done()
	if err != nil {
		return nil, err
	}
	if q.full || req.Timeout <= 0 {
		body, _, err := s.answer(ctx, q)
		return body, err
	}
	return s.wait(ctx, q)
}

// query is a request, read.
type query struct {
	Request
	since   int64
	initial bool // nothing was told to this client before
	full    bool // all state of all rooms is wanted
	filter  *filter
}

// wait answers as soon as there is something to tell, and with nothing when the time is up.
func (s *Syncer) wait(ctx context.Context, q *query) ([]byte, error) {
	if body, something, err := s.answer(ctx, q); err != nil || something {
		return body, err
	}
	timer := s.cfg.Clock.NewTimer(min(q.Timeout, maxTimeout))
	defer timer.Stop()
	v, _, err := s.view(ctx, q.User)
	if err != nil {
		return nil, err
	}
	waiter := s.cfg.Notify.Register(notify.Interest{User: q.User, Rooms: v.joined, Version: v.pos})
	defer waiter.Close()
	for {
		// Also before the first wait: something may have happened before the waiter was there.
		body, something, err := s.answer(ctx, q)
		if err != nil || something {
			return body, err
		}
		select {
		case <-waiter.C():
		case <-timer.C():
			return body, nil
		case <-s.cfg.Notify.Ended():
			return body, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
