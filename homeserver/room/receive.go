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

// Refusals of received events that are no matter of the authorisation rules.
var (
	errNotInRoom     = errors.New("we are not in the room")
	errOtherVersion  = errors.New("the event is not of the room's version")
	errOtherRoom     = errors.New("the event is known in another room, or refers to one")
	errSecondCreate  = errors.New("the room has a create event already")
	errFollowsNone   = errors.New("the event follows nothing")
	errWithoutState  = errors.New("no state can be found for the event")
	errRejectedEarly = errors.New("the event was rejected before")
)

// Receive admits a PDU. Its signatures are verified, and it is redacted if its hash does not match; the room's server ACL was
// asked. SS v1.16 #checks-performed-on-receipt-of-a-pdu
func (e *Engine) Receive(ctx context.Context, origin id.ServerName, pdu *event.PDU) (Receipt, error) {
	receipts, err := e.ReceiveAll(ctx, origin, pdu.RoomID, []*event.PDU{pdu})
	if err != nil {
		return Receipt{}, err
	}
	return receipts[0], nil
}

// ReceiveAll admits events of one room, one after another, in one transaction. One that is refused does not touch the others.
func (e *Engine) ReceiveAll(ctx context.Context, origin id.ServerName, room id.RoomID, pdus []*event.PDU) ([]Receipt, error) {
	var receipts []Receipt
	err := e.change(ctx, room, func(b *batch) error {
		receipts = make([]Receipt, len(pdus))
		for i, pdu := range pdus {
			m := b.mark()
			r, err := b.receive(origin, pdu, nil)
			if err != nil {
				return fmt.Errorf("receive event: %w", err)
			}
			if receipts[i] = r; r.Event == nil {
				b.undo(m)
			}
		}
		return nil
	})
	return receipts, err
}

// ReceiveWithState is Receive for an event whose prev events stay missing: state names the state before it (from /state_ids); the
// events of it were handed to Outliers before.
func (e *Engine) ReceiveWithState(ctx context.Context, origin id.ServerName, pdu *event.PDU, state []id.EventID) (Receipt, error) {
	var receipt Receipt
	if state == nil {
		state = []id.EventID{}
	}
	err := e.change(ctx, pdu.RoomID, func(b *batch) (err error) {
		m := b.mark()
		if receipt, err = b.receive(origin, pdu, state); err == nil && receipt.Event == nil {
			b.undo(m)
		}
		return err
	})
	return receipt, err
}

func dropped(reason error) Receipt { return Receipt{Outcome: Reject, Reason: reason} }

// receive is steps 4 to 6 of the checks; 1 to 3 (format, signatures, hash) are done. given is the state before the event where
// its prev events can not be had, nil otherwise.
func (b *batch) receive(origin id.ServerName, pdu *event.PDU, given []id.EventID) (Receipt, error) {
	if b.head.snap.nid == 0 || !b.head.here() {
		return b.receiveOutside(origin, pdu)
	}
	in, r, err := b.arrive(pdu)
	if in == nil || err != nil {
		return r, err
	}
	refused, missing, err := b.byAuthEvents(in) // step 4
	switch {
	case err != nil:
		return Receipt{}, err
	case len(missing) > 0:
		// What lies before the event often holds its auth events too, so both are named.
		r := Receipt{Outcome: Deferred, MissingAuth: missing}
		if given == nil {
			r.MissingPrev, err = b.missingPrev(in.pdu)
		}
		return r, err
	case refused != nil:
		return b.rejectEarly(in, refused)
	}
	before, missing, err := b.stateBefore(in, given)
	switch {
	case errors.Is(err, errOtherRoom) || errors.Is(err, errWithoutState):
		return dropped(err), nil
	case err != nil:
		return Receipt{}, err
	case len(missing) > 0:
		return Receipt{Outcome: Deferred, MissingPrev: missing}, nil
	}
	in.before = before
	if refused, err := b.against(in.pdu, before); err != nil { // step 5
		return Receipt{}, err
	} else if refused != nil {
		return b.reject(in, refused)
	}
	if before.snap.nid != b.head.snap.nid { // step 6
		if err := b.view().authorize(in.pdu); err != nil {
			var refused *auth.Refusal
			if !errors.As(err, &refused) {
				return Receipt{}, err
			}
			return b.softFail(in, refused)
		}
	}
	return b.accept(in)
}

