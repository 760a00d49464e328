// Package appservice tells application services what happens in their rooms and to their users. It follows the domain's order
// from a durable cursor and lets events wait in a queue per service; a sender per service takes them from there, as transactions
// that stay the same however often they are repeated. A service that is not there delays nobody but itself.
//
// Who a service is and whom it may act for is account's. A Mover is safe for concurrent use; Run owns its goroutines.
// AS v1.16 #pushing-events
package appservice

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"

	"konsil/client/asclient"
	"konsil/homeserver/account"
	"konsil/homeserver/notify"
	"konsil/homeserver/room"
	"konsil/homeserver/store"
	"konsil/kit/clock"
	"konsil/matrix/event"
	"konsil/matrix/id"
)

// Config is what a Mover stands on.
type Config struct {
	Server   id.ServerName
	Services []*account.AppService
	Client   *asclient.Client // nil makes one, where there are services
	Store    *store.DB
	Rooms    *room.Engine
	Notify   *notify.Notifier
	Clock    clock.Clock
	Log      *slog.Logger // nil means slog.Default()
}

// Mover serves the application services of one domain.
type Mover struct {
	cfg     Config
	senders []*sender

	// Of the goroutine that follows.
	stored int64 // the cursor that the store knows
	rooms  map[presence]map[id.UserID]bool
}

// presence names a service and a room: which of the service's users are in the room, as far as the order was looked through.
type presence struct {
	service *account.AppService
	room    id.RoomID
}

// New assembles a Mover. Services that want no transactions are left alone.
func New(cfg Config) *Mover {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Client == nil && len(cfg.Services) > 0 {
		cfg.Client = asclient.New()
	}
	m := &Mover{cfg: cfg, rooms: map[presence]map[id.UserID]bool{}}
	for _, s := range cfg.Services {
		if s.URL != "" {
			m.senders = append(m.senders, newSender(cfg, s))
		}
	}
	return m
}

