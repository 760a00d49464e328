package room

import (
	"context"
	"errors"

	"konsil/homeserver/room/auth"
	"konsil/homeserver/room/dag"
	"konsil/homeserver/store"
	"konsil/matrix/event"
	"konsil/matrix/id"
)

// Backfilled stores history from before what we have. state names the state before those events whose prev events are unknown;
// the events of it were handed to Outliers before. It answers how many were added. Events whose state can not be found, or that
// lack auth events, are left out: they stay missing. SS v1.16 #backfilling-and-retrieving-missing-events
func (e *Engine) Backfilled(ctx context.Context, room id.RoomID, pdus []*event.PDU, state map[id.EventID][]id.EventID) (int, error) {
	added := 0
	err := e.change(ctx, room, func(b *batch) error {
		added = 0
		if b.head.snap.nid == 0 {
			return ErrUnknownRoom
		}
		sorted, _ := dag.Sort(pdus, dag.Prev)
		places := b.placesOf(sorted)
		for _, pdu := range sorted {
			m := b.mark()
			ok, err := b.backfill(pdu, state[pdu.ID], places[pdu.ID])
			if err != nil {
				return err
			}
			if ok {
				added++
			} else {
				b.undo(m)
			}
		}
		return nil
	})
	return added, err
}

// placesOf finds where in the room's order events of a batch may stand at most: before all that refers to them. Without this a server
// that lies about depths could put old messages after new ones.
func (b *batch) placesOf(sorted []*event.PDU) map[id.EventID]int64 {
	places := make(map[id.EventID]int64, len(sorted))
	limit := func(evID id.EventID, at int64) {
		if old, ok := places[evID]; !ok || at < old {
			places[evID] = at
		}
	}
	for evID, topo := range b.head.missing {
		limit(evID, topo-1)
	}
	for i := len(sorted) - 1; i >= 0; i-- {
		pdu := sorted[i]
		at := min(pdu.Depth, 1<<53)
		if cap, ok := places[pdu.ID]; ok {
			at = min(at, cap)
		} else if b.head.topo > 0 {
			at = min(at, b.head.topo)
		}
		places[pdu.ID] = at
		for _, prev := range pdu.PrevEvents {
			limit(prev, at-1)
		}
	}
	return places
}

// backfill adds one event of history. false: it stays out.
func (b *batch) backfill(pdu *event.PDU, given []id.EventID, topo int64) (bool, error) {
	if pdu.RoomID != b.head.room || pdu.Version != b.head.version {
		return false, nil
	}
	in := &incoming{pdu: pdu}
	known, err := b.find(pdu.ID)
	if err != nil {
		return false, err
	}
	if known != nil {
		if known.Status != store.Outlier || known.RoomNID != b.head.nid {
			return false, nil
		}
		in.known, in.pdu = known, known.PDU
	}
	if pdu.IsCreate() {
		return b.backfillCreate(in, topo)
	}
	if len(pdu.PrevEvents) == 0 {
		return false, nil
	}
	refused, missing, err := b.byAuthEvents(in)
	if err != nil || len(missing) > 0 {
		return false, err
	}
	if refused != nil {
		_, err := b.rejectEarly(in, refused)
		return false, err
	}
	before, missing, err := b.stateBefore(in, given)
	if errors.Is(err, errOtherRoom) || errors.Is(err, errWithoutState) || err == nil && len(missing) > 0 {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	in.before = before
	if refused, err := b.against(in.pdu, before); err != nil {
		return false, err
	} else if refused != nil {
		_, err := b.reject(in, refused)
		return false, err
	}
	return true, b.insertHistory(in, topo)
}

// backfillCreate gives the room's create event its place: the beginning.
func (b *batch) backfillCreate(in *incoming, topo int64) (bool, error) {
	if b.head.create == nil || in.pdu.ID != b.head.create.EventID || auth.Authorize(in.pdu, b.view()) != nil {
		return false, nil
	}
	return true, b.insertHistory(in, topo)
}

// insertHistory stores an event that stands before what we have: the room's present is not touched.
func (b *batch) insertHistory(in *incoming, topo int64) error {
	w, err := b.admit(in, store.Accepted)
	if err != nil {
		return err
	}
	ev := w.ev
	ev.Topo, ev.Pos = topo, -ev.NID
	if in.pdu.IsCreate() {
		if ev.SlotNID, err = b.slot(in.pdu.Slot()); err != nil {
			return err
		}
		after := b.newChain([]store.Entry{{Slot: ev.SlotNID, Event: ev.NID}})
		ev.StateAfter = after.nid
	} else if err := b.leaveState(w, in); err != nil {
		return err
	}
	ev.RoomState = ev.StateAfter
	w.relation = relationOf(ev)
	b.register(w)
	b.noteMissing(w)
	if ev.Type == event.TypeRedaction {
		return b.redactIncoming(w)
	}
	return nil
}
