package room

import (
	"context"
	"encoding/json"
	"errors"
	"slices"

	"konsil/homeserver/store"
	"konsil/matrix/event"
	"konsil/matrix/id"
)

// Info is what is known of a room at a glance.
type Info struct {
	Room        id.RoomID
	NID         int64
	Version     string
	Here        bool  // a local user is joined
	LastPos     int64 // of the last timeline event
	Joined      int   // members
	Extremities []id.EventID
	Missing     []id.EventID // backward extremities: referred to and not here, the newest first
}

// Room gives Info, or ErrUnknownRoom. A room known from an invite or knock only has no version of its own to tell and is unknown.
func (e *Engine) Room(ctx context.Context, room id.RoomID) (Info, error) {
	h, err := e.knownHead(ctx, room)
	if err != nil {
		return Info{}, err
	}
	info := Info{Room: room, NID: h.nid, Version: h.version.ID, Here: h.here(), LastPos: h.lastPos, Joined: int(h.joined)}
	for _, ev := range h.extremities {
		info.Extremities = append(info.Extremities, ev.ID)
	}
	err = e.store.ReadOne(ctx, func(tx *store.Tx) error {
		missing, err := tx.Missing(ctx, h.nid)
		for _, m := range missing {
			info.Missing = append(info.Missing, m.ID)
		}
		return err
	})
	return info, err
}

// Version is the version of a room, also of one known from an invite or knock only; ErrUnknownRoom.
func (e *Engine) Version(ctx context.Context, room id.RoomID) (string, error) {
	h, err := e.head(ctx, room)
	if err != nil {
		return "", err
	}
	if h == nil {
		return "", ErrUnknownRoom
	}
	return h.version.ID, nil
}

// EventsAfter reads the timeline events of all rooms with after < position <= upTo, in order, at most limit.
func (e *Engine) EventsAfter(ctx context.Context, after, upTo int64, limit int) ([]*Event, error) {
	nids, err := readList(ctx, e, func(tx *store.Tx) ([]int64, error) { return tx.EventsAfter(ctx, after, upTo, limit) })
	if err != nil {
		return nil, err
	}
	return e.EventsByNID(ctx, nids) // followers come right after the event, while it is in memory
}

// Timeline reads the newest limit events of a room with after < position <= upTo, in order; limited says that there were more.
func (e *Engine) Timeline(ctx context.Context, room id.RoomID, after, upTo int64, limit int) (evs []*Event, limited bool, err error) {
	h, err := e.knownHead(ctx, room)
	if err != nil {
		return nil, false, err
	}
	evs, err = e.readEvents(ctx, func(tx *store.Tx) ([]store.EventRow, error) {
		return tx.TimelineBefore(ctx, h.nid, max(after, 0), upTo, limit+1)
	})
	if err != nil {
		return nil, false, err
	}
	if limited = len(evs) > limit; limited {
		evs = evs[:limit]
	}
	slices.Reverse(evs)
	return evs, limited, nil
}

// maxRecent bounds the rooms remembered; beyond it the oldest half is forgotten, and since moves up.
const maxRecent = 20_000

// RoomsChangedSince filters rooms to those with timeline events after pos. It reads memory, but for positions from before the engine was
// made (or long ago).
func (e *Engine) RoomsChangedSince(ctx context.Context, rooms []id.RoomID, pos int64) ([]id.RoomID, error) {
	var changed []id.RoomID
	r := &e.recent
	r.mu.Lock()
	if pos >= r.since {
		for _, room := range rooms {
			if r.last[room] > pos {
				changed = append(changed, room)
			}
		}
		r.mu.Unlock()
		return changed, nil
	}
	r.mu.Unlock()
	var last map[id.RoomID]int64
	err := e.store.ReadOne(ctx, func(tx *store.Tx) (err error) {
		last, err = tx.LastPositions(ctx, rooms, pos)
		return err
	})
	for _, room := range rooms {
		if last[room] > pos {
			changed = append(changed, room)
		}
	}
	return changed, err
}

// eventsOf reads the events of a state.
func (e *Engine) eventsOf(ctx context.Context, st state) ([]*Event, error) {
	entries := st.entries()
	nids := make([]int64, len(entries))
	for i, en := range entries {
		nids[i] = en.Event
	}
	return e.EventsByNID(ctx, nids)
}

// CurrentState reads the room's current state, all of it.
func (e *Engine) CurrentState(ctx context.Context, room id.RoomID) ([]*Event, error) {
	h, err := e.knownHead(ctx, room)
	if err != nil {
		return nil, err
	}
	return e.eventsOf(ctx, h.state)
}