// incoming is an event on its way in.
type incoming struct {
	pdu    *event.PDU
	known  *Event // the outlier that it was so far, or nil
	cited  []*Event
	prev   []*Event
	before stored
}

// stored is a state with its snapshot.
type stored struct {
	state state
	snap  snapshot
}

// arrive looks at what needs no state. A nil incoming ends the matter with the receipt.
func (b *batch) arrive(pdu *event.PDU) (*incoming, Receipt, error) {
	switch {
	case pdu.Version != b.head.version:
		return nil, dropped(errOtherVersion), nil
	case pdu.RoomID != b.head.room:
		return nil, dropped(errOtherRoom), nil
	}
	known, err := b.find(pdu.ID)
	if err != nil {
		return nil, Receipt{}, err
	}
	in := &incoming{pdu: pdu}
	if known != nil {
		switch {
		case known.RoomNID != b.head.nid:
			return nil, dropped(errOtherRoom), nil
		case known.Status == store.Rejected:
			return nil, Receipt{Outcome: Reject, Reason: errRejectedEarly, Event: known}, nil
		case known.Status != store.Outlier:
			return nil, Receipt{Outcome: KnownAlready, Event: known}, nil
		}
		// The bytes we have stay: in room versions 1 and 2 a server can send two events with one ID.
		in.known, in.pdu = known, known.PDU
	}
	switch {
	case pdu.IsCreate(): // the room's own is stored, so it is another. A13
		return nil, dropped(errSecondCreate), nil
	case len(in.pdu.PrevEvents) == 0: // A12
		return nil, dropped(errFollowsNone), nil
	}
	return in, Receipt{}, nil
}

// byAuthEvents checks an event against its own auth events. SS v1.16 #checks-performed-on-receipt-of-a-pdu step 4
func (b *batch) byAuthEvents(in *incoming) (refused error, missing []id.EventID, err error) {
	in.cited = in.cited[:0]
	for _, evID := range in.pdu.AuthEvents {
		if evID == in.pdu.ID {
			return &auth.Refusal{Rule: "2", Reason: "the event names itself as an auth event"}, nil, nil
		}
		ev, err := b.find(evID)
		if err != nil {
			return nil, nil, err
		}
		if ev == nil {
			missing = append(missing, evID)
		} else {
			in.cited = append(in.cited, ev)
		}
	}
	if len(missing) > 0 {
		return nil, missing, nil
	}
	return checkCited(in.pdu, in.cited, b.head.create), nil, nil
}

// checkCited applies the rules to an event and its auth events. The result is nil or a *auth.Refusal.
func checkCited(pdu *event.PDU, evs []*Event, create *auth.Create) error {
	cited := make([]auth.Cited, len(evs))
	for i, ev := range evs {
		cited[i] = auth.Cited{PDU: ev.PDU, Rejected: ev.Status == store.Rejected}
	}
	if err := auth.CheckAuthEvents(pdu, cited, create); err != nil {
		return err
	}
	return auth.Authorize(pdu, auth.AuthEventState(cited, create))
}

// against checks an event against a state.
func (b *batch) against(pdu *event.PDU, st stored) (refused, err error) {
	view := b.view()
	if st.snap.nid != b.head.snap.nid {
		if view, err = b.viewOf(st.state); err != nil {
			return nil, err
		}
	}
	err = view.authorize(pdu)
	var r *auth.Refusal
	if errors.As(err, &r) {
		return r, nil
	}
	return nil, err
}

