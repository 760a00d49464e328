package resolve

import (
	"slices"

	"konsil/matrix/roomver"
)

// fullConflictedSet finds the full conflicted set and loads its events. RV 12 #definitions
func (r *resolution) fullConflictedSet() ([]int32, error) {
	full := make([]int32, 0, 2*len(r.conflicted))
	for _, c := range r.conflicted {
		full = append(full, c.node)
	}
	if err := r.link(full); err != nil {
		return nil, err
	}
	conflicted := full[:len(full):len(full)]
	difference, err := r.authDifference(conflicted)
	if err != nil {
		return nil, err
	}
	full = r.extend(full, difference)
	if r.version.StateRes == roomver.StateResV21 {
		between, err := r.subgraph(conflicted)
		if err != nil {
			return nil, err
		}
		full = r.extend(full, between)
	}
	return full, r.read(full)
}

// extend adds nodes to the full conflicted set.
func (r *resolution) extend(full, more []int32) []int32 {
	for _, i := range more {
		// What is no state has no place in one. Accepted events name no such auth events.
		if n := &r.nodes[i]; !n.is(inFull) && n.slot != 0 {
			n.flags |= inFull
			full = append(full, i)
		}
	}
	return full
}

// authDifference finds the events, beside the conflicted ones, that are in the auth chain of some of the states but not of
// all. An event that a state holds counts as part of that state's chain: so all known servers read the definition, and
// only so events over which the states agree stay out. RV 12 #definitions
//
// The walk goes from the conflicted events to ever smaller numbers, and each node hands the set of states that reach it on
// to its auth events. Where all states reach a node, they reach all below; once only such nodes are left it is over, which
// mostly is one step below the fork.
func (r *resolution) authDifference(conflicted []int32) ([]int32, error) {
	q := queue{resolution: r, heap: r.heap[:0]}
	for _, i := range conflicted {
		q.push(i)
	}
	partial := len(conflicted) // nodes in the queue that not all states reach, as far as is known
	var difference []int32
	for partial > 0 {
		i := q.pop()
		all := r.full(i)
		if !all {
			partial--
			if err := q.link(i); err != nil {
				return nil, err
			}
			if n := &r.nodes[i]; find(r.unconflicted, n.slot) == n.num {
				all = true
				r.fill(i)
			} else if !n.is(inConflict) {
				difference = append(difference, i)
			}
		}
		if all && partial == 0 {
			break
		}
		if err := q.link(i); err != nil {
			return nil, err
		}
		for _, a := range r.auth(i) {
			partial += r.reach(&q, i, a)
		}
	}
	r.heap = q.heap
	return r.notAgreed(difference)
}

// reach adds the states that reach a node to those that reach its auth event, and queues that. It answers by how much the
// number of queued nodes changes that not all states reach.
func (r *resolution) reach(q *queue, from, to int32) (change int) {
	fresh := !r.nodes[to].is(queued)
	was := !fresh && !r.full(to)
	m := r.mask(to)
	for w, set := range r.mask(from) {
		m[w] |= set
	}
	if fresh {
		q.push(to)
	}
	is := !r.full(to)
	switch {
	case is && !was:
		return 1
	case was && !is:
		return -1
	}
	return 0
}

// fill notes that all states reach a node.
func (r *resolution) fill(i int32) {
	m := r.mask(i)
	for set := range r.sets {
		m[set/64] |= 1 << (set % 64)
	}
}

// notAgreed takes out of the difference what lies in the auth chain of an event over which the states agree: all states
// reach that. It looks at agreed events only as far back as the oldest one in question, and mostly there is none.
func (r *resolution) notAgreed(difference []int32) ([]int32, error) {
	if len(difference) == 0 {
		return nil, nil
	}
	r.clear(queued)
	oldest := r.nodes[difference[len(difference)-1]].num // the walk went downwards
	left := make(map[int32]bool, len(difference))
	for _, i := range difference {
		left[i] = true
	}
	q := queue{resolution: r, heap: r.heap[:0]}
	for _, e := range r.unconflicted {
		if e.Event > oldest {
			q.push(r.add(e.Event))
		}
	}
	for len(left) > 0 && len(q.heap) > 0 {
		i := q.pop()
		delete(left, i)
		if err := q.link(i); err != nil {
			return nil, err
		}
		for _, a := range r.auth(i) {
			if n := &r.nodes[a]; n.num >= oldest && !n.is(queued) {
				q.push(a)
			}
		}
	}
	r.clear(queued)
	return slices.DeleteFunc(difference, func(i int32) bool { return !left[i] }), nil
}

