package room

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"

	"konsil/homeserver/room/auth"
	"konsil/homeserver/room/dag"
	"konsil/homeserver/store"
	"konsil/matrix/canonical"
	"konsil/matrix/event"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
)

// proposal is an event of a local user before it is built.
type proposal struct {
	typ     string
	key     *string
	sender  id.UserID
	content []byte
	redacts id.EventID
	ts      int64 // 0: now
	txn     string
}

// ground is what an event is built on where that is not all of the head.
type ground struct {
	prev  []dag.Extremity
	state state
}

// build makes and signs an event on the head, or on a ground if there is one. It is neither authorised nor stored.
func (b *batch) build(p proposal, on *ground) (*event.PDU, []*Event, error) {
	h := &b.head
	t := event.Template{RoomID: h.room, Sender: p.sender, Type: p.typ, StateKey: p.key, Content: p.content, Redacts: p.redacts,
		OriginServerTS: p.ts}
	if t.OriginServerTS == 0 {
		t.OriginServerTS = b.e.now()
	}
	if p.typ == event.TypeCreate && h.version.HashedRoomID {
		t.RoomID = "" // RV 12 rule 1.2
	}
	prev := dag.SelectPrev(h.tips())
	if on != nil {
		prev = on.prev
	}
	for _, x := range prev {
		t.PrevEvents = append(t.PrevEvents, x.ID)
	}
	t.Depth = dag.NextDepth(h.version, prev)
	cited, err := b.authEvents(p, on)
	if err != nil {
		return nil, nil, err
	}
	for _, ev := range cited {
		t.AuthEvents = append(t.AuthEvents, ev.ID)
	}
	if !h.version.HashedEventIDs() { // RV 1 #event-format
		t.ID, err = id.NewEventID(b.e.cfg.Rand, b.e.cfg.Server)
		if err != nil {
			return nil, nil, err
		}
		t.Hashes = map[id.EventID]string{}
		for _, ev := range slices.Concat(h.extremities, cited) {
			t.Hashes[ev.ID] = ev.ReferenceHash()
		}
	}
	pdu, err := event.Build(h.version, t, b.e.cfg.Server, b.e.cfg.Key)
	switch {
	case errors.Is(err, event.ErrTooLarge):
		return nil, nil, mxerr.TooLarge("The event is too large") // CS v1.16 #size-limits
	case errors.Is(err, event.ErrMalformed):
		return nil, nil, mxerr.BadJSON("The content can not be part of an event of this room")
	case err != nil:
		return nil, nil, fmt.Errorf("build event: %w", err)
	}
	return pdu, cited, nil
}

// authEvents finds the auth events of a proposal in the current state, or in that of a ground.
func (b *batch) authEvents(p proposal, on *ground) ([]*Event, error) {
	var evs []*Event
	for _, slot := range auth.Selection(b.head.version, p.typ, p.key, p.sender, p.content) {
		var ev *Event
		var err error
		if on != nil {
			if ev, err = b.lookup(on.state, slot); err != nil {
				return nil, err
			}
		} else if field := b.head.special(slot); field != nil {
			ev = *field
		} else if ev, err = b.inState(slot); err != nil {
			return nil, err
		}
		if ev != nil {
			evs = append(evs, ev)
		}
	}
	return evs, nil
}

// send builds an event, asks the rules, and puts it at the end of the room.
func (b *batch) send(p proposal) (*Event, error) {
	if len(b.head.extremities) > event.MaxPrevEvents {
		return b.sendAmongMany(p)
	}
	pdu, cited, err := b.build(p, nil)
	if err != nil {
		return nil, err
	}
	if err := b.permit(pdu); err != nil {
		return nil, err
	}
	return b.extend(pdu, cited, p.txn)
}

// sendAmongMany is send where the room has more ends than an event can follow: it stands on those it names and on nothing else, as every
// other server will see it. A12
func (b *batch) sendAmongMany(p proposal) (*Event, error) {
	on := ground{prev: dag.SelectPrev(b.head.tips())}
	snaps := map[int64]bool{}
	for _, x := range on.prev {
		ev, err := b.find(x.ID)
		if err != nil {
			return nil, err
		}
		snaps[ev.StateAfter] = true
	}
	before, err := b.mergeStates(slices.Sorted(maps.Keys(snaps)))
	if err != nil {
		return nil, err
	}
	on.state = before.state
	pdu, _, err := b.build(p, &on)
	if err != nil {
		return nil, err
	}
	if err := b.permit(pdu); err != nil {
		return nil, err
	}
	receipt, err := b.receive(b.e.cfg.Server, pdu, nil)
	if err != nil {
		return nil, err
	}
	if receipt.Outcome != AcceptedNow {
		return nil, refusal(receipt.Reason)
	}
	if receipt.Event.Txn = p.txn; p.txn != "" {
		b.byTxn[p.txn] = receipt.Event.ID
	}
	return receipt.Event, nil
}

