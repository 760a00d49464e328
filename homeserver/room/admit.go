package room

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"konsil/homeserver/room/auth"
	"konsil/homeserver/store"
	"konsil/matrix/event"
	"konsil/matrix/id"
)

// admit makes the event to store of an incoming one.
func (b *batch) admit(in *incoming, status store.Status) (*write, error) {
	ev := &Event{PDU: in.pdu, EventMeta: store.EventMeta{RoomNID: b.head.nid, Status: status, Auth: nidsOf(in.cited)}}
	w := &write{ev: ev}
	if in.known != nil {
		ev.NID, ev.RedactedBy, w.place = in.known.NID, in.known.RedactedBy, true
	} else {
		ev.NID = b.e.store.NextNID()
	}
	ev.Topo = b.topoOf(in)
	ev.StateBefore, ev.StateAfter = in.before.snap.nid, in.before.snap.nid
	if in.pdu.IsState() && in.before.snap.nid != 0 {
		slot, err := b.slot(in.pdu.Slot())
		if err != nil {
			return nil, err
		}
		ev.SlotNID, ev.Replaces = slot, in.before.state.get(slot)
	}
	if err := b.applyPending(w); err != nil {
		return nil, err
	}
	return w, nil
}

// topoOf is the event's place in the room's own order: after what it follows. Its depth is its server's word and counts only where we
// know nothing better. A9
func (b *batch) topoOf(in *incoming) int64 {
	topo := int64(0)
	for _, ev := range in.prev {
		topo = max(topo, ev.Topo)
	}
	if len(in.prev) > 0 && len(in.prev) == len(in.pdu.PrevEvents) {
		return topo + 1
	}
	return max(topo+1, min(in.pdu.Depth, event.MaxDepth(b.head.version)-1, 1<<53))
}

// reject stores an event that the rules forbid, so that nobody asks for it again.
func (b *batch) reject(in *incoming, reason error) (Receipt, error) {
	w, err := b.admit(in, store.Rejected)
	if err != nil {
		return Receipt{}, err
	}
	b.register(w)
	return Receipt{Outcome: Reject, Reason: reason, Event: w.ev}, nil
}

// rejectEarly is reject for an event that fails by its own auth events. The state around it is kept all the same, for others may follow
// it.
func (b *batch) rejectEarly(in *incoming, reason error) (Receipt, error) {
	before, missing, err := b.stateBefore(in, nil)
	if err != nil && !errors.Is(err, errOtherRoom) && !errors.Is(err, errWithoutState) {
		return Receipt{}, err
	}
	if err == nil && len(missing) == 0 {
		in.before = before
	}
	return b.reject(in, reason)
}

// softFail stores an event that is allowed where it stands, but not in the room as it is now: others may refer to it, we do not, and
// clients do not see it. SS v1.16 #soft-failure
func (b *batch) softFail(in *incoming, reason error) (Receipt, error) {
	w, err := b.admit(in, store.SoftFailed)
	if err != nil {
		return Receipt{}, err
	}
	b.register(w)
	if err := b.leaveState(w, in); err != nil {
		return Receipt{}, err
	}
	return Receipt{Outcome: SoftFail, Reason: reason, Event: w.ev}, nil
}

// leaveState makes the state after an event that is not the room's newest.
func (b *batch) leaveState(w *write, in *incoming) error {
	if w.ev.SlotNID == 0 {
		return nil
	}
	after, err := b.follow(in.before.snap, []store.Entry{{Slot: w.ev.SlotNID, Event: w.ev.NID}},
		in.before.state.with(w.ev.SlotNID, w.ev.NID).entries, in.before.state.size())
	w.ev.StateAfter = after.nid
	return err
}

