package resolve

import (
	"math/bits"
	"slices"
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
		slot, any := nextSlot(states, at)
		if !any {
			return
		}
		first, holders, same := int64(0), 0, true
		for i, s := range states {
			if at[i] == len(s) || s[at[i]].Slot != slot {
				continue
			}
			if holders++; holders == 1 {
				first = s[at[i]].Event
			} else if s[at[i]].Event != first {
				same = false
			}
		}
		agreed := same && (holders == k || r.loneIsAgreed())
		for i, s := range states {
			if at[i] == len(s) || s[at[i]].Slot != slot {
				continue
			}
			if !agreed {
				r.conflict(slot, s[at[i]].Event, i)
			}
			at[i]++
		}
		if agreed {
			r.unconflicted = append(r.unconflicted, Entry{slot, first})
		}
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

// conflict notes that a state holds an event in a slot over which the states differ.
func (r *resolution) conflict(slot, ev int64, set int) {
	n := r.add(ev)
	if !r.nodes[n].is(inConflict) {
		r.nodes[n].flags |= inConflict | inFull
		r.conflicted = append(r.conflicted, candidate{slot, n})
	}
	r.mask(n)[set/64] |= 1 << (set % 64)
}

// full reports whether all states reach a node.
func (r *resolution) full(n int32) bool {
	held := 0
	for _, w := range r.mask(n) {
		held += bits.OnesCount64(w)
	}
	return held == r.sets
}
