// Package dag holds what is known about rooms as graphs: in which order events follow each other, which of them are the
// ends of the graph, how deep an event lies, and how to walk back through it. It is pure and does not know what events
// say. Foreign events may point anywhere, so every walk is bounded and no cycle stops or fools it.
//
// SS v1.16 #pdus, RV 12 #state-resolution
package dag

import (
	"cmp"
	"slices"

	"konsil/matrix/event"
	"konsil/matrix/id"
)

// Order sorts the nodes 0 to n-1 topologically: each comes after all nodes in before(i), which may name a node twice.
// Among the nodes that may come next the least by less does, so the order is the lexicographically smallest there is
// (Kahn's algorithm). What lies on a cycle, or after one, has no place in any order and is left out.
func Order(n int, before func(i int32) []int32, less func(a, b int32) bool) []int32 {
	waiting := make([]int32, n) // how many of before are not placed yet
	after := invert(n, before, waiting)
	var ready heap
	ready.less = less
	for i := range waiting {
		if waiting[i] == 0 {
			ready.push(int32(i))
		}
	}
	order := make([]int32, 0, n)
	for len(ready.nodes) > 0 {
		next := ready.pop()
		order = append(order, next)
		for _, i := range after.of(next) {
			if waiting[i]--; waiting[i] == 0 {
				ready.push(i)
			}
		}
	}
	return order
}

// edges are lists of nodes, one per node, in one array.
type edges struct {
	start []int32 // of node i's list; one more at the end
	nodes []int32
}

func (e *edges) of(i int32) []int32 { return e.nodes[e.start[i]:e.start[i+1]] }

// invert turns the edges round and counts those of each node in waiting.
func invert(n int, before func(i int32) []int32, waiting []int32) edges {
	e := edges{start: make([]int32, n+2)}
	total := 0
	for i := range int32(n) {
		list := before(i)
		waiting[i] = int32(len(list))
		total += len(list)
		for _, b := range list {
			e.start[b+2]++
		}
	}
	for i := 2; i < len(e.start); i++ {
		e.start[i] += e.start[i-1]
	}
	// start is off by one here: start[b+1] is where b's list begins, and moves to its end while the list is filled.
	e.nodes = make([]int32, total)
	for i := range int32(n) {
		for _, b := range before(i) {
			e.nodes[e.start[b+1]] = i
			e.start[b+1]++
		}
	}
	e.start = e.start[:n+1]
	return e
}

// heap keeps the least node on top.
type heap struct {
	less  func(a, b int32) bool
	nodes []int32
}

func (h *heap) push(node int32) {
	h.nodes = append(h.nodes, node)
	i := len(h.nodes) - 1
	for i > 0 {
		parent := (i - 1) / 2
		if !h.less(h.nodes[i], h.nodes[parent]) {
			return
		}
		h.nodes[i], h.nodes[parent] = h.nodes[parent], h.nodes[i]
		i = parent
	}
}

func (h *heap) pop() int32 {
	top, last := h.nodes[0], len(h.nodes)-1
	h.nodes[0] = h.nodes[last]
	h.nodes = h.nodes[:last]
	for i := 0; ; {
		child := 2*i + 1
		if child >= last {
			return top
		}
		if child+1 < last && h.less(h.nodes[child+1], h.nodes[child]) {
			child++
		}
		if !h.less(h.nodes[child], h.nodes[i]) {
			return top
		}
		h.nodes[i], h.nodes[child] = h.nodes[child], h.nodes[i]
		i = child
	}
}

// Edges says which references an ordering follows.
type Edges int

// The two graphs of a room.
const (
	Prev Edges = iota // prev_events: what the sender's server had seen
	Auth              // auth_events: what allows the event
)

func (e Edges) of(ev *event.PDU) []id.EventID {
	if e == Auth {
		return ev.AuthEvents
	}
	return ev.PrevEvents
}

// Sort orders a batch of events so that each comes after those of the batch that it refers to; where that leaves a choice,
// by depth, then time, then ID. Events that occur twice are kept once. Events on a cycle can only come from a server that
// chooses its event IDs (room versions 1 and 2) to do harm: they, and what follows from them, are handed back as cyclic.
func Sort(batch []*event.PDU, along Edges) (sorted, cyclic []*event.PDU) {
	index := make(map[id.EventID]int32, len(batch))
	events := make([]*event.PDU, 0, len(batch))
	for _, ev := range batch {
		if _, known := index[ev.ID]; !known {
			index[ev.ID] = int32(len(events))
			events = append(events, ev)
		}
	}
	before := make([][]int32, len(events))
	for i, ev := range events {
		for _, ref := range along.of(ev) {
			if j, inside := index[ref]; inside {
				before[i] = append(before[i], j)
			}
		}
	}
	order := Order(len(events), func(i int32) []int32 { return before[i] }, func(a, b int32) bool {
		return Compare(events[a], events[b]) < 0
	})
	sorted = make([]*event.PDU, 0, len(order))
	for _, i := range order {
		sorted = append(sorted, events[i])
		delete(index, events[i].ID)
	}
	for _, ev := range events {
		if _, left := index[ev.ID]; left {
			cyclic = append(cyclic, ev)
		}
	}
	return sorted, cyclic
}

// Compare orders two events by depth, time and ID: the order in which people saw them, unless a server lies.
func Compare(a, b *event.PDU) int {
	return cmp.Or(
		cmp.Compare(a.Depth, b.Depth),
		cmp.Compare(a.OriginServerTS, b.OriginServerTS),
		cmp.Compare(a.ID, b.ID))
}

// Unique sorts event IDs and takes out doubles.
func Unique(ids []id.EventID) []id.EventID {
	ids = slices.Clone(ids)
	slices.Sort(ids)
	return slices.Compact(ids)
}
