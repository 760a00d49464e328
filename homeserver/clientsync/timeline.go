package clientsync

import (
	"context"
	"fmt"
	"slices"

	"konsil/homeserver/room"
	"konsil/homeserver/store"
	"konsil/matrix/event"
	"konsil/matrix/id"
)

// timeline is the timeline of one room in a response.
type timeline struct {
	events  []*room.Event // oldest first
	limited bool
	prev    string        // prev_batch
	all     []*room.Event // what is new in the room as far as it was read, before filter and limit
}

// maxScanned bounds how far back a filter that picks few events is followed in one response (B6).
const maxScanned = 2000

// readTimelines reads the timelines of all rooms of the response.
func (a *answer) readTimelines(ctx context.Context) error {
	var begun []*roomAnswer // rooms read from their newest event back
	for _, r := range slices.Concat(a.joined, a.left) {
		switch {
		case r.since == 0:
			begun = append(begun, r)
		case a.window.complete:
			r.all = inRoom(a.window.events, r.room, r.upTo)
			a.pick(r, false)
		default:
			if err := a.readSince(ctx, r); err != nil {
				return err
			}
		}
	}
	if err := a.readNewest(ctx, begun); err != nil {
		return err
	}
	for _, r := range slices.Concat(a.joined, a.left) {
		if err := a.finishTimeline(ctx, r); err != nil {
			return fmt.Errorf("timeline: %w", err)
		}
	}
	return nil
}

// inRoom picks the events of one room, up to a position.
func inRoom(events []*room.Event, in id.RoomID, upTo int64) []*room.Event {
	var mine []*room.Event
	for _, ev := range events {
		if ev.RoomID == in && ev.Pos <= upTo {
			mine = append(mine, ev)
		}
	}
	return mine
}

// readSince reads what came after the client's token, from the store.
func (a *answer) readSince(ctx context.Context, r *roomAnswer) error {
	limit := a.q.filter.timeline.limit + 1
	for {
		events, more, err := a.syncer.cfg.Rooms.Timeline(ctx, r.room, r.since, r.upTo, limit)
		if err != nil {
			return fmt.Errorf("read timeline: %w", err)
		}
		r.all = events
		if enough := a.pick(r, more); enough || !more || limit >= maxScanned {
			return nil
		}
		limit = min(limit*4, maxScanned)
	}
}