// stateBefore finds the state that an event met: that after its prev events, resolved where they differ.
// missing are prev events whose state we do not have; given takes their place. RV 12 #state-resolution
func (b *batch) stateBefore(in *incoming, given []id.EventID) (st stored, missing []id.EventID, err error) {
	snaps := map[int64]bool{}
	for _, evID := range in.pdu.PrevEvents {
		ev, err := b.find(evID)
		switch {
		case err != nil:
			return st, nil, err
		case !hasState(ev):
			missing = append(missing, evID)
		case ev.RoomNID != b.head.nid:
			return st, nil, errOtherRoom
		case ev.StateAfter == 0: // rejected by its own auth events: nothing is known of the state around it
			return st, nil, errWithoutState
		default:
			snaps[ev.StateAfter] = true
			in.prev = append(in.prev, ev)
		}
	}
	if len(missing) > 0 && given == nil {
		return st, missing, nil
	}
	if given != nil && len(missing) > 0 {
		st, lacking, err := b.givenState(given)
		if err != nil || len(lacking) > 0 {
			return st, lacking, err
		}
		snaps[st.snap.nid] = true
	}
	st, err = b.mergeStates(slices.Sorted(maps.Keys(snaps)))
	return st, nil, err
}

// missingPrev lists the prev events whose state is not known.
func (b *batch) missingPrev(pdu *event.PDU) (missing []id.EventID, err error) {
	for _, evID := range pdu.PrevEvents {
		ev, err := b.find(evID)
		if err != nil {
			return nil, err
		}
		if !hasState(ev) {
			missing = append(missing, evID)
		}
	}
	return missing, nil
}

// hasState reports whether the state around an event is settled: known, or known to be unknowable.
func hasState(ev *Event) bool {
	return ev != nil && (ev.StateAfter != 0 || ev.Status == store.Rejected)
}

// givenState makes a state of the events another server named. What is unknown is told as missing; what may be no state is left out.
func (b *batch) givenState(ids []id.EventID) (st stored, missing []id.EventID, err error) {
	evs, err := b.e.Events(b.ctx, ids)
	if err != nil {
		return st, nil, err
	}
	found := make(map[id.EventID]bool, len(evs))
	slots := map[int64]int64{}
	for _, ev := range evs {
		found[ev.ID] = true
		if _, taken := slots[ev.SlotNID]; ev.RoomNID == b.head.nid && ev.SlotNID != 0 && ev.usable() && !taken {
			slots[ev.SlotNID] = ev.NID
		}
	}
	for _, evID := range ids {
		if !found[evID] {
			missing = append(missing, evID)
		}
	}
	if len(missing) > 0 {
		return st, missing, nil
	}
	st, err = b.storeState(entriesOf(slots))
	if err == nil && b.head.createEv != nil && st.state.get(b.head.createEv.SlotNID) == 0 {
		err = errWithoutState
	}
	return st, nil, err
}

func entriesOf(slots map[int64]int64) []store.Entry {
	entries := make([]store.Entry, 0, len(slots))
	for slot, ev := range slots {
		entries = append(entries, store.Entry{Slot: slot, Event: ev})
	}
	store.SortEntries(entries)
	return entries
}

// storeState adds a state, as what it differs from the current one by.
func (b *batch) storeState(entries []store.Entry) (stored, error) {
	h := &b.head
	diff := difference(h.state.entries(), entries)
	if len(diff) == 0 {
		return stored{h.state, h.snap}, nil
	}
	snap, err := b.follow(h.snap, diff, func() []store.Entry { return entries }, len(entries))
	return stored{stateOf(entries), snap}, err
}

// mergeStates resolves the states of some snapshots into one.
func (b *batch) mergeStates(nids []int64) (stored, error) {
	if len(nids) == 0 {
		return stored{}, errWithoutState
	}
	if len(nids) == 1 {
		return b.stateOf(nids[0])
	}
	lists := make([][]store.Entry, len(nids))
	for i, nid := range nids {
		st, err := b.stateOf(nid)
		if err != nil {
			return stored{}, err
		}
		lists[i] = st.state.entries()
	}
	entries, err := b.resolve(lists)
	if err != nil {
		return stored{}, err
	}
	for i, list := range lists { // often one of them has won
		if slices.Equal(list, entries) {
			return b.stateOf(nids[i])
		}
	}
	return b.storeState(entries)
}

// stateOf reads the state of a snapshot; that of the head is at hand.
func (b *batch) stateOf(nid int64) (stored, error) {
	if nid == b.head.snap.nid {
		return stored{b.head.state, b.head.snap}, nil
	}
	snap, err := b.snapshotOf(nid)
	if err != nil {
		return stored{}, err
	}
	st, err := snapshots(b.snapshot).stateAt(b.ctx, nid)
	return stored{st, snap}, err
}
