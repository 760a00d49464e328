package room

import (
	"context"
	"fmt"

	"konsil/homeserver/room/auth"
	"konsil/homeserver/store"
	"konsil/matrix/event"
	"konsil/matrix/id"
)

// batch is what one transaction will store of a room: built on a copy of its head, nothing visible before the commit.
type batch struct {
	ctx  context.Context
	e    *Engine
	head head
	// known is false while the room has no row.
	known bool
	// careful looks client transactions up in the store: a batch before this one failed.
	careful bool

	writes  []*write
	slots   []store.SlotRow
	snaps   []*store.Snapshot
	rebuilt bool // the current state was replaced as a whole
	touched bool // there is something to store besides writes

	// also runs at the end of the same transaction.
	also func(ctx context.Context, tx *store.Tx) error

	// Of a new room.
	published bool
	alias     *store.AliasRow

	events map[int64]*Event
	ids    map[id.EventID]*Event
	fresh  map[int64]*store.Snapshot
	byTxn  map[string]id.EventID
	gone   []id.UserID // local users who left with this batch: they are woken once more
	joins  []membershipMove
}

type membershipMove struct {
	user   id.UserID
	joined bool
}

// write is one event to store, with what it does to the tables beside.
type write struct {
	ev       *Event
	place    bool // the event is stored already and gets its place, or another status
	live     bool // gets the next position of the domain's order
	changes  []change
	relation *store.Relation
	redacts  *redacted
	awaits   id.EventID // redaction whose target is unknown
	arrived  bool       // somebody may have been missing it
	settled  bool       // redactions waited for it
	missing  []id.EventID
	guest    *guest
}

// redacted is a target and its redacted copy.
type redacted struct {
	ev *Event // the redacted value
	by int64
}

// guest is a local user's relation to a room we are not in.
type guest struct {
	user       id.UserID
	membership store.Membership
	stripped   []byte
}

func newBatch(ctx context.Context, e *Engine, room id.RoomID, h *head) *batch {
	b := &batch{ctx: ctx, e: e, events: map[int64]*Event{}, ids: map[id.EventID]*Event{}, fresh: map[int64]*store.Snapshot{}, byTxn: map[string]id.EventID{}}
	if h != nil {
		b.head, b.known = *h, true
	} else {
		b.head.room, b.head.servers = room, map[id.ServerName]int{}
	}
	return b
}

// mark is a state of the batch to go back to.
type mark struct {
	head                              head
	writes, slots, snaps, gone, joins int
	rebuilt, touched                  bool
}

func (b *batch) mark() mark {
	return mark{b.head, len(b.writes), len(b.slots), len(b.snaps), len(b.gone), len(b.joins), b.rebuilt, b.touched}
}

func (b *batch) undo(m mark) {
	for _, w := range b.writes[m.writes:] {
		delete(b.events, w.ev.NID)
		delete(b.ids, w.ev.ID)
		delete(b.byTxn, w.ev.Txn)
		if w.redacts != nil {
			delete(b.events, w.redacts.ev.NID)
			delete(b.ids, w.redacts.ev.ID)
		}
	}
	for _, w := range b.writes[:m.writes] { // what was redacted may be one of these
		if b.events[w.ev.NID] == nil {
			b.events[w.ev.NID], b.ids[w.ev.ID] = w.ev, w.ev
		}
	}
	for _, s := range b.snaps[m.snaps:] {
		delete(b.fresh, s.NID)
	}
	b.head = m.head
	b.writes, b.slots, b.snaps = b.writes[:m.writes], b.slots[:m.slots], b.snaps[:m.snaps]
	b.gone, b.joins = b.gone[:m.gone], b.joins[:m.joins]
	b.rebuilt, b.touched = m.rebuilt, m.touched
}

func (b *batch) empty() bool { return len(b.writes) == 0 && !b.touched }

// event reads an event of the batch or the store.
func (b *batch) event(nid int64) (*Event, error) {
	if ev := b.events[nid]; ev != nil {
		return ev, nil
	}
	return b.e.eventByNID(b.ctx, nid)
}

// find reads an event by ID; nil for an unknown one.
func (b *batch) find(evID id.EventID) (*Event, error) {
	if ev := b.ids[evID]; ev != nil {
		return ev, nil
	}
	ev, err := b.e.Event(b.ctx, evID)
	if err == ErrUnknownEvent {
		return nil, nil
	}
	return ev, err
}

// snapshot reads one snapshot of the batch or the store.
func (b *batch) snapshot(ctx context.Context, nid int64) (*store.Snapshot, error) {
	if s := b.fresh[nid]; s != nil {
		return s, nil
	}
	return b.e.snapshot(ctx, nid)
}

// slot gives the number of a slot; it is stored with the batch if it is new.
func (b *batch) slot(slot id.Slot) (int64, error) {
	row, stored, err := b.e.store.Slots().Intern(b.ctx, slot)
	if err != nil {
		return 0, err
	}
	if !stored {
		b.slots = append(b.slots, row)
	}
	return row.NID, nil
}