// readNewest reads the newest events of rooms the client knows nothing of, in the rooms' own order, which /messages goes on
// with. The numbers of all rooms' events are read in one go, then the events that are not in memory.
func (a *answer) readNewest(ctx context.Context, rooms []*roomAnswer) error {
	if len(rooms) == 0 {
		return nil
	}
	f := &a.q.filter.timeline
	limit := f.limit + 1
	for len(rooms) > 0 {
		lists := make([][]int64, len(rooms))
		err := a.syncer.cfg.Store.Read(ctx, func(tx *store.Tx) error {
			var err error
			for i, r := range rooms {
				if lists[i], err = tx.NewestInRoom(ctx, r.nid, r.upTo, limit); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("read newest events: %w", err)
		}
		events, err := a.events(ctx, lists...)
		if err != nil {
			return err
		}
		again := rooms[:0:0]
		for i, r := range rooms {
			r.all = r.all[:0:0]
			for _, nid := range slices.Backward(lists[i]) {
				if ev := events[nid]; ev != nil {
					r.all = append(r.all, ev)
				}
			}
			more := len(lists[i]) == limit
			if enough := a.pick(r, more); !enough && more && limit < maxScanned {
				again = append(again, r)
			}
		}
		rooms, limit = again, min(limit*4, maxScanned)
	}
	return nil
}

// events reads events by number, as a map.
func (a *answer) events(ctx context.Context, lists ...[]int64) (map[int64]*room.Event, error) {
	nids := slices.Concat(lists...)
	found, err := a.syncer.cfg.Rooms.EventsByNID(ctx, nids)
	if err != nil {
		return nil, fmt.Errorf("read events: %w", err)
	}
	byNID := make(map[int64]*room.Event, len(found))
	for _, ev := range found {
		byNID[ev.NID] = ev
	}
	return byNID, nil
}

// pick chooses the events to show of those that were read: the newest that pass the filter. more says that older ones were
// not read. It answers whether reading more could not change the result.
func (a *answer) pick(r *roomAnswer, more bool) (enough bool) {
	f := &a.q.filter.timeline
	r.events, r.limited = nil, more
	for _, ev := range slices.Backward(r.all) {
		if !f.picks(ev) || !ev.IsState() && a.view.ignored[ev.Sender] {
			continue
		}
		if len(r.events) == f.limit {
			r.limited, enough = true, true
			break
		}
		r.events = append(r.events, ev)
	}
	slices.Reverse(r.events)
	return enough
}

// finishTimeline cuts the timeline where history is missing, takes out what the user may not see, and says where to read on
// backwards.
func (a *answer) finishTimeline(ctx context.Context, r *roomAnswer) error {
	if err := a.cutAtGap(ctx, r); err != nil {
		return err
	}
	if err := a.hide(ctx, r); err != nil {
		return err
	}
	if r.fresh && !a.q.initial {
		r.limited = true // the client has a hole before it, whatever we have read
	}
	switch {
	case len(r.events) > 0:
		before := room.EventToken(r.events[0], false)
		if r.since > 0 && r.limited {
			var err error
			if before, err = a.syncer.cfg.Rooms.TokenBefore(ctx, r.events[0]); err != nil {
				return err
			}
		}
		before.AsOf = r.upTo
		r.prev = before.String()
	case r.since > 0 && !r.limited:
		r.prev = token(r.since)
	default:
		r.prev = token(r.upTo)
	}
	return nil
}

// cutAtGap begins the timeline anew where an event refers to others that we do not have: the client must not take what comes
// before for their direct predecessors. CS v1.16 #syncing
func (a *answer) cutAtGap(ctx context.Context, r *roomAnswer) error {
	first, err := a.lastGap(ctx, r)
	if err != nil || first < 0 {
		return err
	}
	after := setOf(r.all[first:])
	for i, ev := range r.events {
		if after[ev] {
			r.events, r.limited = r.events[i:], true
			return nil
		}
	}
	r.events, r.limited = nil, true
	return nil
}

// lastGap finds the last of the events read that comes after a gap, -1 for none.
func (a *answer) lastGap(ctx context.Context, r *roomAnswer) (int, error) {
	may := func(ev *room.Event) bool { return mayGap(ev, a.syncer.cfg.Server) }
	if len(r.events) == 0 || !slices.ContainsFunc(r.all, may) {
		return -1, nil
	}
	has := a.window.hasGap
	if !a.window.complete || r.since == 0 {
		missing, err := missingIn(ctx, a.syncer.cfg.Store, r.nid)
		if err != nil {
			return -1, err
		}
		has = func(ev *room.Event) bool { return refersTo(ev, missing) }
	}
	for i, ev := range slices.Backward(r.all) {
		if has(ev) {
			return i, nil
		}
	}
	return -1, nil
}

// mayGap says whether an event may refer to what we do not have: those of other servers may, and joins that went through one.
// Our own build on what is here.
func mayGap(ev *room.Event, server id.ServerName) bool {
	return ev.Sender.Server() != server || ev.Type == event.TypeMember
}

func refersTo(ev *room.Event, missing map[id.EventID]bool) bool {
	return len(missing) > 0 && slices.ContainsFunc(ev.PrevEvents, func(prev id.EventID) bool { return missing[prev] })
}

// missingIn reads what the events of a room refer to and is not here.
func missingIn(ctx context.Context, db *store.DB, room int64) (map[id.EventID]bool, error) {
	var list []store.MissingEvent
	err := db.ReadOne(ctx, func(tx *store.Tx) (err error) {
		list, err = tx.Missing(ctx, room)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read gaps: %w", err)
	}
	missing := make(map[id.EventID]bool, len(list))
	for _, m := range list {
		missing[m.ID] = true
	}
	return missing, nil
}

// hide takes out the events the user may not see (B9). What happened while they were in the room, they may see all of.
func (a *answer) hide(ctx context.Context, r *roomAnswer) error {
	if len(r.events) == 0 {
		return a.showOwn(r)
	}
	row := a.view.byRoom[r.room]
	before := func(ev *room.Event) bool { return ev.Pos < row.Pos }
	if row.Membership == store.Joined && (r.since >= row.Pos || !slices.ContainsFunc(r.events, before)) {
		return nil
	}
	visible, err := a.syncer.cfg.Rooms.VisibleToUser(ctx, a.q.User, r.events)
	if err != nil {
		return fmt.Errorf("history visibility: %w", err)
	}
	if len(visible) < len(r.events) && len(visible) > 0 && visible[0] != r.events[0] {
		r.limited = true
	}
	r.events = visible
	return a.showOwn(r)
}

// showOwn makes sure that who left learns of it: by the event, whatever the history visibility says, and also when it came
// from another server and has no place in a timeline of ours.
func (a *answer) showOwn(r *roomAnswer) error {
	ev := r.member
	if ev == nil || r.since > 0 && ev.Pos > 0 && ev.Pos <= r.since || !a.q.filter.timeline.picks(ev) || a.q.filter.timeline.limit == 0 {
		return nil
	}
	if slices.ContainsFunc(r.events, func(other *room.Event) bool { return other.NID == ev.NID }) {
		return nil
	}
	if r.events = append(slices.Clip(r.events), ev); len(r.events) > a.q.filter.timeline.limit {
		r.events, r.limited = r.events[1:], true
	}
	return nil
}

// senders lists who wrote the events.
func senders(events []*room.Event) []id.UserID {
	var users []id.UserID
	for _, ev := range events {
		if !slices.Contains(users, ev.Sender) {
			users = append(users, ev.Sender)
		}
		// Who changed somebody else's membership names them too, and clients show both.
		if ev.Type == event.TypeMember && ev.StateKey != nil && !slices.Contains(users, id.UserID(*ev.StateKey)) {
			users = append(users, id.UserID(*ev.StateKey))
		}
	}
	return users
}
