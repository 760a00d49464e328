package room

import (
	"context"

	"konsil/homeserver/room/auth"
	"konsil/homeserver/store"
	"konsil/matrix/event"
	"konsil/matrix/id"
)

// viewer decides which events of a room somebody may see. It keeps what it has read, for the events of a page meet few states.
// CS v1.16 #room-history-visibility
type viewer struct {
	e    *Engine
	ctx  context.Context
	user id.UserID
	head *head

	now     *Event // the user's current member event, nil for none
	history map[int64]auth.HistoryVisibility
	member  map[int64]string
}

func (e *Engine) viewer(ctx context.Context, user id.UserID, h *head) (*viewer, error) {
	v := &viewer{e: e, ctx: ctx, user: user, head: h, history: map[int64]auth.HistoryVisibility{}, member: map[int64]string{}}
	if user == "" {
		return v, nil
	}
	var err error
	v.now, err = e.currentSlot(ctx, h, v.slot())
	return v, err
}

func (v *viewer) slot() id.Slot { return id.Slot{Type: event.TypeMember, StateKey: string(v.user)} }

// historyAt is the visibility in a state.
func (v *viewer) historyAt(snap int64) (auth.HistoryVisibility, error) {
	if snap == v.head.snap.nid {
		return v.head.history(), nil
	}
	if h, ok := v.history[snap]; ok {
		return h, nil
	}
	ev, err := v.e.slotAt(v.ctx, snap, id.Slot{Type: event.TypeHistoryVisibility})
	if err != nil {
		return 0, err
	}
	h := auth.VisibleShared
	if ev != nil {
		h = auth.ParseHistoryVisibility(ev.Content)
	}
	v.history[snap] = h
	return h, nil
}

// memberAt is the user's membership in a state.
func (v *viewer) memberAt(snap int64) (string, error) {
	if snap == v.head.snap.nid {
		return membershipOf(v.now), nil
	}
	if m, ok := v.member[snap]; ok {
		return m, nil
	}
	ev, err := v.e.slotAt(v.ctx, snap, v.slot())
	if err != nil {
		return "", err
	}
	v.member[snap] = membershipOf(ev)
	return v.member[snap], nil
}

// membershipAt is the user's membership once the event was in. MSC4115
func (v *viewer) membershipAt(ev *Event) (string, error) {
	if v.joinedSince(ev) {
		return event.Join, nil
	}
	m, err := v.memberAt(ev.StateAfter)
	if m == "" {
		m = event.Leave
	}
	return m, err
}

// joinedSince says without reading that the user was joined at an event: they are now, by a member event before it.
func (v *viewer) joinedSince(ev *Event) bool {
	return v.now != nil && v.now.Membership() == event.Join && v.now.Pos > 0 && ev.Pos >= v.now.Pos
}

// sees decides over one event. B9
func (v *viewer) sees(ev *Event) (bool, error) {
	if ev.Pos == 0 || ev.RoomNID != v.head.nid {
		return false, nil // outliers, rejected and soft-failed events are shown to nobody
	}
	if v.joinedSince(ev) {
		return true, nil
	}
	// An event that changes visibility, or the user's membership, is seen by whoever may see what was before or comes after it.
	snaps := []int64{ev.StateBefore}
	if ev.Type == event.TypeHistoryVisibility || ev.IsState() && ev.Slot() == v.slot() {
		snaps = append(snaps, ev.StateAfter)
	}
	for _, hs := range snaps {
		for _, ms := range snaps {
			if ok, err := v.allows(ev, hs, ms); ok || err != nil {
				return ok, err
			}
		}
	}
	return false, nil
}

// allows applies the rules with the visibility of one state and the membership of another.
func (v *viewer) allows(ev *Event, historySnap, memberSnap int64) (bool, error) {
	history, err := v.historyAt(historySnap)
	if err != nil {
		return false, err
	}
	if history == auth.VisibleWorldReadable { // 1
		return true, nil
	}
	if v.user == "" {
		return false, nil
	}
	member, err := v.memberAt(memberSnap)
	if err != nil {
		return false, err
	}
	switch {
	case member == event.Join: // 2
		return true, nil
	case history == auth.VisibleShared: // 3
		return v.joinedAfter(ev)
	case history == auth.VisibleInvited: // 4
		return member == event.Invite, nil
	}
	return false, nil // 5
}

// maxMemberships bounds how far back a user's memberships are followed.
const maxMemberships = 500

// joinedAfter reports whether the user joined the room at any point after the event.
func (v *viewer) joinedAfter(ev *Event) (bool, error) {
	m := v.now
	for range maxMemberships {
		if m == nil || !later(m, ev) {
			return false, nil
		}
		if m.Membership() == event.Join {
			return true, nil
		}
		if m.Replaces == 0 {
			return false, nil
		}
		next, err := v.e.eventByNID(v.ctx, m.Replaces)
		if err != nil {
			return false, err
		}
		m = next
	}
	return false, nil
}

