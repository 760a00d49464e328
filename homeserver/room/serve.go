package room

import (
	"context"
	"slices"

	"konsil/homeserver/room/dag"
	"konsil/homeserver/store"
	"konsil/matrix/id"
)

// What other servers ask. One gate for all of it: the asking server must have a user in the room and be allowed by its server
// ACL, and the event asked about must be of that room and have been accepted. All else is answered alike: unknown. A20
// Where our users have all left, what counts is how the room was then: the others may still lack what our users did last, and
// nobody else has it.

// gate opens a room to a server.
func (e *Engine) gate(ctx context.Context, origin id.ServerName, room id.RoomID) (*head, error) {
	h, err := e.head(ctx, room)
	if err != nil {
		return nil, err
	}
	if h == nil || h.snap.nid == 0 || h.servers[origin] == 0 || !h.allows(origin) {
		return nil, ErrUnknownEvent
	}
	return h, nil
}

// gated reads an event behind the gate. Outliers are events too, where somebody asks for one by name.
func (e *Engine) gated(ctx context.Context, origin id.ServerName, room id.RoomID, evID id.EventID) (*head, *Event, error) {
	h, err := e.gate(ctx, origin, room)
	if err != nil {
		return nil, nil, err
	}
	ev, err := e.Event(ctx, evID)
	if err != nil {
		return nil, nil, err
	}
	if ev.RoomNID != h.nid || !ev.usable() {
		return nil, nil, ErrUnknownEvent
	}
	return h, ev, nil
}

// EventFor is /event: the event as that server may see it. SS v1.16 #get_matrixfederationv1eventeventid
func (e *Engine) EventFor(ctx context.Context, origin id.ServerName, evID id.EventID) (*Event, error) {
	ev, err := e.Event(ctx, evID)
	if err != nil {
		return nil, err
	}
	if _, _, err := e.gated(ctx, origin, ev.RoomID, evID); err != nil {
		return nil, err
	}
	seen, err := e.VisibleToServer(ctx, origin, []*Event{ev}, true)
	if err != nil || len(seen) == 0 {
		return nil, ErrUnknownEvent
	}
	return seen[0], nil
}

// StateFor is /state and /state_ids: the state before the event, and its auth chain.
// SS v1.16 #get_matrixfederationv1stateroomid
func (e *Engine) StateFor(ctx context.Context, origin id.ServerName, room id.RoomID, evID id.EventID) (state, chain []*Event, err error) {
	_, ev, err := e.gated(ctx, origin, room, evID)
	if err != nil {
		return nil, nil, err
	}
	if ev.StateBefore == 0 && !ev.IsCreate() {
		return nil, nil, ErrUnknownEvent // an outlier: we know nothing of the state around it
	}
	if state, err = e.StateBefore(ctx, ev); err != nil {
		return nil, nil, err
	}
	chain, err = e.authChain(ctx, state)
	return state, chain, err
}

// AuthChainFor is /event_auth. SS v1.16 #get_matrixfederationv1event_authroomideventid
func (e *Engine) AuthChainFor(ctx context.Context, origin id.ServerName, room id.RoomID, evID id.EventID) ([]*Event, error) {
	_, ev, err := e.gated(ctx, origin, room, evID)
	if err != nil {
		return nil, err
	}
	return e.authChain(ctx, []*Event{ev})
}

// Caps of what one request gets. A21
const (
	maxBackfill      = 100
	maxMissingEvents = 20
)

// BackfillFor is /backfill: the events named and what came before, newest first. What the server may not see comes redacted, for it
// needs the graph. SS v1.16 #get_matrixfederationv1backfillroomid
func (e *Engine) BackfillFor(ctx context.Context, origin id.ServerName, room id.RoomID, from []id.EventID, limit int) ([]*Event, error) {
	h, err := e.gate(ctx, origin, room)
	if err != nil {
		return nil, err
	}
	start, err := e.walkable(ctx, h, from)
	if err != nil {
		return nil, err
	}
	if len(start) == 0 {
		return nil, ErrUnknownEvent
	}
	limit = min(max(limit, 1), maxBackfill)
	found, err := e.walkBack(ctx, h, start, limit)
	if err != nil {
		return nil, err
	}
	return e.VisibleToServer(ctx, origin, found, true)
}

