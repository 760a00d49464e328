package dag

import (
	"cmp"
	"slices"

	"konsil/matrix/event"
	"konsil/matrix/id"
	"konsil/matrix/roomver"
)

// Extremity is a forward extremity: an accepted event that nothing accepted refers to yet.
type Extremity struct {
	ID    id.EventID
	Depth int64
}

// Advance gives the forward extremities after an event has been accepted: those it follows are none any more, itself
// is one, unless something accepted refers to it already (it came late). Rejected and soft-failed events do not get here:
// they leave the extremities as they are. But behind names what the event follows by way of them. The result is sorted by
// ID. SS v1.16 #soft-failure
func Advance(current []Extremity, ev *event.PDU, behind []id.EventID, referenced bool) []Extremity {
	next := make([]Extremity, 0, len(current)+1)
	for _, e := range current {
		if e.ID != ev.ID && !slices.Contains(ev.PrevEvents, e.ID) && !slices.Contains(behind, e.ID) {
			next = append(next, e)
		}
	}
	if !referenced {
		next = append(next, Extremity{ev.ID, ev.Depth})
	}
	slices.SortFunc(next, func(a, b Extremity) int { return cmp.Compare(a.ID, b.ID) })
	return next
}

// SelectPrev chooses the prev events of a new event: all extremities while they are few. Of more than a PDU can name, it
// takes half from the deepest, so that the event stands on the newest state, and half from the shallowest, which nobody
// else will tie up: each event sent makes the heap smaller. SS v1.16 #pdus
func SelectPrev(extremities []Extremity) []Extremity {
	if len(extremities) <= event.MaxPrevEvents {
		return extremities
	}
	sorted := slices.Clone(extremities)
	slices.SortFunc(sorted, func(a, b Extremity) int {
		return cmp.Or(cmp.Compare(b.Depth, a.Depth), cmp.Compare(a.ID, b.ID))
	})
	const half = event.MaxPrevEvents / 2
	return append(sorted[:half], sorted[len(sorted)-half:]...)
}

// NextDepth is the depth of an event that follows others: one more than the deepest, up to the version's limit, where a
// hostile server may have driven it. SS v1.16 #pdus
func NextDepth(v *roomver.Version, prev []Extremity) int64 {
	deepest := int64(0)
	for _, e := range prev {
		deepest = max(deepest, e.Depth)
	}
	limit := event.MaxDepth(v)
	if deepest >= limit {
		return limit
	}
	return deepest + 1
}
