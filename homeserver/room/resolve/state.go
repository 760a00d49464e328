package resolve

import (
	"cmp"
	"fmt"
	"slices"

	"konsil/homeserver/room/auth"
	"konsil/matrix/event"
	"konsil/matrix/id"
)

// state is the state that the iterative auth checks build: what was applied, above a base. It is also the auth.State
// against which the event at hand is checked. RV 12 #definitions
type state struct {
	*resolution
	base []Entry
	// applied, of the arena, lists what was applied in that order; a slot may occur again. holder, of the arena, gives the
	// node in a slot, of what was applied and what the base was asked for.

	ev         int32 // the event at hand
	err        error // of reading what the check asked for
	rule       auth.JoinRule
	ruleOf     int32 // the event that rule was read from, plus 1
	memberSlot map[id.UserID]int64
}

func newState(r *resolution, base []Entry) *state {
	r.holder.clear(len(r.conflicted))
	return &state{resolution: r, base: base}
}

// apply is the iterative auth checks algorithm: events that are allowed enter the state, the others are passed by.
func (st *state) apply(list []int32) error {
	if err := st.prefetch(list); err != nil {
		return err
	}
	for _, i := range list {
		if st.allows(i) {
			st.put(i)
		}
		if st.err != nil {
			return st.err
		}
	}
	return nil
}

// allows checks an event against the state as it is.
func (st *state) allows(i int32) bool {
	st.ev = i
	return auth.Authorize(st.nodes[i].ev, st) == nil && st.err == nil
}

// put enters an event into the state.
func (st *state) put(i int32) {
	st.holder.set(st.nodes[i].slot, i)
	st.applied = append(st.applied, Entry{st.nodes[i].slot, st.nodes[i].num})
}

// prefetch reads in one go what most checks will ask for: what the state holds in the slots of the auth events, else the
// auth events themselves.
func (st *state) prefetch(list []int32) error {
	if err := st.linkAuth(list); err != nil {
		return err
	}
	var ask []int32
	for _, i := range list {
		for _, a := range st.auth(i) {
			n := &st.nodes[a]
			if n.is(fetched) {
				continue
			}
			n.flags |= fetched
			switch holder := st.inState(n.slot); {
			case n.ev != nil && holder < 0:
			case holder >= 0:
				ask = append(ask, holder)
			case !n.is(rejected):
				ask = append(ask, a)
			}
		}
	}
	st.clear(fetched)
	return st.read(ask)
}

// inState is what the state holds in a slot, -1 for nothing.
func (st *state) inState(slot int64) int32 {
	if slot == 0 {
		return -1 // no event ever was in it
	}
	if i := st.holder.get(slot); i >= 0 {
		return i
	}
	num := find(st.base, slot)
	if num == 0 {
		return -1
	}
	i := st.add(num)
	st.holder.set(slot, i) // so that it is found at once the next time
	return i
}

// holding is what the event at hand is checked against in a slot: what the state holds, else the event's own auth event
// if that was not rejected. The event is read.
func (st *state) holding(slot int64) *node {
	if slot == 0 || st.err != nil {
		return nil
	}
	i := st.inState(slot)
	if i < 0 {
		if i = st.authIn(st.ev, slot); i < 0 || st.nodes[i].is(rejected) {
			return nil
		}
	}
	if st.nodes[i].ev == nil {
		if st.err = st.read([]int32{i}); st.err != nil {
			return nil
		}
	}
	return &st.nodes[i]
}

// Create implements auth.State: a room has one create event, in every state of it.
func (st *state) Create() *auth.Create { return st.create }

// PowerLevels implements auth.State.
func (st *state) PowerLevels() *auth.PowerLevels {
	n := st.holding(st.levelsSlot)
	if n == nil {
		return nil
	}
	return st.levels(st.index.get(n.num))
}

// JoinRule implements auth.State.
func (st *state) JoinRule() auth.JoinRule {
	n := st.holding(st.rulesSlot)
	if n == nil {
		return auth.RuleInvite
	}
	if i := st.index.get(n.num) + 1; st.ruleOf != i {
		st.ruleOf, st.rule = i, auth.ParseJoinRules(n.ev.Content).Rule
	}
	return st.rule
}

// Membership implements auth.State.
func (st *state) Membership(user id.UserID) auth.Membership {
	if n := st.holding(st.slotOf(user)); n != nil {
		return auth.ParseMembership(n.ev.Membership())
	}
	return auth.NotMember
}

// slotOf is the number of a user's member slot. Mostly the user is whom the event at hand is about.
func (st *state) slotOf(user id.UserID) int64 {
	n := &st.nodes[st.ev]
	if n.ev.Type == event.TypeMember && n.ev.StateKey != nil && *n.ev.StateKey == string(user) {
		return n.slot
	}
	if slot, done := st.memberSlot[user]; done {
		return slot
	}
	slot := st.number(id.Slot{Type: event.TypeMember, StateKey: string(user)})
	if st.memberSlot == nil {
		st.memberSlot = make(map[id.UserID]int64)
	}
	st.memberSlot[user] = slot
	return slot
}

func (st *state) number(slot id.Slot) int64 {
	num, err := st.src.Slot(slot)
	if err != nil && st.err == nil {
		st.err = fmt.Errorf("number of a slot: %w", err)
	}
	return num
}

// ThirdPartyInvite implements auth.State.
func (st *state) ThirdPartyInvite(token string) *auth.ThirdPartyInvite {
	if n := st.holding(st.number(id.Slot{Type: event.TypeThirdPartyInvite, StateKey: token})); n != nil {
		return auth.ParseThirdPartyInvite(n.ev)
	}
	return nil
}

// over is the state with another one laid over it, sorted.
func (st *state) over(top []Entry) []Entry {
	last := st.applied[:0] // of each slot the event applied last
	for _, e := range st.applied {
		if st.nodes[st.holder.get(e.Slot)].num == e.Event {
			last = append(last, e)
		}
	}
	slices.SortFunc(last, func(a, b Entry) int { return cmp.Compare(a.Slot, b.Slot) })

	merged := make([]Entry, 0, len(top)+len(last))
	for _, e := range last {
		i, _ := slices.BinarySearchFunc(top, e.Slot, func(t Entry, slot int64) int { return cmp.Compare(t.Slot, slot) })
		merged = append(merged, top[:i]...)
		if top = top[i:]; len(top) == 0 || top[0].Slot != e.Slot {
			merged = append(merged, e)
		}
	}
	return append(merged, top...)
}
