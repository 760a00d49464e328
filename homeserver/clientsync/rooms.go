package clientsync

import (
	"context"
	"fmt"

	"konsil/homeserver/room"
	"konsil/homeserver/store"
	"konsil/matrix/event"
	"konsil/matrix/id"
)

// roomAnswer is what a response tells of a room the user is in, or was.
type roomAnswer struct {
	room  id.RoomID
	nid   int64
	whole bool  // the client knows nothing of it yet, or wants all state again
	fresh bool  // the user entered it since the client's last sync, or the client has never synced
	since int64 // news begin after here; 0 for whole
	upTo  int64 // and end here

	timeline
	state       []*room.Event
	noState     bool        // none may be shown: the user was never in the room
	member      *room.Event // the user's own member event, of rooms that were left
	summary     *summary
	unread      *store.UnreadCounts
	ephemeral   [][]byte
	accountData []store.AccountData
}

// gatherRooms finds out which rooms have news, and reads them.
func (a *answer) gatherRooms(ctx context.Context) error {
	if err := a.gatherJoined(ctx); err != nil {
		return err
	}
	if err := a.gatherLeft(ctx); err != nil {
		return err
	}
	if err := a.readTimelines(ctx); err != nil {
		return err
	}
	a.noteMembers()
	if err := a.readStates(ctx); err != nil {
		return err
	}
	return a.readSummaries(ctx)
}

// gatherJoined lists the rooms the user is in and that have something new in their timeline or state. Others join the list
// later, when receipts, typing or account data ask for them.
func (a *answer) gatherJoined(ctx context.Context) error {
	q := a.q
	var candidates []id.RoomID
	for i := range a.view.rooms {
		r := &a.view.rooms[i]
		if r.Membership != store.Joined || !q.filter.rooms.has(r.RoomID) {
			continue
		}
		switch {
		case q.full || r.Pos > q.since:
			a.join(r)
		case !a.window.complete:
			candidates = append(candidates, r.RoomID)
		}
		if !q.initial && r.Pos > q.since {
			a.entered = append(a.entered, r.RoomID)
		}
	}
	if a.window.complete {
		for _, ev := range a.window.events {
			a.room(ev.RoomID)
		}
		return nil
	}
	changed, err := a.syncer.cfg.Rooms.RoomsChangedSince(ctx, candidates, q.since)
	if err != nil {
		return fmt.Errorf("find rooms with news: %w", err)
	}
	for _, room := range changed {
		a.room(room)
	}
	return nil
}

// isJoined says whether the user is in a room that the filter lets through.
func (a *answer) isJoined(room id.RoomID) bool {
	r := a.view.byRoom[room]
	return r != nil && r.Membership == store.Joined && a.q.filter.rooms.has(room)
}

// room gives the part of the response about a room the user is in, making it if there is none yet; nil if the user is not in
// it.
func (a *answer) room(room id.RoomID) *roomAnswer {
	if !a.isJoined(room) {
		return nil
	}
	if r := a.byRoom[room]; r != nil {
		return r
	}
	return a.join(a.view.byRoom[room])
}

// join adds a room the user is in.
func (a *answer) join(row *store.UserRoomRow) *roomAnswer {
	r := &roomAnswer{room: row.RoomID, nid: row.Room, since: a.q.since, upTo: a.upTo}
	r.fresh = a.q.initial || row.Pos > a.q.since
	if r.whole = r.fresh || a.q.full; r.fresh {
		r.since = 0
	}
	if a.byRoom == nil {
		a.byRoom = make(map[id.RoomID]*roomAnswer)
	}
	a.byRoom[row.RoomID] = r
	a.joined = append(a.joined, r)
	return r
}