// permit asks the rules if the current state allows an event; the refusal is one for clients.
func (b *batch) permit(pdu *event.PDU) error {
	return refusal(b.view().authorize(pdu))
}

// refusal makes the verdict of the rules an answer for clients.
func refusal(err error) error {
	var r *auth.Refusal
	if errors.As(err, &r) {
		return mxerr.Forbidden("Not allowed by rule %s of the room version: %s", r.Rule, r.Reason)
	}
	return err
}

// extend puts an event of ours at the end of the room: it follows all that its head has, or the newest of that.
func (b *batch) extend(pdu *event.PDU, cited []*Event, txn string) (*Event, error) {
	h := &b.head
	ev := &Event{PDU: pdu, EventMeta: store.EventMeta{
		NID: b.e.store.NextNID(), RoomNID: h.nid, Topo: h.topo + 1, Status: store.Accepted, Txn: txn,
		StateBefore: h.snap.nid, StateAfter: h.snap.nid, Auth: nidsOf(cited),
	}}
	w := &write{ev: ev, live: true, relation: relationOf(ev)}
	// Registered first: the state that follows names it.
	b.register(w)
	if pdu.IsState() {
		if err := b.setState(w); err != nil {
			return nil, err
		}
		ev.StateAfter = h.snap.nid
	}
	ev.RoomState = h.snap.nid
	h.advance(ev, nil, false)
	return ev, nil
}

// register adds an event to store.
func (b *batch) register(w *write) {
	b.writes = append(b.writes, w)
	b.events[w.ev.NID] = w.ev
	b.ids[w.ev.ID] = w.ev
	if w.ev.Txn != "" {
		b.byTxn[w.ev.Txn] = w.ev.ID
	}
}

// setState makes an event part of the current state.
func (b *batch) setState(w *write) error {
	h := &b.head
	slot, err := b.slot(w.ev.Slot())
	if err != nil {
		return err
	}
	w.ev.SlotNID = slot
	w.ev.Replaces = h.state.get(slot)
	c, err := b.changeOf(slot, w.ev.Slot(), w.ev)
	if err != nil {
		return err
	}
	b.applyChange(w, c)
	h.snap, err = b.follow(h.snap, []store.Entry{{Slot: slot, Event: w.ev.NID}}, h.state.entries, h.state.size())
	return err
}

// changeOf describes what putting ev (nil: nothing) into a slot changes.
func (b *batch) changeOf(slot int64, key id.Slot, ev *Event) (change, error) {
	c := change{slot: slot, key: key, ev: ev, prev: b.head.state.get(slot)}
	if key.Type != event.TypeMember {
		return c, nil
	}
	if c.prev != 0 {
		prev, err := b.event(c.prev)
		if err != nil {
			return c, err
		}
		c.was = store.ParseMembership(prev.Membership())
	}
	if ev != nil {
		c.is = store.ParseMembership(ev.Membership())
	}
	return c, nil
}

func (b *batch) applyChange(w *write, c change) {
	b.head.apply(c, b.e.cfg.Server)
	w.changes = append(w.changes, c)
	if c.key.Type != event.TypeMember || c.was == c.is {
		return
	}
	user := id.UserID(c.key.StateKey)
	if !b.e.local(user) {
		return
	}
	b.joins = append(b.joins, membershipMove{user, c.is == store.Joined})
	if c.is != store.Joined {
		b.gone = append(b.gone, user)
	}
}

func nidsOf(evs []*Event) []int64 {
	nids := make([]int64, len(evs))
	for i, ev := range evs {
		nids[i] = ev.NID
	}
	return nids
}

// relationOf reads what an event relates to. CS v1.16 #forming-relationships-between-events
func relationOf(ev *Event) *store.Relation {
	if ev.IsState() || !bytes.Contains(ev.Content, []byte(`"m.relates_to"`)) {
		return nil
	}
	rel, ok := canonical.GetString(ev.Content, "m.relates_to", "rel_type")
	parent, found := canonical.GetString(ev.Content, "m.relates_to", "event_id")
	if !ok || !found || len(rel) > event.MaxField {
		return nil
	}
	if _, err := id.ParseEventID(parent); err != nil {
		return nil
	}
	return &store.Relation{Parent: id.EventID(parent), Child: ev.NID, Room: ev.RoomNID, Rel: rel, Type: ev.Type, Sender: ev.Sender}
}