// inState finds the event in a slot of the current state; nil for an empty one.
func (b *batch) inState(slot id.Slot) (*Event, error) { return b.lookup(b.head.state, slot) }

func (b *batch) lookup(st state, slot id.Slot) (*Event, error) {
	nid, found, err := b.e.store.Slots().Find(b.ctx, slot)
	if err != nil || !found {
		return nil, err
	}
	ev := st.get(nid)
	if ev == 0 {
		return nil, nil
	}
	return b.event(ev)
}

// follow adds a snapshot: what comes after prev with some entries changed. full is the whole new state, for when a new chain
// starts. Entries are sorted by slot.
func (b *batch) follow(prev snapshot, changes []store.Entry, full func() []store.Entry, size int) (snapshot, error) {
	if prev.nid == 0 {
		return b.newChain(full()), nil
	}
	depth, parent := store.NextDepth(prev.depth)
	delta := changes
	nid, at := prev.nid, prev.depth
	for at > parent {
		s, err := b.snapshot(b.ctx, nid)
		if err != nil {
			return snapshot{}, fmt.Errorf("state %d: %w", nid, err)
		}
		delta = store.MergeEntries(s.Entries, delta, true)
		nid, at = s.Parent, at&(at-1)
	}
	if len(delta)*2 > size && len(delta) > 8 {
		return b.newChain(full()), nil
	}
	return b.addSnapshot(store.Snapshot{Depth: depth, Parent: nid, Entries: delta}), nil
}

func (b *batch) newChain(full []store.Entry) snapshot {
	return b.addSnapshot(store.Snapshot{Entries: full})
}

func (b *batch) addSnapshot(s store.Snapshot) snapshot {
	s.NID, s.Room = b.e.store.NextNID(), b.head.nid
	b.snaps = append(b.snaps, &s)
	b.fresh[s.NID] = &s
	return snapshot{s.NID, s.Depth}
}

// snapshotOf names a stored state.
func (b *batch) snapshotOf(nid int64) (snapshot, error) {
	if nid == 0 {
		return snapshot{}, nil
	}
	s, err := b.snapshot(b.ctx, nid)
	if err != nil {
		return snapshot{}, err
	}
	return snapshot{nid, s.Depth}, nil
}

// stateView shows a state to the authorisation rules. err keeps the first read that did not succeed.
type stateView struct {
	b      *batch
	st     state
	create *auth.Create
	head   *head // set where st is the current state: its parsed events are at hand
	err    error
}

func (b *batch) view() *stateView {
	return &stateView{b: b, st: b.head.state, create: b.head.create, head: &b.head}
}

func (b *batch) viewOf(st state) (*stateView, error) {
	v := &stateView{b: b, st: st}
	create, err := b.lookup(st, id.Slot{Type: event.TypeCreate})
	if err != nil {
		return nil, err
	}
	switch {
	case create == nil:
	case b.head.createEv != nil && create.NID == b.head.createEv.NID:
		v.create = b.head.create
	default:
		v.create = auth.ParseCreate(create.PDU)
	}
	return v, nil
}

func (v *stateView) slot(slot id.Slot) *Event {
	if v.head != nil {
		if field := v.head.special(slot); field != nil {
			return *field
		}
	}
	ev, err := v.b.lookup(v.st, slot)
	if err != nil && v.err == nil {
		v.err = err
	}
	return ev
}

// Create implements auth.State.
func (v *stateView) Create() *auth.Create { return v.create }

// PowerLevels implements auth.State.
func (v *stateView) PowerLevels() *auth.PowerLevels {
	ev := v.slot(id.Slot{Type: event.TypePowerLevels})
	if ev == nil || v.create == nil {
		return nil
	}
	return ev.powerLevels(v.create)
}

// JoinRule implements auth.State.
func (v *stateView) JoinRule() auth.JoinRule {
	ev := v.slot(id.Slot{Type: event.TypeJoinRules})
	if ev == nil {
		return auth.RuleInvite
	}
	return auth.ParseJoinRules(ev.Content).Rule
}

// Membership implements auth.State.
func (v *stateView) Membership(user id.UserID) auth.Membership {
	ev := v.slot(id.Slot{Type: event.TypeMember, StateKey: string(user)})
	if ev == nil {
		return auth.NotMember
	}
	return auth.ParseMembership(ev.Membership())
}

// ThirdPartyInvite implements auth.State.
func (v *stateView) ThirdPartyInvite(token string) *auth.ThirdPartyInvite {
	ev := v.slot(id.Slot{Type: event.TypeThirdPartyInvite, StateKey: token})
	if ev == nil {
		return nil
	}
	return auth.ParseThirdPartyInvite(ev.PDU)
}

// authorize asks the rules if an event is allowed; a refusal is an *auth.Refusal.
func (v *stateView) authorize(pdu *event.PDU) error {
	err := auth.Authorize(pdu, v)
	if v.err != nil {
		return v.err
	}
	return err
}