// StateEvent reads one slot of the current state; nil for an empty one.
func (e *Engine) StateEvent(ctx context.Context, room id.RoomID, typ, key string) (*Event, error) {
	h, err := e.knownHead(ctx, room)
	if err != nil {
		return nil, err
	}
	return e.currentSlot(ctx, h, id.Slot{Type: typ, StateKey: key})
}

// pick reads some slots of a state.
func (e *Engine) pick(ctx context.Context, st state, slots []id.Slot) ([]*Event, error) {
	nids := make([]int64, 0, len(slots))
	for _, slot := range slots {
		nid, found, err := e.store.Slots().Find(ctx, slot)
		if err != nil {
			return nil, err
		}
		if ev := st.get(nid); found && ev != 0 {
			nids = append(nids, ev)
		}
	}
	return e.EventsByNID(ctx, nids)
}

// StateBefore reads the state that an event met; nothing for outliers, whose place is unknown.
func (e *Engine) StateBefore(ctx context.Context, ev *Event) ([]*Event, error) {
	st, err := e.stateAt(ctx, ev.StateBefore)
	if err != nil {
		return nil, err
	}
	return e.eventsOf(ctx, st)
}

// StateAfter reads the state that an event left behind.
func (e *Engine) StateAfter(ctx context.Context, ev *Event) ([]*Event, error) {
	st, err := e.stateAt(ctx, ev.StateAfter)
	if err != nil {
		return nil, err
	}
	return e.eventsOf(ctx, st)
}

// SlotsAfter reads some slots of the state that an event left behind, in the order asked; empty ones are left out.
func (e *Engine) SlotsAfter(ctx context.Context, ev *Event, slots []id.Slot) ([]*Event, error) {
	return e.pickAt(ctx, ev.StateAfter, slots)
}

// pickAt reads some slots of a stored state without reading all of it.
func (e *Engine) pickAt(ctx context.Context, snap int64, slots []id.Slot) ([]*Event, error) {
	nids := make([]int64, 0, len(slots))
	for _, slot := range slots {
		nid, found, err := e.store.Slots().Find(ctx, slot)
		if err != nil {
			return nil, err
		}
		if !found {
			continue
		}
		ev, err := snapshots(e.snapshot).lookup(ctx, snap, nid)
		if err != nil {
			return nil, err
		}
		if ev != 0 {
			nids = append(nids, ev)
		}
	}
	return e.EventsByNID(ctx, nids)
}

