package resolve

import (
	"bytes"
	"cmp"
	"crypto/sha1"
	"slices"

	"konsil/matrix/event"
)

// version1 is state resolution 1. What it decides later does not look at what it decided for other slots of the same
// round, so the order of slots does not matter. RV 1 #state-resolution
func (r *resolution) version1() ([]Entry, error) {
	if err := r.slots(); err != nil {
		return nil, err
	}
	all := make([]int32, len(r.conflicted))
	for k, c := range r.conflicted {
		all[k] = c.node
	}
	if err := r.link(all); err != nil {
		return nil, err
	}
	if err := r.read(all); err != nil {
		return nil, err
	}
	for _, i := range all {
		r.nodes[i].auths = 0 // nothing counts but the states
	}
	groups := r.bySlot()
	st := newState(r, r.unconflicted)
	rounds := []struct {
		of   func(ev *event.PDU) bool
		pick func(st *state, group []int32) (int32, error)
	}{
		{func(ev *event.PDU) bool { return ev.Type == event.TypePowerLevels }, (*state).lastAllowed},
		{func(ev *event.PDU) bool { return ev.Type == event.TypeJoinRules }, (*state).lastAllowed},
		{func(ev *event.PDU) bool { return ev.Type == event.TypeMember }, (*state).lastAllowed},
		{func(*event.PDU) bool { return true }, (*state).deepestAllowed},
	}
	for _, round := range rounds {
		var picked []int32
		groups = slices.DeleteFunc(groups, func(group []int32) bool {
			if st.err != nil || !round.of(r.nodes[group[0]].ev) {
				return false
			}
			i, err := round.pick(st, group)
			if st.err = err; i >= 0 {
				picked = append(picked, i)
			}
			return true
		})
		if st.err != nil {
			return nil, st.err
		}
		for _, i := range picked {
			st.put(i)
		}
	}
	return st.over(r.unconflicted), nil
}

// bySlot sorts the conflicted events of each slot by ascending depth, then descending SHA-1 of the event ID.
func (r *resolution) bySlot() [][]int32 {
	var groups [][]int32
	for k := 0; k < len(r.conflicted); {
		var group []int32
		for slot := r.conflicted[k].slot; k < len(r.conflicted) && r.conflicted[k].slot == slot; k++ {
			group = append(group, r.conflicted[k].node)
		}
		slices.SortFunc(group, func(a, b int32) int {
			x, y := r.nodes[a].ev, r.nodes[b].ev
			if c := cmp.Compare(x.Depth, y.Depth); c != 0 {
				return c
			}
			hx, hy := sha1.Sum([]byte(x.ID)), sha1.Sum([]byte(y.ID))
			return bytes.Compare(hy[:], hx[:])
		})
		groups = append(groups, group)
	}
	return groups
}

// lastAllowed goes up from the lowest event as long as each is allowed after the one before.
func (st *state) lastAllowed(group []int32) (int32, error) {
	best := group[0]
	slot := st.nodes[best].slot
	before := st.holder.get(slot)
	for _, i := range group[1:] {
		st.holder.set(slot, best)
		if !st.allows(i) {
			break
		}
		best = i
	}
	st.holder.set(slot, before)
	return best, st.err
}

// deepestAllowed is the deepest event that is allowed, -1 if none is.
func (st *state) deepestAllowed(group []int32) (int32, error) {
	for _, i := range slices.Backward(group) {
		if st.allows(i) {
			return i, st.err
		}
	}
	return -1, st.err
}
