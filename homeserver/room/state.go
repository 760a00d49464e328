package room

import (
	"sort"

	"konsil/homeserver/store"
)

// state is the state of a room at one point: slots and their events, as numbers. A value never changes; with makes a new one
// that shares the large part, so that a room of 50,000 members is not copied for each who joins.
type state struct {
	base []store.Entry // sorted by slot
	over []store.Entry // sorted, newer than base; event 0 empties a slot of base
}

// maxOver is how long over may get before it is merged into a new base.
const maxOver = 128

func stateOf(entries []store.Entry) state { return state{base: entries} }

func find(list []store.Entry, slot int64) (int, bool) {
	i := sort.Search(len(list), func(i int) bool { return list[i].Slot >= slot })
	return i, i < len(list) && list[i].Slot == slot
}

// get is the event in a slot, 0 for none.
func (s state) get(slot int64) int64 {
	if i, ok := find(s.over, slot); ok {
		return s.over[i].Event
	}
	if i, ok := find(s.base, slot); ok {
		return s.base[i].Event
	}
	return 0
}

// with is the state with one slot changed.
func (s state) with(slot, ev int64) state {
	i, ok := find(s.over, slot)
	over := make([]store.Entry, 0, len(s.over)+1)
	over = append(over, s.over[:i]...)
	over = append(over, store.Entry{Slot: slot, Event: ev})
	if ok {
		i++
	}
	over = append(over, s.over[i:]...)
	if len(over) > maxOver {
		return state{base: store.MergeEntries(s.base, over, false)}
	}
	return state{base: s.base, over: over}
}

// entries lists all that is set, sorted by slot. It is not to be changed.
func (s state) entries() []store.Entry {
	if len(s.over) == 0 {
		return s.base
	}
	return store.MergeEntries(s.base, s.over, false)
}

// size is about the number of slots.
func (s state) size() int { return len(s.base) + len(s.over) }

// difference lists the slots in which two states differ, with the event of the newer (0 for an emptied slot).
func difference(older, newer []store.Entry) []store.Entry {
	var out []store.Entry
	i, j := 0, 0
	for i < len(older) || j < len(newer) {
		switch {
		case j == len(newer) || i < len(older) && older[i].Slot < newer[j].Slot:
			out = append(out, store.Entry{Slot: older[i].Slot})
			i++
		case i == len(older) || newer[j].Slot < older[i].Slot:
			out = append(out, newer[j])
			j++
		default:
			if older[i].Event != newer[j].Event {
				out = append(out, newer[j])
			}
			i++
			j++
		}
	}
	return out
}