// roomStateAt is the snapshot of a room's current state as it was at a position, 0 for none.
func (e *Engine) roomStateAt(ctx context.Context, h *head, pos int64) (int64, error) {
	if pos <= 0 || pos >= h.lastPos && e.recent.upToDate(h) {
		return h.snap.nid, nil
	}
	var nid int64
	err := e.store.ReadOne(ctx, func(tx *store.Tx) (err error) {
		nid, err = tx.RoomStateAt(ctx, h.nid, pos)
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		return 0, nil
	}
	return nid, err
}

// StateAt reads the current state of a room as it was at a position (0: now).
func (e *Engine) StateAt(ctx context.Context, room id.RoomID, pos int64) ([]*Event, error) {
	h, err := e.knownHead(ctx, room)
	if err != nil {
		return nil, err
	}
	snap, err := e.roomStateAt(ctx, h, pos)
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

// SlotsAt is StateAt for some slots, in the order asked; empty ones are left out.
func (e *Engine) SlotsAt(ctx context.Context, room id.RoomID, pos int64, slots []id.Slot) ([]*Event, error) {
	h, err := e.knownHead(ctx, room)
	if err != nil {
		return nil, err
	}
	snap, err := e.roomStateAt(ctx, h, pos)
	if err != nil {
		return nil, err
	}
	if snap == h.snap.nid {
		return e.pick(ctx, h.state, slots)
	}
	return e.pickAt(ctx, snap, slots)
}

// StateChanges reads what happened to the current state of a room with after < position <= upTo: for each slot that changed,
// the event it held last. Slots that were emptied are left out, as clients have no word for that.
func (e *Engine) StateChanges(ctx context.Context, room id.RoomID, after, upTo int64) ([]*Event, error) {
	h, err := e.knownHead(ctx, room)
	if err != nil || after >= h.lastPos && e.recent.upToDate(h) {
		return nil, err
	}
	var changes []store.StateChange
	err = e.store.ReadOne(ctx, func(tx *store.Tx) (err error) {
		changes, err = tx.StateChanges(ctx, h.nid, after, upTo)
		return err
	})
	if err != nil {
		return nil, err
	}
	last := map[int64]int64{}
	for _, c := range changes {
		last[c.Slot] = c.Event
	}
	var nids []int64
	for _, c := range changes { // oldest first; a slot that changed twice stands where it changed last
		if c.Event != 0 && last[c.Slot] == c.Event {
			nids = append(nids, c.Event)
			delete(last, c.Slot)
		}
	}
	return e.EventsByNID(ctx, nids)
}

// Members reads the member events of a room at a position (0: now). want and not filter by membership; "" filters nothing.
// CS v1.16 #get_matrixclientv3roomsroomidmembers
func (e *Engine) Members(ctx context.Context, room id.RoomID, at int64, want, not string) ([]*Event, error) {
	h, err := e.knownHead(ctx, room)
	if err != nil {
		return nil, err
	}
	var evs []*Event
	if at <= 0 {
		evs, err = e.currentMembers(ctx, h, want)
	} else {
		evs, err = e.StateAt(ctx, room, at)
	}
	if err != nil {
		return nil, err
	}
	return filterMembers(evs, want, not), nil
}

func filterMembers(evs []*Event, want, not string) []*Event {
	members := make([]*Event, 0, len(evs))
	for _, ev := range evs {
		m := ev.Membership()
		if ev.Type == event.TypeMember && (want == "" || m == want) && (not == "" || m != not) {
			members = append(members, ev)
		}
	}
	return members
}

// currentMembers reads the member events of the current state with one membership ("": any).
func (e *Engine) currentMembers(ctx context.Context, h *head, want string) ([]*Event, error) {
	rows, err := e.memberRows(ctx, h.nid, store.ParseMembership(want))
	if err != nil {
		return nil, err
	}
	nids := make([]int64, len(rows))
	for i, r := range rows {
		nids[i] = r.Event
	}
	return e.EventsByNID(ctx, nids)
}

func (e *Engine) memberRows(ctx context.Context, room int64, m store.Membership) (rows []store.MemberRow, err error) {
	err = e.store.ReadOne(ctx, func(tx *store.Tx) (err error) {
		rows, err = tx.Members(ctx, room, m)
		return err
	})
	return rows, err
}

// JoinedServers lists the servers with joined users, ours included.
func (e *Engine) JoinedServers(ctx context.Context, room id.RoomID) ([]id.ServerName, error) {
	h, err := e.knownHead(ctx, room)
	if err != nil {
		return nil, err
	}
	servers := make([]id.ServerName, 0, len(h.servers))
	for s := range h.servers {
		servers = append(servers, s)
	}
	slices.SortFunc(servers, func(a, b id.ServerName) int { // most members first: the likeliest to be there
		if d := h.servers[b] - h.servers[a]; d != 0 {
			return d
		}
		return compare(a, b)
	})
	return servers, nil
}

func compare[S ~string](a, b S) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// ServerInRoom reports whether a user of the server is joined.
func (e *Engine) ServerInRoom(ctx context.Context, room id.RoomID, server id.ServerName) (bool, error) {
	h, err := e.head(ctx, room)
	if err != nil || h == nil {
		return false, err
	}
	return h.servers[server] > 0, nil
}

// ServerAllowed asks the room's server ACL. A room without one, or unknown to us, allows everybody.
// CS v1.16 #server-access-control-lists-acls-for-rooms
func (e *Engine) ServerAllowed(ctx context.Context, room id.RoomID, server id.ServerName) (bool, error) {
	h, err := e.head(ctx, room)
	if err != nil || h == nil {
		return err == nil, err
	}
	return h.allows(server), nil
}

// JoinedMembers lists joined users with the profile of their member event. CS v1.16 #get_matrixclientv3roomsroomidjoined_members
func (e *Engine) JoinedMembers(ctx context.Context, room id.RoomID) (map[id.UserID]Profile, error) {
	h, err := e.knownHead(ctx, room)
	if err != nil {
		return nil, err
	}
	rows, err := e.memberRows(ctx, h.nid, store.Joined)
	if err != nil {
		return nil, err
	}
	members := make(map[id.UserID]Profile, len(rows))
	for _, r := range rows {
		members[r.User] = Profile{r.DisplayName, r.AvatarURL}
	}
	return members, nil
}

// LocalMembers lists the joined users of this domain. The list is not to be changed.
func (e *Engine) LocalMembers(ctx context.Context, room id.RoomID) ([]id.UserID, error) {
	h, err := e.head(ctx, room)
	if err != nil || h == nil {
		return nil, err
	}
	return h.local, nil
}

// MemberCounts counts a room's members by membership.
func (e *Engine) MemberCounts(ctx context.Context, room id.RoomID) (map[string]int, error) {
	h, err := e.knownHead(ctx, room)
	if err != nil {
		return nil, err
	}
	counts := map[string]int{}
	err = e.store.ReadOne(ctx, func(tx *store.Tx) error {
		rows, err := tx.CountMembers(ctx, h.nid)
		for m, n := range rows {
			counts[m.String()] = n
		}
		return err
	})
	return counts, err
}

// Heroes lists up to limit other members, joined or invited, by whom a room without a name is called.
// CS v1.16 #calculating-the-display-name-for-a-room
func (e *Engine) Heroes(ctx context.Context, room id.RoomID, but id.UserID, limit int) ([]*Event, error) {
	h, err := e.knownHead(ctx, room)
	if err != nil {
		return nil, err
	}
	var nids []int64
	err = e.store.ReadOne(ctx, func(tx *store.Tx) error {
		rows, err := tx.Heroes(ctx, h.nid, but, limit)
		for _, r := range rows {
			nids = append(nids, r.Event)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return e.EventsByNID(ctx, nids)
}

// UserRoom is a local user's relation to a room.
type UserRoom struct {
	Room       id.RoomID
	NID        int64 // number of the room
	Membership string
	Event      int64 // number of the member event; see EventsByNID
	Pos        int64 // of the last change of membership
	Forgotten  bool
	Stripped   json.RawMessage // JSON array of stripped state; nil unless the room is known from an invite or knock only
}

func userRoomOf(r store.UserRoomRow) UserRoom {
	return UserRoom{Room: r.RoomID, NID: r.Room, Membership: r.Membership.String(), Event: r.Event, Pos: r.Pos, Forgotten: r.Forgotten, Stripped: r.Stripped}
}

// UserRooms lists the rooms of a local user with any membership.
func (e *Engine) UserRooms(ctx context.Context, user id.UserID) ([]UserRoom, error) {
	var list []UserRoom
	err := e.store.ReadOne(ctx, func(tx *store.Tx) error {
		rows, err := tx.UserRooms(ctx, user)
		for _, r := range rows {
			list = append(list, userRoomOf(r))
		}
		return err
	})
	return list, err
}

// UserRoom reads a local user's relation to one room; ErrUnknownRoom for none.
func (e *Engine) UserRoom(ctx context.Context, user id.UserID, room id.RoomID) (UserRoom, error) {
	var r store.UserRoomRow
	err := e.store.ReadOne(ctx, func(tx *store.Tx) (err error) {
		r, err = tx.UserRoom(ctx, user, room)
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		return UserRoom{}, ErrUnknownRoom
	}
	return userRoomOf(r), err
}

// readList reads a list with one statement.
func readList[T any](ctx context.Context, e *Engine, read func(tx *store.Tx) ([]T, error)) (list []T, err error) {
	err = e.store.ReadOne(ctx, func(tx *store.Tx) (err error) {
		list, err = read(tx)
		return err
	})
	return list, err
}

// JoinedRooms lists the rooms a user (also a remote one) is joined to, as far as we know.
func (e *Engine) JoinedRooms(ctx context.Context, user id.UserID) ([]id.RoomID, error) {
	return readList(ctx, e, func(tx *store.Tx) ([]id.RoomID, error) { return tx.JoinedRooms(ctx, user) })
}

// SharesRoom reports whether both are joined to one room.
func (e *Engine) SharesRoom(ctx context.Context, a, b id.UserID) (shares bool, err error) {
	err = e.store.ReadOne(ctx, func(tx *store.Tx) (err error) {
		shares, err = tx.SharesRoom(ctx, a, b)
		return err
	})
	return shares, err
}

// UsersSharingRooms lists who is joined to a room the user is joined to, the user included.
func (e *Engine) UsersSharingRooms(ctx context.Context, user id.UserID) ([]id.UserID, error) {
	return readList(ctx, e, func(tx *store.Tx) ([]id.UserID, error) { return tx.UsersSharingRooms(ctx, user) })
}

// ServersSharing lists the servers with users in rooms of the user.
func (e *Engine) ServersSharing(ctx context.Context, user id.UserID) ([]id.ServerName, error) {
	return readList(ctx, e, func(tx *store.Tx) ([]id.ServerName, error) { return tx.ServersSharing(ctx, user) })
}