// Run follows and sends until ctx ends. Where no service wants anything it ends at once.
func (m *Mover) Run(ctx context.Context) error {
	if len(m.senders) == 0 {
		return nil
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var all sync.WaitGroup
	for _, s := range m.senders {
		all.Go(func() {
			if err := s.run(ctx); err != nil {
				stop(err) // the store is in trouble: all of it begins anew
			}
		})
	}
	err := m.follow(ctx)
	if err != nil {
		stop(err)
	}
	<-ctx.Done()
	all.Wait()
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}

// NextDue says when a service is to be tried again, in ms since 1970; 0 for never.
func (m *Mover) NextDue() int64 {
	due := int64(0)
	for _, s := range m.senders {
		if at := s.due.Load(); at > 0 && (due == 0 || at < due) {
			due = at
		}
	}
	return due
}

// Contact says that a service has just been heard of: what waits for it is tried at once.
func (m *Mover) Contact(service *account.AppService) {
	for _, s := range m.senders {
		if s.service == service && s.failing.Load() {
			s.retryNow()
		}
	}
}

const (
	batch = 200
	// A cursor that moves over events of no interest is stored now and then only; a crash looks at these again.
	unstored = 2000
)

// follow puts events into the queues until ctx ends.
func (m *Mover) follow(ctx context.Context) error {
	wake := m.cfg.Notify.Follow("appservice", notify.Events)
	cursor, err := m.begin(ctx)
	if err != nil {
		return err
	}
	for {
		for upTo := m.cfg.Store.Position(); cursor < upTo; {
			next := min(upTo, cursor+batch)
			if err := m.step(ctx, cursor, next); err != nil {
				clear(m.rooms) // they may be ahead of the cursor now
				if ctx.Err() != nil {
					return nil
				}
				return err
			}
			cursor = next
		}
		select {
		case <-wake:
		case <-ctx.Done():
			if cursor == m.stored {
				return nil
			}
			return m.queue(context.WithoutCancel(ctx), nil, cursor)
		}
	}
}

// begin reads the cursor. A domain that has services for the first time begins with what happens from now on.
func (m *Mover) begin(ctx context.Context) (int64, error) {
	err := m.cfg.Store.ReadOne(ctx, func(tx *store.Tx) (err error) {
		m.stored, err = tx.AppServiceCursor(ctx)
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		now := m.cfg.Store.Position()
		return now, m.queue(ctx, nil, now)
	}
	if err != nil {
		return 0, fmt.Errorf("read cursor of application services: %w", err)
	}
	return m.stored, nil
}

// queued is an event for a service.
type queued struct {
	to    *sender
	pos   int64
	event int64
}

// step looks through one batch.
func (m *Mover) step(ctx context.Context, after, upTo int64) error {
	var nids []int64
	var guests []store.GuestEvent
	err := m.cfg.Store.Read(ctx, func(tx *store.Tx) (err error) {
		if nids, err = tx.EventsBetween(ctx, after, upTo); err != nil {
			return err
		}
		guests, err = tx.GuestEventsBetween(ctx, after, upTo)
		return err
	})
	if err != nil {
		return fmt.Errorf("list events for application services: %w", err)
	}
	evs, err := m.cfg.Rooms.EventsByNID(ctx, nids)
	if err != nil {
		return fmt.Errorf("read events for application services: %w", err)
	}
	var out []queued
	for _, s := range m.senders {
		for _, ev := range evs {
			wants, err := m.interested(ctx, s.service, ev)
			if err != nil {
				return err
			}
			if wants {
				out = append(out, queued{s, ev.Pos, ev.NID})
			}
		}
		for _, g := range guests {
			if s.service.Covers(g.User, m.cfg.Server) {
				out = append(out, queued{s, g.Pos, g.Event})
			}
		}
	}
	if len(out) == 0 && upTo-m.stored < unstored {
		return nil
	}
	return m.queue(ctx, out, upTo)
}

// queue stores events together with the cursor, and wakes those who send them.
func (m *Mover) queue(ctx context.Context, out []queued, cursor int64) error {
	err := m.cfg.Store.Write(ctx, func(tx *store.Tx) error {
		for _, q := range out {
			if err := tx.QueueForAppService(ctx, q.to.service.ID, q.pos, q.event); err != nil {
				return err
			}
		}
		return tx.SetAppServiceCursor(ctx, cursor)
	})
	if err != nil {
		return fmt.Errorf("queue events for application services: %w", err)
	}
	m.stored = cursor
	for _, q := range out {
		q.to.hint()
	}
	return nil
}

// interested says whether an event is for a service: by its room, by who it is about, or by who is in the room. Events are
// asked about in their order. AS v1.16 #registration
func (m *Mover) interested(ctx context.Context, s *account.AppService, ev *room.Event) (bool, error) {
	here, err := m.present(ctx, presence{s, ev.RoomID}, ev)
	if err != nil {
		return false, err
	}
	about := s.CoversRoom(ev.RoomID) || s.Covers(ev.Sender, m.cfg.Server) || len(here) > 0
	if ev.Type == event.TypeMember && ev.StateKey != nil {
		if user := id.UserID(*ev.StateKey); s.Covers(user, m.cfg.Server) {
			about = true
			if ev.Membership() == event.Join {
				here[user] = true
			} else {
				delete(here, user)
			}
		}
	}
	if about || !s.HasAliases() {
		return about, nil
	}
	var aliases []id.RoomAlias
	err = m.cfg.Store.ReadOne(ctx, func(tx *store.Tx) (err error) {
		aliases, err = tx.AliasesOf(ctx, ev.RoomID)
		return err
	})
	return slices.ContainsFunc(aliases, s.CoversAlias), err
}

// maxRooms bounds what is remembered of rooms.
const maxRooms = 10_000

// present gives the users of a service who were in a room just before an event. It is read once; then it goes along with the
// events, so that who comes or goes while we lag behind changes nothing for what was said before.
func (m *Mover) present(ctx context.Context, key presence, ev *room.Event) (map[id.UserID]bool, error) {
	if here, known := m.rooms[key]; known {
		return here, nil
	}
	var users []id.UserID // who ever was in the room
	err := m.cfg.Store.ReadOne(ctx, func(tx *store.Tx) (err error) {
		users, err = tx.UsersOfServer(ctx, ev.RoomNID, m.cfg.Server)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list members of a room: %w", err)
	}
	var slots []id.Slot
	for _, user := range users {
		if key.service.Covers(user, m.cfg.Server) {
			slots = append(slots, id.Slot{Type: event.TypeMember, StateKey: string(user)})
		}
	}
	members, err := m.cfg.Rooms.SlotsAt(ctx, ev.RoomID, ev.Pos-1, slots)
	if err != nil {
		return nil, fmt.Errorf("read members of a room: %w", err)
	}
	here := map[id.UserID]bool{}
	for _, member := range members {
		if member.Membership() == event.Join {
			here[id.UserID(*member.StateKey)] = true
		}
	}
	if len(m.rooms) >= maxRooms {
		clear(m.rooms)
	}
	m.rooms[key] = here
	return here, nil
}