// gatherLeft lists the rooms the user has left, was kicked or banned from, or whose invite they declined: since the last sync,
// or all of them where the client asks for these. A forgotten room appears once more, for the news that it was left.
func (a *answer) gatherLeft(ctx context.Context) error {
	q := a.q
	all := q.full && q.filter.includeLeave
	var rows []*store.UserRoomRow
	var nids []int64
	for i := range a.view.rooms {
		r := &a.view.rooms[i]
		if r.Membership != store.Left && r.Membership != store.Banned || !q.filter.rooms.has(r.RoomID) {
			continue
		}
		if !q.initial && r.Pos > q.since || all && !r.Forgotten {
			rows, nids = append(rows, r), append(nids, r.Event)
		}
	}
	if len(rows) == 0 {
		return nil
	}
	members, err := a.syncer.cfg.Rooms.EventsByNID(ctx, nids)
	if err != nil {
		return fmt.Errorf("read why rooms were left: %w", err)
	}
	byNID := make(map[int64]*room.Event, len(members))
	for _, ev := range members {
		byNID[ev.NID] = ev
	}
	for _, row := range rows {
		r, err := a.leave(ctx, row, byNID[row.Event])
		if err != nil {
			return err
		}
		a.left = append(a.left, r)
	}
	return nil
}

// leave prepares the part about a room the user is not in any more. The story ends with the event by which they stopped being
// a member: not with a later ban, and nothing at all is told to who was never in.
func (a *answer) leave(ctx context.Context, row *store.UserRoomRow, member *room.Event) (*roomAnswer, error) {
	r := &roomAnswer{room: row.RoomID, nid: row.Room, since: a.q.since, upTo: min(row.Pos, a.upTo), member: member}
	r.whole = a.q.full
	r.fresh = a.q.initial || a.q.full && row.Pos <= a.q.since
	if r.fresh {
		r.since = 0
	}
	for ev := member; ; {
		if ev == nil || ev.Replaces == 0 {
			r.noState = true
			return r, nil
		}
		before, err := a.syncer.cfg.Rooms.EventsByNID(ctx, []int64{ev.Replaces})
		if err != nil {
			return nil, fmt.Errorf("read earlier membership: %w", err)
		}
		if len(before) == 0 {
			r.noState = true
			return r, nil
		}
		switch before[0].Membership() {
		case event.Join:
			if ev.Pos > 0 {
				r.upTo = min(r.upTo, ev.Pos)
			}
			if r.since > 0 && r.upTo <= r.since {
				r.noState = true // the client knows that they are gone; this is about a later ban or its end
				return r, nil
			}
			return r, a.enteredAndLeft(ctx, r)
		case event.Leave, event.Ban:
			ev = before[0]
		default:
			r.noState = true
			return r, nil
		}
	}
}

// enteredAndLeft notices that the user was not yet in the room at the client's last sync: then all of it is new.
func (a *answer) enteredAndLeft(ctx context.Context, r *roomAnswer) error {
	if r.since == 0 {
		return nil
	}
	slot := id.Slot{Type: event.TypeMember, StateKey: string(a.q.User)}
	then, err := a.syncer.cfg.Rooms.SlotsAt(ctx, r.room, r.since, []id.Slot{slot})
	if err != nil {
		return fmt.Errorf("read earlier membership: %w", err)
	}
	if len(then) == 0 || then[0].Membership() != event.Join {
		r.whole, r.fresh, r.since = true, true, 0
	}
	return nil
}

// noteMembers says whether anybody's membership may have changed in a room of the user.
func (a *answer) noteMembers() {
	if len(a.entered) > 0 || len(a.left) > 0 || !a.window.complete {
		a.members = true
		return
	}
	for _, r := range a.joined {
		for _, ev := range r.all {
			if ev.Type == event.TypeMember && ev.StateKey != nil {
				a.members = true
				return
			}
		}
	}
}

// gatherUnread reads the counts of all rooms the response tells of.
func (a *answer) gatherUnread(ctx context.Context) error {
	if a.syncer.cfg.Unread == nil || len(a.joined) == 0 {
		return nil
	}
	rooms := make([]id.RoomID, len(a.joined))
	for i, r := range a.joined {
		rooms[i] = r.room
	}
	counts, err := a.syncer.cfg.Unread(ctx, a.q.User, rooms, a.upTo)
	if err != nil {
		return fmt.Errorf("read unread counts: %w", err)
	}
	for i, r := range a.joined {
		r.unread = &counts[i]
	}
	return nil
}
