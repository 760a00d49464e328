package clientsync

import (
	"context"
	"fmt"
	"sync"

	"konsil/homeserver/ephemeral"
	"konsil/homeserver/store"
	"konsil/matrix/event"
	"konsil/matrix/id"
)

// gatherEphemeral reads receipts and typing of the rooms the user is in.
func (a *answer) gatherEphemeral(ctx context.Context) error {
	f := &a.q.filter.ephemeral
	if f.picksType("m.typing") {
		a.gatherTyping(f)
	}
	if !f.picksType("m.receipt") {
		return nil
	}
	var fresh, changed []id.RoomID
	whole := map[id.RoomID]bool{}
	for _, r := range a.joined {
		if r.whole {
			fresh = append(fresh, r.room)
			whole[r.room] = true
		}
	}
	if !a.q.initial {
		var err error
		if changed, err = a.roomsWithReceipts(ctx); err != nil {
			return err
		}
	}
	var mine []id.RoomID
	for _, room := range changed {
		if !whole[room] && f.rooms.has(room) && a.isJoined(room) {
			mine = append(mine, room)
		}
	}
	if len(fresh) == 0 && len(mine) == 0 {
		return nil
	}
	var receipts []store.Receipt
	err := a.syncer.cfg.Store.Read(ctx, func(tx *store.Tx) error {
		var all []store.Receipt
		for _, part := range []struct {
			rooms []id.RoomID
			after int64
		}{{fresh, 0}, {mine, a.q.since}} {
			if len(part.rooms) == 0 {
				continue
			}
			some, err := tx.Receipts(ctx, a.q.User, part.rooms, part.after, a.upTo)
			if err != nil {
				return err
			}
			all = append(all, some...)
		}
		receipts = all
		return nil
	})
	if err != nil {
		return fmt.Errorf("read receipts: %w", err)
	}
	for len(receipts) > 0 {
		room, n := receipts[0].Room, 1
		for n < len(receipts) && receipts[n].Room == room {
			n++
		}
		if r := a.room(room); r != nil && f.rooms.has(room) {
			r.ephemeral = append(r.ephemeral, ephemeral.ReceiptEvent(receipts[:n]))
		}
		receipts = receipts[n:]
	}
	return nil
}

func (a *answer) roomsWithReceipts(ctx context.Context) (rooms []id.RoomID, err error) {
	if a.window.complete {
		return a.window.changedRooms(), nil
	}
	err = a.syncer.cfg.Store.ReadOne(ctx, func(tx *store.Tx) error {
		rooms, err = tx.RoomsWithReceipts(ctx, a.q.since, a.upTo)
		return err
	})
	return rooms, err
}

func (a *answer) gatherTyping(f *eventFilter) {
	keeper := a.syncer.cfg.Ephemeral
	for room := range keeper.TypingRooms(a.q.since) {
		if !f.rooms.has(room) || !a.isJoined(room) {
			continue
		}
		if r := a.room(room); r != nil {
			if ev := keeper.Typing(room, a.q.since); ev != nil {
				r.ephemeral = append(r.ephemeral, ev)
			}
		}
	}
	for _, r := range a.joined {
		if !r.whole || a.q.initial || !f.rooms.has(r.room) {
			continue
		}
		// Who enters a room sees who was typing there before, too.
		if ev := keeper.Typing(r.room, 0); ev != nil && len(r.ephemeral) == 0 {
			r.ephemeral = append(r.ephemeral, ev)
		}
	}
}

// gatherPresence reads the presence of those who share a room with the user: what changed, and that of people they share one
// with since then.
func (a *answer) gatherPresence(ctx context.Context) error {
	q := a.q
	if !a.syncer.cfg.Ephemeral.Presence || !a.members && !q.initial && !a.window.anyPresence() {
		return nil
	}
	var all []store.Presence
	err := a.syncer.cfg.Store.Read(ctx, func(tx *store.Tx) error {
		var err error
		if all, err = tx.Presences(ctx, q.User, q.since, a.upTo); err != nil || q.initial {
			return err
		}
		if len(a.entered) > 0 {
			there, err := tx.PresencesIn(ctx, a.entered)
			if err != nil {
				return err
			}
			all = append(all, there...)
		}
		if met := a.met(); len(met) > 0 {
			there, err := tx.PresencesOf(ctx, met)
			if err != nil {
				return err
			}
			all = append(all, there...)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("read presence: %w", err)
	}
	seen := map[id.UserID]bool{}
	for _, p := range all {
		// On a first sync, who is offline is no news: clients take everybody for offline.
		if seen[p.User] || q.initial && p.State == ephemeral.Offline || !q.filter.presence.picksSender(p.User) {
			continue
		}
		seen[p.User] = true
		a.presence = append(a.presence, p)
	}
	if !q.filter.presence.picksType("m.presence") {
		a.presence = nil
	}
	return nil
}

// met lists who entered the user's rooms.
func (a *answer) met() []id.UserID {
	var met []id.UserID
	for _, r := range a.joined {
		for _, ev := range r.events {
			if ev.Type == event.TypeMember && ev.StateKey != nil && ev.Membership() == event.Join {
				met = append(met, id.UserID(*ev.StateKey))
			}
		}
	}
	return met
}

// online notes that the user's client is there, as set_presence says. CS v1.16 #get_matrixclientv3sync
func (s *Syncer) online(ctx context.Context, q *query) (done func(), err error) {
	return s.cfg.Ephemeral.Syncing(ctx, q.User, q.Presence)
}

// arrived drops the to-device messages that came with the response whose token the client now shows: it has got them.
// CS v1.16 #extensions-to-sync
func (s *Syncer) arrived(ctx context.Context, q *query) error {
	owner := store.OwnerOf(q.User, q.Device)
	if q.initial || q.Device == "" {
		return nil
	}
	if upTo := s.acked.get(owner); upTo >= q.since || upTo > 0 && !s.tail.look(upTo, q.since).changed(store.ToDeviceAdded, string(owner)) {
		return nil // there is none
	}
	if err := s.cfg.E2EE.Acknowledge(ctx, q.User, q.Device, q.since); err != nil {
		return err
	}
	s.acked.put(owner, q.since)
	return nil
}

// acknowledged remembers up to where the to-device messages of devices are dropped, so that not each sync has to look.
type acknowledged struct {
	mu   sync.Mutex
	upTo map[store.Owner]int64 // guarded by mu
}

const maxAcknowledged = 20_000

func newAcknowledged() *acknowledged { return &acknowledged{upTo: map[store.Owner]int64{}} }

func (k *acknowledged) get(owner store.Owner) int64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.upTo[owner]
}

func (k *acknowledged) put(owner store.Owner, pos int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.upTo) >= maxAcknowledged {
		clear(k.upTo)
	}
	k.upTo[owner] = max(k.upTo[owner], pos)
}
