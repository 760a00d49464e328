package resolve

import (
	"cmp"

	"konsil/homeserver/room/auth"
	"konsil/homeserver/room/dag"
)

// powerOrder picks the events that decide who may do what, with what allows them, and brings them into reverse
// topological power ordering. The rest of the full conflicted set comes back as it was.
// RV 2 #state-resolution, algorithm step 1
func (r *resolution) powerOrder(full []int32) (power, rest []int32, err error) {
	var from []int32
	for _, i := range full {
		if r.nodes[i].is(powerful) {
			from = append(from, i)
		}
	}
	if len(from) == 0 {
		return nil, full, nil
	}
	// The walk may pass through events outside the full conflicted set. They take part in the sorting, for they tell that
	// one event comes before another, and are taken out afterwards.
	chain, err := r.chain(from, r.oldest(full))
	if err != nil {
		return nil, nil, err
	}
	for _, i := range chain {
		if r.nodes[i].is(inFull) {
			r.nodes[i].flags |= inPower
		}
	}
	sorted, err := r.sortByPower(chain)
	if err != nil {
		return nil, nil, err
	}
	for _, i := range sorted {
		if r.nodes[i].is(inPower) {
			power = append(power, i)
		}
	}
	for _, i := range full {
		if !r.nodes[i].is(inPower) {
			rest = append(rest, i)
		}
	}
	return power, rest, nil
}

// sortByPower is the lexicographically smallest topological order, where greater power of the sender comes first, then
// the earlier time, then the smaller ID. Events outside the full conflicted set come as soon as they can: they only
// carry the order from one side of them to the other. RV 12 #definitions
func (r *resolution) sortByPower(list []int32) ([]int32, error) {
	levels, err := r.senderLevels(list)
	if err != nil {
		return nil, err
	}
	place := make(map[int32]int32, len(list))
	for p, i := range list {
		place[i] = int32(p)
	}
	before := make([][]int32, len(list))
	for p, i := range list {
		for _, a := range r.auth(i) {
			if q, inside := place[a]; inside {
				before[p] = append(before[p], q)
			}
		}
	}
	order := dag.Order(len(list), func(p int32) []int32 { return before[p] }, func(p, q int32) bool {
		a, b := &r.nodes[list[p]], &r.nodes[list[q]]
		if !a.is(inPower) || !b.is(inPower) {
			return !a.is(inPower) && b.is(inPower)
		}
		return cmp.Or(
			cmp.Compare(levels[q], levels[p]),
			cmp.Compare(a.ts, b.ts),
			cmp.Compare(a.ev.ID, b.ev.ID)) < 0
	})
	for p, q := range order {
		order[p] = list[q]
	}
	return order, nil
}

// senderLevels gives the power of each event's sender, by the power levels event that the event itself names.
func (r *resolution) senderLevels(list []int32) ([]int64, error) {
	var named []int32
	if err := r.linkAuth(list); err != nil {
		return nil, err
	}
	for _, i := range list {
		if a := r.authIn(i, r.levelsSlot); a >= 0 && r.nodes[i].is(inPower) {
			named = append(named, a)
		}
	}
	if err := r.read(named); err != nil {
		return nil, err
	}
	levels := make([]int64, len(list))
	for p, i := range list {
		if n := &r.nodes[i]; n.is(inPower) {
			levels[p] = auth.LevelsOf(r.create, r.levels(r.authIn(i, r.levelsSlot))).UserLevel(n.ev.Sender)
		}
	}
	return levels, nil
}

// levels are the parsed power levels of a node that was read; nil for -1. Each event is parsed once.
func (r *resolution) levels(i int32) *auth.PowerLevels {
	if i < 0 {
		return nil
	}
	if pl, done := r.parsed[i]; done {
		return pl
	}
	pl := auth.LevelsFrom(r.nodes[i].ev, r.create)
	if r.parsed == nil {
		r.parsed = make(map[int32]*auth.PowerLevels)
	}
	r.parsed[i] = pl
	return pl
}
