package room

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"konsil/homeserver/room/auth"
	"konsil/homeserver/room/dag"
	"konsil/homeserver/store"
	"konsil/matrix/event"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
)

// outliers are events being added without a place in the room.
type outliers struct {
	b     *batch
	found map[id.EventID]*Event // known before, or added
	slots map[id.Slot]int64
}

// addOutliers authorises events against their own auth events and adds those that are new. missing are auth events that are
// neither here nor among them; what needs one of these is not added.
func (b *batch) addOutliers(pdus []*event.PDU) (o *outliers, missing []id.EventID, err error) {
	o = &outliers{b: b, found: make(map[id.EventID]*Event, len(pdus))}
	if err := o.prefetch(pdus); err != nil {
		return nil, nil, err
	}
	sorted, _ := dag.Sort(pdus, dag.Auth) // what goes in circles is left out
	for _, pdu := range sorted {
		if o.found[pdu.ID] != nil || pdu.RoomID != b.head.room || pdu.Version != b.head.version {
			continue
		}
		lacking, err := o.add(pdu)
		if err != nil {
			return nil, nil, err
		}
		missing = append(missing, lacking...)
	}
	return o, dag.Unique(missing), nil
}

// prefetch reads at once what is known of the events and their auth events, and the numbers of their slots.
func (o *outliers) prefetch(pdus []*event.PDU) error {
	b := o.b
	ids := make([]id.EventID, 0, len(pdus)*2)
	slots := make([]id.Slot, 0, len(pdus))
	for _, pdu := range pdus {
		ids = append(ids, pdu.ID)
		ids = append(ids, pdu.AuthEvents...)
		if pdu.IsState() {
			slots = append(slots, pdu.Slot())
		}
	}
	evs, err := b.e.Events(b.ctx, dag.Unique(ids))
	if err != nil {
		return err
	}
	for _, ev := range evs {
		if ev.RoomNID == b.head.nid {
			o.found[ev.ID] = ev
		}
	}
	for evID, ev := range b.ids {
		o.found[evID] = ev
	}
	nids, fresh, err := b.e.store.Slots().InternAll(b.ctx, slots)
	o.slots = nids
	b.slots = append(b.slots, fresh...)
	return err
}

func (o *outliers) add(pdu *event.PDU) (missing []id.EventID, err error) {
	b := o.b
	var cited []*Event
	for _, evID := range pdu.AuthEvents {
		if ev := o.found[evID]; ev != nil {
			cited = append(cited, ev)
		} else {
			missing = append(missing, evID)
		}
	}
	if len(missing) > 0 {
		return missing, nil
	}
	ev := &Event{PDU: pdu, EventMeta: store.EventMeta{NID: b.e.store.NextNID(), RoomNID: b.head.nid, Topo: min(pdu.Depth, 1<<53),
		Status: store.Outlier, Auth: nidsOf(cited)}}
	if pdu.IsState() {
		ev.SlotNID = o.slots[pdu.Slot()]
	}
	if err := o.check(pdu, cited); err != nil {
		ev.Status = store.Rejected
	} else if pdu.IsCreate() && b.head.create == nil {
		b.head.create = auth.ParseCreate(pdu)
	}
	w := &write{ev: ev}
	if err := b.applyPending(w); err != nil {
		return nil, err
	}
	b.register(w)
	o.found[pdu.ID] = ev
	return nil, nil
}

func (o *outliers) check(pdu *event.PDU, cited []*Event) error {
	create := o.b.head.create
	if pdu.IsCreate() && create != nil && create.EventID != pdu.ID {
		return errSecondCreate // A13
	}
	return checkCited(pdu, cited, create)
}

// Outliers stores auth chain and state events whose place in the room is unknown. Each is authorised against its own auth
// events; those that fail are stored as rejected. Events may come in any order; known ones are skipped. It answers what auth
// events are still missing.
func (e *Engine) Outliers(ctx context.Context, room id.RoomID, pdus []*event.PDU) (missing []id.EventID, err error) {
	err = e.change(ctx, room, func(b *batch) (err error) {
		if b.head.snap.nid == 0 {
			return ErrUnknownRoom
		}
		_, missing, err = b.addOutliers(pdus)
		return err
	})
	return missing, err
}

// Import makes (or makes again) a room that a local user has joined through another server. SS v1.16 #joining-rooms
func (e *Engine) Import(ctx context.Context, a JoinAnswer) error {
	if a.Join.RoomID != a.Room || a.Join.Membership() != event.Join || a.Join.StateKey == nil {
		return mxerr.InvalidParam("The event is not a join of the room")
	}
	return e.change(ctx, a.Room, func(b *batch) error {
		if b.head.nid == 0 {
			b.head.nid, b.head.version = e.store.NextNID(), a.Join.Version
		}
		if b.head.version != a.Join.Version {
			return mxerr.IncompatibleRoomVersion(a.Join.Version.ID)
		}
		if b.head.here() {
			return b.importBeside(a)
		}
		return b.importRoom(a)
	})
}

