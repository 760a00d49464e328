package resolve

import (
	"slices"

	"konsil/homeserver/room/auth"
)

// FullConflictedSet is the first half of a resolution, for tests that compare it with the specification's definition:
// extra events in it seldom change a result, and would stay unseen.
func FullConflictedSet(create *auth.Create, states [][]Entry, src Source) ([]int64, error) {
	memory := arenas.Get().(*arena)
	defer memory.release()
	r := &resolution{create: create, version: create.Version, graph: graph{src: src, arena: memory}, sets: len(states)}
	r.split(states)
	if len(r.conflicted) == 0 {
		return nil, nil
	}
	full, err := r.fullConflictedSet()
	var numbers []int64
	for _, i := range full {
		numbers = append(numbers, r.nodes[i].num)
	}
	slices.Sort(numbers)
	return numbers, err
}
