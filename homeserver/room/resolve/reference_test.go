package resolve_test

import (
	"cmp"
	"maps"
	"math"
	"slices"

	"konsil/homeserver/room/auth"
	"konsil/homeserver/room/resolve"
	"konsil/matrix/event"
	"konsil/matrix/id"
	"konsil/matrix/roomver"
)

// reference is state resolution 2 and 2.1 written down as the specification has it, word by word and without any thought
// of speed: whole auth chains, sets, a search for the smallest candidate at each step. Resolve must agree with it.
// RV 2 #state-resolution, RV 12 #state-resolution
func reference(w *world, states [][]resolve.Entry) []resolve.Entry {
	r := &ref{world: w, chains: make(map[int64]set)}
	unconflicted, full := r.fullConflictedSet(states)
	start := unconflicted
	if w.version.StateRes == roomver.StateResV21 {
		start = nil
	}
	chosen := make(set)
	for e := range full {
		if r.power(e) {
			chosen[e] = true
			for a := range r.chain(e) {
				if full[a] {
					chosen[a] = true
				}
			}
		}
	}
	partial := r.check(start, r.byPower(chosen))
	var rest []int64
	for e := range full {
		if !chosen[e] {
			rest = append(rest, e)
		}
	}
	result := r.check(partial, r.byMainline(rest, held(partial, w.slots[id.Slot{Type: event.TypePowerLevels}])))
	for _, e := range unconflicted {
		result = with(result, e)
	}
	return result
}

type set map[int64]bool

func union(a, b set) set {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return all
}

type ref struct {
	*world
	chains map[int64]set
}

func (r *ref) fullConflictedSet(states [][]resolve.Entry) (unconflicted []resolve.Entry, full set) {
	unconflicted, conflicted := r.divide(states)
	full = union(conflicted, r.difference(states))
	if r.version.StateRes == roomver.StateResV21 {
		full = union(full, r.subgraph(conflicted))
	}
	return unconflicted, full
}

func (r *ref) divide(states [][]resolve.Entry) (unconflicted []resolve.Entry, conflicted set) {
	conflicted = make(set)
	for _, s := range states {
		for _, e := range s {
			if !slices.ContainsFunc(states, func(s []resolve.Entry) bool { return held(s, e.Slot) != e.Event }) {
				unconflicted = with(unconflicted, e)
			} else {
				conflicted[e.Event] = true
			}
		}
	}
	return unconflicted, conflicted
}

func (r *ref) chain(e int64) set {
	if c, done := r.chains[e]; done {
		return c
	}
	c := make(set)
	for _, a := range r.nodes[e-1].Auth {
		c[a] = true
		maps.Copy(c, r.chain(a))
	}
	r.chains[e] = c
	return c
}

func (r *ref) difference(states [][]resolve.Entry) set {
	reached := make(map[int64]int)
	for _, s := range states {
		all := make(set)
		for _, e := range s {
			all[e.Event] = true
			maps.Copy(all, r.chain(e.Event))
		}
		for e := range all {
			reached[e]++
		}
	}
	difference := make(set)
	for e, n := range reached {
		if n < len(states) {
			difference[e] = true
		}
	}
	return difference
}

func (r *ref) subgraph(conflicted set) set {
	between := make(set)
	for a := range conflicted {
		for b := range conflicted {
			if !r.chain(a)[b] {
				continue
			}
			for x := range r.chain(a) {
				if r.chain(x)[b] {
					between[x] = true
				}
			}
		}
	}
	return between
}

func (r *ref) power(e int64) bool {
	ev := r.events[e-1]
	switch ev.Type {
	case event.TypePowerLevels, event.TypeJoinRules:
		return *ev.StateKey == ""
	case event.TypeMember:
		return (ev.Membership() == event.Leave || ev.Membership() == event.Ban) && string(ev.Sender) != *ev.StateKey
	}
	return false
}

func (r *ref) levelsOf(e int64) int64 {
	for _, a := range r.nodes[e-1].Auth {
		if r.events[a-1].Slot() == (id.Slot{Type: event.TypePowerLevels}) {
			return a
		}
	}
	return 0
}

func (r *ref) senderLevel(e int64) int64 {
	var pl *auth.PowerLevels
	if a := r.levelsOf(e); a != 0 {
		pl, _ = auth.ParsePowerLevels(r.version, r.events[a-1].Content, r.create)
	}
	return auth.LevelsOf(r.create, pl).UserLevel(r.events[e-1].Sender)
}

func (r *ref) byPower(chosen set) (order []int64) {
	for chosen = maps.Clone(chosen); len(chosen) > 0; {
		best := int64(0)
		for e := range chosen {
			free := true
			for a := range r.chain(e) {
				free = free && !chosen[a]
			}
			if free && (best == 0 || r.less(e, best)) {
				best = e
			}
		}
		order = append(order, best)
		delete(chosen, best)
	}
	return order
}

func (r *ref) less(x, y int64) bool {
	a, b := r.events[x-1], r.events[y-1]
	return cmp.Or(cmp.Compare(r.senderLevel(y), r.senderLevel(x)), cmp.Compare(a.OriginServerTS, b.OriginServerTS), cmp.Compare(a.ID, b.ID)) < 0
}

func (r *ref) byMainline(rest []int64, p0 int64) []int64 {
	var mainline []int64
	for p := p0; p != 0; p = r.levelsOf(p) {
		mainline = append(mainline, p)
	}
	position := func(e int64) int {
		for e = r.levelsOf(e); e != 0; e = r.levelsOf(e) {
			if i := slices.Index(mainline, e); i >= 0 {
				return i
			}
		}
		return math.MaxInt
	}
	slices.SortFunc(rest, func(x, y int64) int {
		a, b := r.events[x-1], r.events[y-1]
		return cmp.Or(cmp.Compare(position(y), position(x)), cmp.Compare(a.OriginServerTS, b.OriginServerTS), cmp.Compare(a.ID, b.ID))
	})
	return rest
}

func (r *ref) check(state []resolve.Entry, order []int64) []resolve.Entry {
	for _, e := range order {
		st := auth.NewEventState(r.create, func(slot id.Slot) *event.PDU {
			if num := held(state, r.slots[slot]); num != 0 {
				return r.events[num-1]
			}
			for _, a := range r.nodes[e-1].Auth {
				if r.events[a-1].Slot() == slot && !r.nodes[a-1].Rejected {
					return r.events[a-1]
				}
			}
			return nil
		})
		if auth.Authorize(r.events[e-1], st) == nil {
			state = with(state, resolve.Entry{Slot: r.nodes[e-1].Slot, Event: e})
		}
	}
	return state
}