// accept makes an event part of the room.
func (b *batch) accept(in *incoming) (Receipt, error) {
	w, err := b.admit(in, store.Accepted)
	if err != nil {
		return Receipt{}, err
	}
	h := &b.head
	w.live = true
	w.relation = relationOf(w.ev)
	b.register(w)
	_, referenced := h.missing[w.ev.ID]
	b.noteMissing(w)
	// In line: it met the state that is current, and nothing newer stands on it.
	linear := in.before.snap.nid == h.snap.nid && !referenced
	switch {
	case w.ev.SlotNID == 0:
	case linear:
		if err := b.setState(w); err != nil {
			return Receipt{}, err
		}
		w.ev.StateAfter = h.snap.nid
	default:
		if err := b.leaveState(w, in); err != nil {
			return Receipt{}, err
		}
	}
	behind, err := b.behind(in)
	if err != nil {
		return Receipt{}, err
	}
	h.advance(w.ev, behind, referenced)
	if !linear {
		if err := b.settle(w); err != nil {
			return Receipt{}, err
		}
	}
	w.ev.RoomState = h.snap.nid
	if w.ev.Type == event.TypeRedaction {
		if err := b.redactIncoming(w); err != nil {
			return Receipt{}, err
		}
	}
	return Receipt{Outcome: AcceptedNow, Event: w.ev}, nil
}

// maxBehind bounds the walk through rejected and soft-failed events. What lies further back stays an extremity for a while.
const maxBehind = 500

// behind lists what an event follows by way of rejected and soft-failed events: these left the extremities as they were, and each
// would stay one for ever when its server's users build on them.
func (b *batch) behind(in *incoming) ([]id.EventID, error) {
	var found []id.EventID
	var open []*Event
	for _, ev := range in.prev {
		if ev.Status != store.Accepted {
			open = append(open, ev)
		}
	}
	for n := 0; n < len(open) && n < maxBehind; n++ {
		for _, evID := range open[n].PrevEvents {
			if slices.Contains(found, evID) {
				continue
			}
			found = append(found, evID)
			ev, err := b.find(evID)
			if err != nil {
				return nil, err
			}
			if ev != nil && ev.Status != store.Accepted {
				open = append(open, ev)
			}
		}
	}
	return found, nil
}

// settle makes the current state that of all forward extremities together, after an event that stands beside the newest ones.
func (b *batch) settle(w *write) error {
	h := &b.head
	snaps := map[int64]bool{}
	for _, ev := range h.extremities {
		if ev.StateAfter != 0 {
			snaps[ev.StateAfter] = true
		}
	}
	st, err := b.mergeStates(slices.Sorted(maps.Keys(snaps)))
	if err != nil {
		return err
	}
	if st.snap.nid == h.snap.nid {
		return nil
	}
	diff := difference(h.state.entries(), st.state.entries())
	slots := make([]int64, len(diff))
	for i, en := range diff {
		slots[i] = en.Slot
	}
	keys, err := b.slotKeys(slots)
	if err != nil {
		return err
	}
	for _, en := range diff {
		var ev *Event
		if en.Event != 0 {
			if ev, err = b.event(en.Event); err != nil {
				return err
			}
		}
		c, err := b.changeOf(en.Slot, keys[en.Slot], ev)
		if err != nil {
			return err
		}
		b.applyChange(w, c)
	}
	h.state, h.snap = st.state, st.snap
	return nil
}

// slotKeys gives the names of slots, also of those that this batch adds.
func (b *batch) slotKeys(nids []int64) (map[int64]id.Slot, error) {
	return b.e.store.Slots().Keys(b.ctx, nids)
}

// noteMissing keeps the backward extremities: the event may have been one, and what it follows may be some.
func (b *batch) noteMissing(w *write) {
	h := &b.head
	changed := false
	change := func() {
		if !changed {
			h.missing = maps.Clone(h.missing)
			if h.missing == nil {
				h.missing = map[id.EventID]int64{}
			}
			changed = true
		}
	}
	if _, ok := h.missing[w.ev.ID]; ok {
		change()
		delete(h.missing, w.ev.ID)
		w.arrived = true
	}
	for _, evID := range w.ev.PrevEvents {
		if ev, err := b.find(evID); err == nil && ev != nil && ev.StateAfter != 0 {
			continue
		}
		change()
		if topo, ok := h.missing[evID]; !ok || w.ev.Topo < topo {
			h.missing[evID] = w.ev.Topo
		}
		w.missing = append(w.missing, evID)
	}
}

// redactIncoming carries out another server's redaction, or remembers it until its target comes.
func (b *batch) redactIncoming(w *write) error {
	if w.ev.Redacts == "" {
		return nil
	}
	target, err := b.find(w.ev.Redacts)
	if err != nil {
		return err
	}
	if target == nil {
		b.await(w, w.ev.Redacts)
		return nil
	}
	return b.redact(w.ev, target)
}

