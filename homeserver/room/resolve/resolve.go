// Package resolve merges the states of a room that forks of its history have led to into one: state resolution 1, 2 and
// 2.1 of the room versions. It is pure: what it needs beyond the states it asks a Source for, in batches, and no more
// than it needs. It works on numbers that the store gives to events and slots.
//
// The result depends on the states, the events and their IDs only, never on the order of the states or on the numbers
// themselves. A resolution belongs to one goroutine.
//
// RV 12 #state-resolution, RV 2 #state-resolution, RV 1 #state-resolution
package resolve

import (
	"errors"
	"fmt"

	"konsil/homeserver/room/auth"
	"konsil/matrix/event"
	"konsil/matrix/id"
	"konsil/matrix/roomver"
)

// Entry is one piece of state: the event that holds a slot. A state is a list of entries sorted by slot, each slot once.
type Entry struct{ Slot, Event int64 }

// Node is what the store knows about an event without reading it.
type Node struct {
	Slot     int64   // 0 for what is no state event
	Auth     []int64 // its auth events; each has a smaller number than the event
	Rejected bool
}

// Source gives a resolution what it asks for. Events are known by numbers greater than 0, and an event's number is
// greater than those of its auth events: this is what lets a resolution stop early instead of walking to the beginning
// of the room. Answers are in the order of the question; they are kept, so the source may read the store each time. An
// event that is not there is an error.
type Source interface {
	Nodes(events []int64) ([]Node, error)
	Events(events []int64) ([]*event.PDU, error)
	// Slot is the number of a slot, 0 if no event ever was in it.
	Slot(slot id.Slot) (int64, error)
}

// ErrOrder says that the source numbers an event below one of its auth events.
var ErrOrder = errors.New("an auth event is younger than the event that names it")

// Resolve merges the states that the branches of a room lead to. create is the room's create event; its version says by
// which algorithm. The result may be one of the states.
func Resolve(create *auth.Create, states [][]Entry, src Source) ([]Entry, error) {
	if len(states) == 0 {
		return nil, nil
	}
	states = distinct(states)
	if len(states) == 1 {
		return states[0], nil
	}
	memory := arenas.Get().(*arena)
	defer memory.release()
	r := &resolution{create: create, version: create.Version, graph: graph{src: src, arena: memory}, sets: len(states)}
	r.split(states)
	if len(r.conflicted) == 0 {
		return r.unconflicted, nil
	}
	if r.version.StateRes == roomver.StateResV1 {
		return r.version1()
	}
	return r.version2()
}

// resolution is the work on one merge.
type resolution struct {
	graph
	create  *auth.Create
	version *roomver.Version
	sets    int // how many states

	unconflicted []Entry
	conflicted   []candidate
	levelsSlot   int64 // m.room.power_levels
	rulesSlot    int64 // m.room.join_rules
	parsed       map[int32]*auth.PowerLevels
}

// slots asks for the numbers of the two slots that everything turns on.
func (r *resolution) slots() (err error) {
	if r.levelsSlot, err = r.src.Slot(id.Slot{Type: event.TypePowerLevels}); err != nil {
		return fmt.Errorf("number of the power levels' slot: %w", err)
	}
	if r.rulesSlot, err = r.src.Slot(id.Slot{Type: event.TypeJoinRules}); err != nil {
		return fmt.Errorf("number of the join rules' slot: %w", err)
	}
	return nil
}

// version2 is state resolution 2 and 2.1. RV 2 #state-resolution, RV 12 #state-resolution
func (r *resolution) version2() ([]Entry, error) {
	if err := r.slots(); err != nil {
		return nil, err
	}
	full, err := r.fullConflictedSet()
	if err != nil {
		return nil, err
	}
	power, rest, err := r.powerOrder(full) // 1
	if err != nil {
		return nil, err
	}
	var base []Entry // 2.1 starts from nothing
	if r.version.StateRes == roomver.StateResV2 {
		base = r.unconflicted
	}
	st := newState(r, base)
	if err := st.apply(power); err != nil { // 2
		return nil, err
	}
	if err := r.mainlineOrder(rest, st); err != nil { // 3
		return nil, err
	}
	if err := st.apply(rest); err != nil { // 4
		return nil, err
	}
	return st.over(r.unconflicted), nil // 5
}