// walkable reads events of the room that are part of its graph.
func (e *Engine) walkable(ctx context.Context, h *head, ids []id.EventID) ([]*Event, error) {
	evs, err := e.Events(ctx, ids[:min(len(ids), maxBackfill)])
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(evs, func(ev *Event) bool { return !h.inGraph(ev) }), nil
}

// inGraph reports whether the event has a place in the room's history that others may be told.
func (h *head) inGraph(ev *Event) bool {
	return ev.RoomNID == h.nid && (ev.Status == store.Accepted || ev.Status == store.SoftFailed)
}

// walkBack lists events and what they follow, the latest in the room's order first, at most limit.
func (e *Engine) walkBack(ctx context.Context, h *head, start []*Event, limit int) ([]*Event, error) {
	seen := map[id.EventID]bool{}
	open := slices.Clone(start)
	for _, ev := range start {
		seen[ev.ID] = true
	}
	var out []*Event
	for len(open) > 0 && len(out) < limit {
		slices.SortFunc(open, func(a, b *Event) int { return dag.Compare(b.PDU, a.PDU) })
		ev := open[0]
		open = open[1:]
		out = append(out, ev)
		var prev []id.EventID
		for _, p := range ev.PrevEvents {
			if !seen[p] {
				seen[p] = true
				prev = append(prev, p)
			}
		}
		evs, err := e.walkable(ctx, h, prev)
		if err != nil {
			return nil, err
		}
		open = append(open, evs...)
	}
	return out, nil
}

// MissingEventsFor is /get_missing_events: what lies between, oldest first.
// SS v1.16 #post_matrixfederationv1get_missing_eventsroomid
func (e *Engine) MissingEventsFor(ctx context.Context, origin id.ServerName, room id.RoomID, earliest, latest []id.EventID, limit int, minDepth int64) ([]*Event, error) {
	h, err := e.gate(ctx, origin, room)
	if err != nil {
		return nil, err
	}
	start, err := e.walkable(ctx, h, latest)
	if err != nil {
		return nil, err
	}
	nodes := make([]dag.Node, len(start))
	for i, ev := range start {
		nodes[i] = nodeOf(ev)
	}
	found, err := dag.Between(nodes, earliest, minDepth, min(max(limit, 1), maxMissingEvents), e.prevLoader(ctx, h))
	if err != nil {
		return nil, err
	}
	ids := make([]id.EventID, len(found))
	for i, n := range found {
		ids[i] = n.ID
	}
	evs, err := e.Events(ctx, ids)
	if err != nil {
		return nil, err
	}
	return e.VisibleToServer(ctx, origin, evs, true)
}

func nodeOf(ev *Event) dag.Node {
	return dag.Node{ID: ev.ID, Depth: ev.Depth, Refs: ev.PrevEvents}
}

// prevLoader reads the graph of a room for a walk.
func (e *Engine) prevLoader(ctx context.Context, h *head) dag.Load {
	return func(ids []id.EventID) ([]dag.Node, error) {
		evs, err := e.Events(ctx, ids)
		if err != nil {
			return nil, err
		}
		nodes := make([]dag.Node, 0, len(evs))
		for _, ev := range evs {
			if h.inGraph(ev) {
				nodes = append(nodes, nodeOf(ev))
			}
		}
		return nodes, nil
	}
}

// TimestampToEventFor is the federation's /timestamp_to_event. SS v1.16 #get_matrixfederationv1timestamp_to_eventroomid
func (e *Engine) TimestampToEventFor(ctx context.Context, origin id.ServerName, room id.RoomID, ts int64, forward bool) (*Event, error) {
	h, err := e.gate(ctx, origin, room)
	if err != nil {
		return nil, err
	}
	ev, err := e.nearTime(ctx, h, ts, forward)
	if err != nil {
		return nil, err
	}
	seen, err := e.VisibleToServer(ctx, origin, []*Event{ev}, false)
	if err != nil || len(seen) == 0 {
		return nil, ErrUnknownEvent
	}
	return seen[0], nil
}

// nearTime finds the timeline event nearest to a time.
func (e *Engine) nearTime(ctx context.Context, h *head, ts int64, forward bool) (*Event, error) {
	var nid int64
	err := e.store.ReadOne(ctx, func(tx *store.Tx) (err error) {
		nid, err = tx.EventNearTime(ctx, h.nid, ts, forward)
		return err
	})
	if err == store.ErrNotFound {
		return nil, ErrUnknownEvent
	}
	if err != nil {
		return nil, err
	}
	return e.eventByNID(ctx, nid)
}