// await has a redaction wait for its target.
func (b *batch) await(redaction *write, target id.EventID) {
	redaction.awaits = target
	b.e.waiting.Store(someWait)
}

// What is known of redactions that wait for their targets. Nearly always there are none, and then no event that arrives costs
// a look into the store.
const (
	waitUnknown int32 = iota
	noneWait
	someWait
)

// redactionsWait reports whether a redaction may wait for an event that has not come yet.
func (e *Engine) redactionsWait(ctx context.Context) (bool, error) {
	if known := e.waiting.Load(); known != waitUnknown {
		return known == someWait, nil
	}
	some := false
	err := e.store.ReadOne(ctx, func(tx *store.Tx) (err error) {
		some, err = tx.RedactionsWait(ctx)
		return err
	})
	if err != nil {
		return false, fmt.Errorf("look for waiting redactions: %w", err)
	}
	found := noneWait
	if some {
		found = someWait
	}
	e.waiting.CompareAndSwap(waitUnknown, found) // one that came meanwhile counts
	return e.waiting.Load() == someWait, nil
}

// applyPending redacts an event for which a redaction came first. The levels asked are those of now: the redaction's own moment was
// checked when it was accepted.
func (b *batch) applyPending(w *write) error {
	some, err := b.e.redactionsWait(b.ctx)
	if err != nil || !some {
		return err
	}
	var waiting []int64
	err = b.e.store.ReadOne(b.ctx, func(tx *store.Tx) (err error) {
		waiting, err = tx.PendingRedactions(b.ctx, w.ev.ID)
		return err
	})
	if err != nil {
		return err
	}
	for _, x := range b.writes { // redactions that arrived in this batch
		if x.awaits == w.ev.ID {
			waiting = append(waiting, x.ev.NID)
		}
	}
	for _, nid := range waiting {
		w.settled = true
		redaction, err := b.event(nid)
		if err != nil {
			return err
		}
		var refused *auth.Refusal
		err = auth.MayRedact(redaction.PDU, w.ev.PDU, b.head.levels())
		if errors.As(err, &refused) || w.ev.RedactedBy != 0 {
			continue
		}
		if err != nil {
			return err
		}
		w.ev.PDU, w.ev.RedactedBy = w.ev.PDU.Redact(), nid
	}
	return nil
}

// receiveOutside takes the few events that concern our users in rooms we are not in: the end of an invite or knock, told by
// who could have sent it. SS v1.16 #rescinding-invites is not written; servers tell the invited one's server all the same.
func (b *batch) receiveOutside(origin id.ServerName, pdu *event.PDU) (Receipt, error) {
	if pdu.Type != event.TypeMember || pdu.StateKey == nil || pdu.Membership() != event.Leave && pdu.Membership() != event.Ban {
		return dropped(errNotInRoom), nil
	}
	user := id.UserID(*pdu.StateKey)
	if !b.known || !b.e.local(user) || pdu.Sender == user {
		return dropped(errNotInRoom), nil
	}
	var now store.UserRoomRow
	err := b.e.store.ReadOne(b.ctx, func(tx *store.Tx) (err error) {
		now, err = tx.UserRoom(b.ctx, user, b.head.room)
		return err
	})
	if err == store.ErrNotFound || err == nil && now.Membership != store.Invited && now.Membership != store.Knocked {
		return dropped(errNotInRoom), nil
	}
	if err != nil {
		return Receipt{}, err
	}
	last, err := b.event(now.Event)
	if err != nil {
		return Receipt{}, err
	}
	// Who ends an invite or knock names it. What does not was said before it and came late: an unban, then the invite.
	if !slices.Contains(pdu.AuthEvents, last.ID) {
		return dropped(errNotInRoom), nil
	}
	// Whoever invited may take it back; a knock is answered by the server it went through, which we can not name: by origin.
	if pdu.Sender.Server() != origin || now.Membership == store.Invited && last.Sender.Server() != origin {
		return dropped(errNotInRoom), nil
	}
	ev, err := b.outside(pdu, user, store.ParseMembership(pdu.Membership()), nil)
	if err != nil {
		return Receipt{}, err
	}
	return Receipt{Outcome: AcceptedNow, Event: ev}, nil
}
