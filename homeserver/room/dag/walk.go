package dag

import (
	"konsil/matrix/id"
)

// Node is an event as a walk sees it.
type Node struct {
	ID    id.EventID
	Depth int64
	Refs  []id.EventID // prev or auth events, by what is walked
}

// Load gives the nodes of events; those that are unknown are left out.
type Load func(ids []id.EventID) ([]Node, error)

// Walk goes back from some events and lists what it meets, nearest first, the events themselves not among it. It goes
// level by level, so that load is asked in as few batches as the graph is deep. visit says for each event whether to
// list it, and whether to go on beyond it; nil lists and follows all. It ends after limit events are listed.
type Walk struct {
	Load  Load
	Visit func(n Node) (list, follow bool)
	Limit int // 0 for none
}

// Back walks back from the events whose references are given.
func (w Walk) Back(refs []id.EventID) ([]Node, error) {
	seen := make(map[id.EventID]bool)
	var found []Node
	level := fresh(seen, nil, refs)
	for len(level) > 0 {
		nodes, err := w.Load(level)
		if err != nil {
			return nil, err
		}
		level = nil
		for _, n := range nodes {
			list, follow := true, true
			if w.Visit != nil {
				list, follow = w.Visit(n)
			}
			if list {
				if found = append(found, n); w.Limit > 0 && len(found) == w.Limit {
					return found, nil
				}
			}
			if follow {
				level = fresh(seen, level, n.Refs)
			}
		}
	}
	return found, nil
}

// fresh appends those of refs that are not seen yet, and marks them: a cycle ends here.
func fresh(seen map[id.EventID]bool, level, refs []id.EventID) []id.EventID {
	for _, ref := range refs {
		if !seen[ref] {
			seen[ref] = true
			level = append(level, ref)
		}
	}
	return level
}

// Between answers what is asked for by /get_missing_events: the events from latest back to those that the other server
// has, without either, at most limit and none below minDepth, each after what it
// follows.
// SS v1.16 #post_matrixfederationv1get_missing_eventsroomid
func Between(latest []Node, earliest []id.EventID, minDepth int64, limit int, load Load) ([]Node, error) {
	stop := make(map[id.EventID]bool, len(earliest)+len(latest))
	for _, ref := range earliest {
		stop[ref] = true
	}
	var refs []id.EventID
	for _, n := range latest {
		stop[n.ID] = true
		refs = append(refs, n.Refs...)
	}
	w := Walk{Load: load, Limit: limit, Visit: func(n Node) (list, follow bool) {
		inside := !stop[n.ID] && n.Depth >= minDepth
		return inside, inside
	}}
	found, err := w.Back(refs)
	if err != nil {
		return nil, err
	}
	return earliestFirst(found), nil
}

// earliestFirst orders nodes so that each comes after those among them that it refers to.
func earliestFirst(nodes []Node) []Node {
	index := make(map[id.EventID]int32, len(nodes))
	for i, n := range nodes {
		index[n.ID] = int32(i)
	}
	before := make([][]int32, len(nodes))
	for i, n := range nodes {
		for _, ref := range n.Refs {
			if j, inside := index[ref]; inside {
				before[i] = append(before[i], j)
			}
		}
	}
	order := Order(len(nodes), func(i int32) []int32 { return before[i] }, func(a, b int32) bool {
		if nodes[a].Depth != nodes[b].Depth {
			return nodes[a].Depth < nodes[b].Depth
		}
		return nodes[a].ID < nodes[b].ID
	})
	sorted := make([]Node, 0, len(order))
	for _, i := range order {
		sorted = append(sorted, nodes[i])
	}
	return sorted
}
