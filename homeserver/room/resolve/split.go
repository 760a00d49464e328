package resolve

import (
	"math/bits"
	"slices"

	"konsil/matrix/roomver"
)

// candidate is an event of the conflicted state set.
type candidate struct {
	slot int64
	node int32
}

// distinct leaves each state once: forks often end in the same one, and there is nothing to resolve between equals.
func distinct(states [][]Entry) [][]Entry {
	kept := make([][]Entry, 0, len(states))
	for _, s := range states {
		if !slices.ContainsFunc(kept, func(k []Entry) bool { return slices.Equal(k, s) }) {
			kept = append(kept, s)
		}
	}
	return kept
}

// split walks all states at once, slot by slot. What all have alike is unconflicted; of the rest each event becomes a node
// that knows which states hold it. In version 1 states that lack a slot do not make it conflicted.
// RV 12 #definitions, RV 1 #state-resolution
func (r *resolution) split(states [][]Entry) {
	k := len(states)
	r.words = (k + 63) / 64
	longest := 0
	for _, s := range states {
		longest = max(longest, len(s))
	}
	r.unconflicted = make([]Entry, 0, longest)
	at := make([]int, k)
	for {
		r.agree(states, at)
		slot, any := nextSlot(states, at)
		if !any {
			r.conflicts()
			return
		}
		r.disagree(states, at, slot)
	}
}

// agree walks on as long as all states hold the same: most of the way.
func (r *resolution) agree(states [][]Entry, at []int) {
	for {
		if at[0] == len(states[0]) {
			return
		}
		e := states[0][at[0]]
		for i, s := range states[1:] {
			if at[i+1] == len(s) || s[at[i+1]] != e {
				return
			}
		}
		for i := range at {
			at[i]++
		}
		r.unconflicted = append(r.unconflicted, e)
	}
}

// disagree walks past a slot that not all states hold alike.
func (r *resolution) disagree(states [][]Entry, at []int, slot int64) {
	before := len(r.differing)
	same := true
	for i, s := range states {
		if at[i] < len(s) && s[at[i]].Slot == slot {
			r.differing = append(r.differing, holding{s[at[i]], i})
			same = same && s[at[i]] == r.differing[before].Entry
			at[i]++
		}
	}
	if same && r.version.StateRes == roomver.StateResV1 {
		r.unconflicted = append(r.unconflicted, r.differing[before].Entry)
		r.differing = r.differing[:before]
	}
}

// nextSlot is the smallest slot that the states have not been walked past.
func nextSlot(states [][]Entry, at []int) (slot int64, any bool) {
	for i, s := range states {
		if at[i] < len(s) && (!any || s[at[i]].Slot < slot) {
			slot, any = s[at[i]].Slot, true
		}
	}
	return slot, any
}

// holding says that a state holds an event in a slot over which the states differ.
type holding struct {
	Entry
	set int
}

// conflicts makes nodes of the conflicted state set.
func (r *resolution) conflicts() {
	r.index.clear(2 * len(r.differing))
	r.conflicted = make([]candidate, 0, len(r.differing))
	for _, h := range r.differing {
		n := r.add(h.Event)
		if !r.nodes[n].is(inConflict) {
			r.nodes[n].flags |= inConflict | inFull
			r.conflicted = append(r.conflicted, candidate{h.Slot, n})
		}
		r.mask(n)[h.set/64] |= 1 << (h.set % 64)
	}
}

// full reports whether all states reach a node.
func (r *resolution) full(n int32) bool {
	held := 0
	for _, w := range r.mask(n) {
		held += bits.OnesCount64(w)
	}
	return held == r.sets
}