// importBeside admits the join into a room we are in: a restricted join that another server had to authorise.
func (b *batch) importBeside(a JoinAnswer) error {
	o, _, err := b.addOutliers(slices.Concat(a.AuthChain, a.State))
	if err != nil {
		return err
	}
	state := make([]id.EventID, 0, len(a.State))
	for _, pdu := range a.State {
		if o.found[pdu.ID] != nil {
			state = append(state, pdu.ID)
		}
	}
	r, err := b.receive(a.Origin, a.Join, nil)
	if err == nil && r.Outcome == Deferred {
		r, err = b.receive(a.Origin, a.Join, state)
	}
	if err != nil {
		return err
	}
	switch r.Outcome {
	case AcceptedNow, KnownAlready:
		return nil
	case Deferred:
		return errors.New("the answer to send_join lacks events")
	}
	return refusal(r.Reason)
}

// importRoom makes the room as the answer has it.
func (b *batch) importRoom(a JoinAnswer) error {
	h := &b.head
	b.leaveBehind()
	o, _, err := b.addOutliers(slices.Concat(a.AuthChain, a.State))
	if err != nil {
		return fmt.Errorf("import auth chain: %w", err)
	}
	entries, evs, err := o.stateOf(a.State)
	if err != nil {
		return err
	}
	h.state = stateOf(entries)
	h.snap = b.newChain(entries)
	in := &incoming{pdu: a.Join, before: stored{h.state, h.snap}}
	if in.known = o.found[a.Join.ID]; in.known != nil && in.known.Status != store.Outlier {
		return errOtherRoom
	}
	for _, evID := range a.Join.AuthEvents {
		if o.found[evID] == nil {
			return errors.New("the answer to send_join lacks an auth event of the join")
		}
		in.cited = append(in.cited, o.found[evID])
	}
	if err := checkCited(a.Join, in.cited, h.create); err != nil {
		return refusal(err)
	}
	w, err := b.admit(in, store.Accepted)
	if err != nil {
		return err
	}
	w.live = true
	w.ev.Topo = max(w.ev.Topo, h.topo+1)
	b.rebuilt = true
	b.fillHead(w, evs)
	if refused, err := b.against(a.Join, in.before); refused != nil || err != nil {
		return errors.Join(refusal(refused), err)
	}
	b.register(w)
	b.noteMissing(w)
	if err := b.setState(w); err != nil {
		return err
	}
	w.ev.StateAfter, w.ev.RoomState = h.snap.nid, h.snap.nid
	h.setExtremities([]*Event{w.ev})
	return nil
}

// leaveBehind empties the head of what was known of the room when we were in it before. Its history stays.
func (b *batch) leaveBehind() {
	h := &b.head
	*h = head{room: h.room, nid: h.nid, version: h.version, topo: h.topo, lastPos: h.lastPos, missing: h.missing,
		create: h.create, servers: map[id.ServerName]int{}}
}

// stateOf makes a state of the events an answer names, leaving out what failed. A room without its create event is none. A19
func (o *outliers) stateOf(pdus []*event.PDU) (entries []store.Entry, evs []*Event, err error) {
	slots := make(map[int64]int64, len(pdus))
	create := false
	for _, pdu := range pdus {
		ev := o.found[pdu.ID]
		if ev == nil || !ev.usable() || ev.SlotNID == 0 {
			continue
		}
		if _, taken := slots[ev.SlotNID]; taken {
			continue
		}
		slots[ev.SlotNID] = ev.NID
		evs = append(evs, ev)
		create = create || ev.IsCreate()
	}
	if !create {
		return nil, nil, mxerr.New(502, mxerr.CodeUnknown, "The other server's answer lacks the room's create event")
	}
	return entriesOf(slots), evs, nil
}

// fillHead makes the head's fields and the changes of the tables from a state, as changes of the event that brings it.
func (b *batch) fillHead(w *write, evs []*Event) {
	h := &b.head
	for _, ev := range evs {
		c := change{slot: ev.SlotNID, key: ev.Slot(), ev: ev}
		if field := h.special(c.key); field != nil {
			*field = ev
		}
		if ev.IsCreate() {
			h.create = auth.ParseCreate(ev.PDU)
		}
		if ev.Type == event.TypeMember {
			c.is = store.ParseMembership(ev.Membership())
			if c.is == store.Joined {
				user := id.UserID(c.key.StateKey)
				h.joined++
				h.servers[user.Server()]++
				if b.e.local(user) {
					h.local = append(h.local, user)
				}
			}
		}
		w.changes = append(w.changes, c)
	}
}
