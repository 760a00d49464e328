package room

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"konsil/homeserver/room/auth"
	"konsil/homeserver/room/dag"
	"konsil/homeserver/store"
	"konsil/matrix/event"
	"konsil/matrix/id"
	"konsil/matrix/roomver"
)

// head is all that sending into a room needs to know of it. A stored head never changes; a batch works on a copy, and replaces the
// slices and maps it changes.
type head struct {
	room    id.RoomID
	nid     int64
	version *roomver.Version

	state       state    // current, resolved
	snap        snapshot // of state; nid 0 while the room is known from an invite or knock only
	extremities []*Event // forward
	topo        int64    // highest of the extremities

	// What is asked of the state all the time. nil where the state has none.
	create    *auth.Create
	createEv  *Event
	levelsEv  *Event
	rulesEv   *Event
	historyEv *Event
	aclEv     *Event

	joined  int64                 // members
	servers map[id.ServerName]int // joined members by server
	local   []id.UserID           // joined users of this domain
	lastPos int64

	// missing are the backward extremities, with the lowest order of what refers to them. Changed by copying.
	missing map[id.EventID]int64
}

// snapshot names a stored state and its place in its chain.
type snapshot struct{ nid, depth int64 }

// here reports whether a local user is joined: only then we hear of what happens in the room.
func (h *head) here() bool { return len(h.local) > 0 }

// special is the field that holds the event of an important slot.
func (h *head) special(slot id.Slot) **Event {
	if slot.StateKey != "" {
		return nil
	}
	switch slot.Type {
	case event.TypeCreate:
		return &h.createEv
	case event.TypePowerLevels:
		return &h.levelsEv
	case event.TypeJoinRules:
		return &h.rulesEv
	case event.TypeHistoryVisibility:
		return &h.historyEv
	case event.TypeServerACL:
		return &h.aclEv
	}
	return nil
}

var specialSlots = []id.Slot{
	{Type: event.TypeCreate}, {Type: event.TypePowerLevels}, {Type: event.TypeJoinRules},
	{Type: event.TypeHistoryVisibility}, {Type: event.TypeServerACL},
}

// change is what happens to one slot of the current state.
type change struct {
	slot    int64
	key     id.Slot
	ev      *Event // nil: the slot is empty now
	prev    int64  // 0: it was
	was, is store.Membership
}

// apply makes one change to the current state; the snapshot is the caller's business.
func (h *head) apply(c change, server id.ServerName) {
	nid := int64(0)
	if c.ev != nil {
		nid = c.ev.NID
	}
	h.state = h.state.with(c.slot, nid)
	if field := h.special(c.key); field != nil {
		*field = c.ev
		if c.key.Type == event.TypeCreate {
			h.create = nil
			if c.ev != nil {
				h.create = auth.ParseCreate(c.ev.PDU)
			}
		}
	}
	if c.key.Type != event.TypeMember || c.was == c.is {
		return
	}
	user := id.UserID(c.key.StateKey)
	switch {
	case c.is == store.Joined:
		h.joined++
		h.servers = maps.Clone(h.servers)
		h.servers[user.Server()]++
		if user.Server() == server {
			h.local = append(slices.Clone(h.local), user)
		}
	case c.was == store.Joined:
		h.joined--
		h.servers = maps.Clone(h.servers)
		if h.servers[user.Server()]--; h.servers[user.Server()] <= 0 {
			delete(h.servers, user.Server())
		}
		if i := slices.Index(h.local, user); i >= 0 {
			h.local = slices.Delete(slices.Clone(h.local), i, i+1)
		}
	}
}

// levels are the power levels that hold now.
func (h *head) levels() *auth.PowerLevels {
	if h.create == nil {
		return nil
	}
	if h.levelsEv == nil {
		return auth.LevelsOf(h.create, nil)
	}
	return h.levelsEv.powerLevels(h.create)
}

// joinRules are the join rules that hold now.
func (h *head) joinRules() auth.JoinRules {
	if h.rulesEv == nil {
		return auth.JoinRules{Rule: auth.RuleInvite}
	}
	return auth.ParseJoinRules(h.rulesEv.Content)
}

// history is the history visibility that holds now.
func (h *head) history() auth.HistoryVisibility {
	if h.historyEv == nil {
		return auth.VisibleShared
	}
	return auth.ParseHistoryVisibility(h.historyEv.Content)
}