// later reports whether a came after b, as far as we saw it: live events by position, history by the room's order.
func later(a, b *Event) bool {
	if a.Pos > 0 && b.Pos > 0 {
		return a.Pos > b.Pos
	}
	if a.Pos > 0 != (b.Pos > 0) && a.Pos != 0 {
		return a.Pos > 0
	}
	return a.Topo > b.Topo
}

// VisibleToUser filters events to those the user may see: by the history visibility at the event, and the user's membership
// then and later. Order is kept; the events may be of several rooms. An empty user sees what is world-readable. B9
func (e *Engine) VisibleToUser(ctx context.Context, user id.UserID, evs []*Event) ([]*Event, error) {
	out := make([]*Event, 0, len(evs))
	viewers := map[id.RoomID]*viewer{}
	for _, ev := range evs {
		v := viewers[ev.RoomID]
		if v == nil {
			h, err := e.head(ctx, ev.RoomID)
			if err != nil {
				return nil, err
			}
			if h == nil || h.snap.nid == 0 {
				continue
			}
			if v, err = e.viewer(ctx, user, h); err != nil {
				return nil, err
			}
			viewers[ev.RoomID] = v
		}
		ok, err := v.sees(ev)
		if err != nil {
			return nil, err
		}
		if ok {
			out = append(out, ev)
		}
	}
	return out, nil
}

// VisibleToServer filters events of rooms the server is in to those that users of it may see; the others are replaced by their
// redacted copy where redacted is true (other servers need the graph), else left out. Events that were not accepted into a
// room go to nobody, outliers apart, which are part of states and auth chains.
func (e *Engine) VisibleToServer(ctx context.Context, server id.ServerName, evs []*Event, redacted bool) ([]*Event, error) {
	out := make([]*Event, 0, len(evs))
	views := map[id.RoomID]*serverView{}
	for _, ev := range evs {
		if !ev.usable() {
			continue
		}
		v := views[ev.RoomID]
		if v == nil {
			h, err := e.head(ctx, ev.RoomID)
			if err != nil {
				return nil, err
			}
			if h == nil || h.snap.nid == 0 {
				continue
			}
			v = &serverView{viewer: viewer{e: e, ctx: ctx, head: h, history: map[int64]auth.HistoryVisibility{}}, server: server,
				present: map[int64]bool{}}
			views[ev.RoomID] = v
		}
		ok, err := v.sees(ev)
		switch {
		case err != nil:
			return nil, err
		case ok:
			out = append(out, ev)
		case redacted:
			out = append(out, ev.withPDU(ev.PDU.Redact()))
		}
	}
	return out, nil
}

// serverView is a viewer for all users of a server together.
type serverView struct {
	viewer
	server  id.ServerName
	users   []id.UserID // of the server, with any membership
	loaded  bool
	present map[int64]bool // by snapshot
}

func (v *serverView) sees(ev *Event) (bool, error) {
	if ev.StateBefore == 0 {
		return true, nil // an outlier: it is named by others' auth events and states, which the server may have
	}
	if ev.Sender.Server() == v.server {
		return true, nil
	}
	for _, snap := range []int64{ev.StateBefore, ev.StateAfter} {
		history, err := v.historyAt(snap)
		if err != nil {
			return false, err
		}
		if history == auth.VisibleShared || history == auth.VisibleWorldReadable {
			return true, nil
		}
		if ok, err := v.presentAt(snap, history); ok || err != nil {
			return ok, err
		}
		if ev.StateAfter == ev.StateBefore {
			break
		}
	}
	return false, nil
}

// presentAt reports whether a user of the server was joined (or invited, where that suffices) in a state.
func (v *serverView) presentAt(snap int64, history auth.HistoryVisibility) (bool, error) {
	if ok, known := v.present[snap]; known {
		return ok, nil
	}
	if !v.loaded {
		err := v.e.store.ReadOne(v.ctx, func(tx *store.Tx) (err error) {
			v.users, err = tx.UsersOfServer(v.ctx, v.head.nid, v.server)
			return err
		})
		if err != nil {
			return false, err
		}
		v.loaded = true
	}
	found := false
	for _, user := range v.users {
		ev, err := v.e.slotAt(v.ctx, snap, id.Slot{Type: event.TypeMember, StateKey: string(user)})
		if err != nil {
			return false, err
		}
		if m := membershipOf(ev); m == event.Join || m == event.Invite && history == auth.VisibleInvited {
			found = true
			break
		}
	}
	v.present[snap] = found
	return found, nil
}
