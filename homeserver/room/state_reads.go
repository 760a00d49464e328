package room

import (
	"context"

	"konsil/matrix/event"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
)

// stateFor finds the state a user may read: the current one while they are in the room (or anybody may peek), the one they
// left behind otherwise. CS v1.16 #get_matrixclientv3roomsroomidstate
func (e *Engine) stateFor(ctx context.Context, user id.UserID, room id.RoomID) (h *head, snap int64, err error) {
	h, v, err := e.reader(ctx, user, room)
	if err != nil {
		return nil, 0, err
	}
	if membershipOf(v.now) == event.Join || h.history().String() == "world_readable" {
		return h, h.snap.nid, nil
	}
	snap, err = v.leftBehind()
	return h, snap, err
}

// leftBehind is the state in which a former member left the room last. Who was only ever invited sees none.
func (v *viewer) leftBehind() (int64, error) {
	m := v.now
	for range maxMemberships {
		if m == nil || m.Replaces == 0 {
			break
		}
		before, err := v.e.eventByNID(v.ctx, m.Replaces)
		if err != nil {
			return 0, err
		}
		if before.Membership() == event.Join {
			return m.StateAfter, nil
		}
		m = before
	}
	return 0, errNotMember
}

// StateForUser reads the state a user may see.
func (e *Engine) StateForUser(ctx context.Context, user id.UserID, room id.RoomID) ([]*Event, error) {
	h, snap, err := e.stateFor(ctx, user, room)
	if err != nil {
		return nil, err
	}
	if snap == h.snap.nid {
		return e.eventsOf(ctx, h.state)
	}
	st, err := e.stateAt(ctx, snap)
	if err != nil {
		return nil, err
	}
	return e.eventsOf(ctx, st)
}

// StateEventForUser is StateForUser for one slot; M_NOT_FOUND for an empty one.
func (e *Engine) StateEventForUser(ctx context.Context, user id.UserID, room id.RoomID, typ, key string) (*Event, error) {
	h, snap, err := e.stateFor(ctx, user, room)
	if err != nil {
		return nil, err
	}
	var ev *Event
	if slot := (id.Slot{Type: typ, StateKey: key}); snap == h.snap.nid {
		ev, err = e.currentSlot(ctx, h, slot)
	} else {
		ev, err = e.slotAt(ctx, snap, slot)
	}
	if err == nil && ev == nil {
		err = mxerr.NotFound("The room has no such state")
	}
	return ev, err
}

// MembersForUser is /members: the member events of the state a user may see, optionally at a token.
// CS v1.16 #get_matrixclientv3roomsroomidmembers
func (e *Engine) MembersForUser(ctx context.Context, user id.UserID, room id.RoomID, at *Token, want, not string) ([]*Event, error) {
	h, snap, err := e.stateFor(ctx, user, room)
	if err != nil {
		return nil, err
	}
	if at != nil {
		if snap, err = e.snapAt(ctx, h, *at, snap); err != nil {
			return nil, err
		}
	}
	var evs []*Event
	if snap == h.snap.nid {
		evs, err = e.currentMembers(ctx, h, want)
	} else {
		st, err := e.stateAt(ctx, snap)
		if err != nil {
			return nil, err
		}
		if evs, err = e.eventsOf(ctx, st); err != nil {
			return nil, err
		}
	}
	return filterMembers(evs, want, not), err
}

// snapAt is the state at a token, but not a later one than the user may see. The token of a sync's timeline stands for the
// whole sync: who loads members lazily asks for those of then. CS v1.16 #get_matrixclientv3roomsroomidmembers
func (e *Engine) snapAt(ctx context.Context, h *head, at Token, latest int64) (int64, error) {
	if at.AsOf > 0 {
		at = SyncToken(at.AsOf)
	}
	place, err := e.place(ctx, h, &at, lastPlace)
	if err != nil {
		return 0, err
	}
	evs, err := e.scan(ctx, h, PageRequest{Backward: true}, place, firstPlace, 1)
	if err != nil || len(evs) == 0 {
		return latest, err
	}
	if latest != h.snap.nid {
		left, err := e.snapshot(ctx, latest)
		if err != nil {
			return 0, err
		}
		// Snapshots are numbered as they are made: a higher number is of a later time.
		if evs[0].RoomState > left.NID {
			return latest, nil
		}
	}
	return evs[0].RoomState, nil
}