// allows asks the server ACL.
func (h *head) allows(server id.ServerName) bool {
	return h.aclEv == nil || h.aclEv.serverACL().Allows(server)
}

// row is what is stored of the head.
func (h *head) row() store.RoomRow {
	r := store.RoomRow{NID: h.nid, ID: h.room, Version: h.version.ID, State: h.snap.nid, LastPos: h.lastPos,
		Joined: h.joined, JoinedHere: int64(len(h.local))}
	for _, ev := range h.extremities {
		r.Extremities = append(r.Extremities, ev.NID)
	}
	return r
}

// weight is about what the head costs in memory.
func (h *head) weight() int64 {
	return 2048 + int64(h.state.size())*16 + int64(len(h.local))*16 + int64(len(h.servers)+len(h.missing))*64
}

// setExtremities replaces the forward extremities.
func (h *head) setExtremities(evs []*Event) {
	h.extremities = evs
	h.topo = 0
	for _, ev := range evs {
		h.topo = max(h.topo, ev.Topo)
	}
}

// tips are the forward extremities as room/dag knows them.
func (h *head) tips() []dag.Extremity {
	tips := make([]dag.Extremity, len(h.extremities))
	for i, ev := range h.extremities {
		tips[i] = dag.Extremity{ID: ev.ID, Depth: ev.Depth}
	}
	return tips
}

// advance makes an accepted event part of the forward extremities. behind: what it follows by way of events that are not accepted.
// referenced: something accepted refers to it already.
func (h *head) advance(ev *Event, behind []id.EventID, referenced bool) {
	known := map[id.EventID]*Event{ev.ID: ev}
	for _, x := range h.extremities {
		known[x.ID] = x
	}
	var next []*Event
	for _, tip := range dag.Advance(h.tips(), ev.PDU, behind, referenced) {
		next = append(next, known[tip.ID])
	}
	if len(next) == 0 { // all that is new was referred to from events whose own place is behind: keep one
		next = h.extremities
	}
	h.setExtremities(next)
}

// loadHead reads a room's head; nil for an unknown room.
func (e *Engine) loadHead(ctx context.Context, room id.RoomID) (*head, error) {
	h := &head{room: room}
	var row store.RoomRow
	err := e.store.Read(ctx, func(tx *store.Tx) (err error) {
		if row, err = tx.Room(ctx, room); err != nil {
			return err
		}
		if h.servers, err = tx.ServerCounts(ctx, row.NID); err != nil {
			return err
		}
		if h.local, err = tx.JoinedOfServer(ctx, row.NID, e.cfg.Server); err != nil {
			return err
		}
		missing, err := tx.Missing(ctx, row.NID)
		for _, m := range missing {
			if h.missing == nil {
				h.missing = make(map[id.EventID]int64, len(missing))
			}
			h.missing[m.ID] = m.Topo
		}
		return err
	})
	if err == store.ErrNotFound {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("load room: %w", err)
	}
	v, ok := roomver.Get(row.Version)
	if !ok {
		return nil, fmt.Errorf("load room: %w", errVersion)
	}
	h.nid, h.version, h.joined, h.lastPos = row.NID, v, row.Joined, row.LastPos
	return h, e.loadState(ctx, h, row)
}

// loadState reads what the current state says.
func (e *Engine) loadState(ctx context.Context, h *head, row store.RoomRow) error {
	extremities, err := e.EventsByNID(ctx, row.Extremities)
	if err != nil {
		return fmt.Errorf("load extremities: %w", err)
	}
	h.setExtremities(extremities)
	if row.State == 0 {
		return nil
	}
	s, err := e.snapshot(ctx, row.State)
	if err != nil {
		return fmt.Errorf("load state: %w", err)
	}
	h.snap = snapshot{row.State, s.Depth}
	if h.state, err = e.stateAt(ctx, row.State); err != nil {
		return err
	}
	for _, slot := range specialSlots {
		nid, found, err := e.store.Slots().Find(ctx, slot)
		if err != nil {
			return err
		}
		if !found || h.state.get(nid) == 0 {
			continue
		}
		ev, err := e.eventByNID(ctx, h.state.get(nid))
		if err != nil {
			return err
		}
		*h.special(slot) = ev
	}
	if h.createEv != nil {
		h.create = auth.ParseCreate(h.createEv.PDU)
	}
	return nil
}