// subgraph finds the events on the paths along auth_events from one conflicted event to another. RV 12 #definitions,
// MSC4297
func (r *resolution) subgraph(conflicted []int32) ([]int32, error) {
	below, err := r.chain(conflicted, r.oldest(conflicted))
	if err != nil {
		return nil, err
	}
	// Oldest first: whether a path leads on to a conflicted event is then known of all auth events.
	slices.SortFunc(below, r.byNumber)
	var between []int32
	for _, i := range below {
		n := &r.nodes[i]
		if n.is(inConflict) || slices.ContainsFunc(r.auth(i), func(a int32) bool { return r.nodes[a].is(leads) }) {
			n.flags |= leads
			between = append(between, i)
		}
	}
	return between, nil
}

// chain collects some nodes and their auth chains, as far as numbers are not below oldest.
func (r *resolution) chain(from []int32, oldest int64) ([]int32, error) {
	defer r.clear(visited)
	var met []int32
	for _, i := range from {
		r.nodes[i].flags |= visited
	}
	for level := from; len(level) > 0; {
		if err := r.link(level); err != nil {
			return nil, err
		}
		met = append(met, level...)
		var next []int32
		for _, i := range level {
			for _, a := range r.auth(i) {
				if n := &r.nodes[a]; n.num >= oldest && !n.is(visited) {
					n.flags |= visited
					next = append(next, a)
				}
			}
		}
		level = next
	}
	return met, nil
}

func (r *resolution) byNumber(a, b int32) int {
	switch x, y := r.nodes[a].num, r.nodes[b].num; {
	case x < y:
		return -1
	case x > y:
		return 1
	}
	return 0
}

// oldest is the smallest number among some nodes.
func (r *resolution) oldest(list []int32) int64 {
	oldest := r.nodes[list[0]].num
	for _, i := range list {
		oldest = min(oldest, r.nodes[i].num)
	}
	return oldest
}

// clear takes a mark off all nodes.
func (r *resolution) clear(f flag) {
	for i := range r.nodes {
		r.nodes[i].flags &^= f
	}
}

// queue gives nodes by descending number.
type queue struct {
	*resolution
	heap []queuedNode
}

type queuedNode struct {
	num  int64
	node int32
}

// batch is how many places are loaded at a time while walking downwards.
const batch = 256

// link loads the place of a node, and with it those of the next ones in the queue: they will be asked for soon.
func (q *queue) link(i int32) error {
	if q.nodes[i].is(known) {
		return nil
	}
	ask := []int32{i}
	for _, e := range q.heap[:min(len(q.heap), batch)] { // the front of a heap holds some of the greatest
		if !q.full(e.node) {
			ask = append(ask, e.node)
		}
	}
	return q.resolution.link(ask)
}

func (q *queue) push(i int32) {
	q.nodes[i].flags |= queued
	q.heap = append(q.heap, queuedNode{q.nodes[i].num, i})
	h := q.heap
	c := len(h) - 1
	for c > 0 {
		parent := (c - 1) / 2
		if h[parent].num >= h[c].num {
			return
		}
		h[c], h[parent] = h[parent], h[c]
		c = parent
	}
}

func (q *queue) pop() int32 {
	top, last := q.heap[0].node, len(q.heap)-1
	q.heap[0] = q.heap[last]
	q.heap = q.heap[:last]
	h := q.heap
	for i := 0; ; {
		child := 2*i + 1
		if child >= last {
			return top
		}
		if child+1 < last && h[child+1].num > h[child].num {
			child++
		}
		if h[i].num >= h[child].num {
			return top
		}
		h[i], h[child] = h[child], h[i]
		i = child
	}
}
