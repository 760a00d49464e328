package clientsync

import (
	"context"
	"fmt"

	"konsil/homeserver/account"
	"konsil/homeserver/room"
	"konsil/homeserver/store"
	"konsil/matrix/canonical"
	"konsil/matrix/event"
	"konsil/matrix/id"
)

// stripped is a room the user is invited to or knocks at, and what they may know of it.
type stripped struct {
	room   id.RoomID
	events [][]byte
}

// gatherStripped lists the rooms the user was invited to, or has knocked at.
func (a *answer) gatherStripped(ctx context.Context) error {
	var rows []*store.UserRoomRow
	var nids []int64
	for i := range a.view.rooms {
		r := &a.view.rooms[i]
		if r.Membership != store.Invited && r.Membership != store.Knocked || !a.q.filter.rooms.has(r.RoomID) {
			continue
		}
		if a.q.full || r.Pos > a.q.since {
			rows, nids = append(rows, r), append(nids, r.Event)
		}
	}
	if len(rows) == 0 {
		return nil
	}
	members, err := a.syncer.cfg.Rooms.EventsByNID(ctx, nids)
	if err != nil {
		return fmt.Errorf("read invites: %w", err)
	}
	byNID := make(map[int64]*room.Event, len(members))
	for _, ev := range members {
		byNID[ev.NID] = ev
	}
	for _, row := range rows {
		member := byNID[row.Event]
		// "Servers must not send room invites from ignored users to clients." CS v1.16 #server-behaviour-13
		if member != nil && row.Membership == store.Invited &&
			(a.view.ignored[member.Sender] || a.view.invites.Verdict(member.Sender) != account.InviteAllowed) { // CS v1.18 #invite-permission
			continue
		}
		s := stripped{room: row.RoomID}
		if s.events, err = a.strippedEvents(ctx, row, member); err != nil {
			return err
		}
		if row.Membership == store.Invited {
			a.invited = append(a.invited, s)
		} else {
			a.knocks = append(a.knocks, s)
		}
	}
	return nil
}

// strippedEvents gives the stripped state of a room, and the user's own member event with it. It came with the invite, or is
// our own where we are in the room.
func (a *answer) strippedEvents(ctx context.Context, row *store.UserRoomRow, member *room.Event) ([][]byte, error) {
	var events [][]byte
	own := false
	add := func(ev []byte) {
		typ, _ := canonical.GetString(ev, "type")
		key, hasKey := canonical.GetString(ev, "state_key")
		if !canonical.IsObject(ev) || typ == "" || !hasKey {
			return // a foreign server sent it; nobody's sync breaks over that (A22)
		}
		if typ == event.TypeMember && key == string(a.q.User) {
			own = true
		}
		events = append(events, ev)
	}
	if row.Stripped != nil {
		_ = canonical.Array(row.Stripped, func(ev []byte) error { add(ev); return nil })
	} else {
		state, err := a.syncer.cfg.Rooms.StrippedState(ctx, row.RoomID)
		if err != nil {
			return nil, fmt.Errorf("read stripped state: %w", err)
		}
		for _, ev := range state {
			add(ev)
		}
	}
	if !own && member != nil {
		events = append(events, member.Stripped())
	}
	return events, nil
}
