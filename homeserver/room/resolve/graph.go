package resolve

import (
	"cmp"
	"fmt"
	"slices"

	"konsil/matrix/event"
)

// graph holds the events that a resolution has come across under small numbers of its own, and loads what it is asked for.
type graph struct {
	src   Source
	index table
	nodes []node
	masks []uint64 // words of each node: by which states it is reached
	words int
}

// node is one event. Its fields are filled as they are needed: number, then place in the graph, then the event itself.
type node struct {
	num   int64
	slot  int64   // once known
	auth  []int32 // once known
	ev    *event.PDU
	flags flag
}

type flag uint16

const (
	known      flag = 1 << iota // slot and auth are loaded
	asked                       // the event is loaded
	rejected                    // not allowed when it came
	inConflict                  // in the conflicted state set
	inFull                      // in the full conflicted set
	queued                      // in the queue of a walk
	visited                     // met on the walk at hand
	inPower                     // among the events ordered by power
	leads                       // to a conflicted event, along its auth events
	fetched                     // was it looked at what stands for it in the state
)

func (n *node) is(f flag) bool { return n.flags&f != 0 }

func newGraph(src Source) graph { return graph{src: src, words: 1} }

// add gives the node of an event.
func (g *graph) add(num int64) int32 {
	i, fresh := g.index.put(num, int32(len(g.nodes)))
	if fresh {
		g.nodes = append(g.nodes, node{num: num})
		for range g.words {
			g.masks = append(g.masks, 0)
		}
	}
	return i
}

func (g *graph) mask(n int32) []uint64 { return g.masks[int(n)*g.words : (int(n)+1)*g.words] }

// link loads the place in the graph of those nodes that have none yet.
func (g *graph) link(list []int32) error {
	var ask []int64
	var who []int32
	for _, i := range list {
		if n := &g.nodes[i]; !n.is(known) {
			n.flags |= known
			ask, who = append(ask, n.num), append(who, i)
		}
	}
	if len(ask) == 0 {
		return nil
	}
	answer, err := g.src.Nodes(ask)
	if err != nil {
		return fmt.Errorf("load %d nodes of the auth graph: %w", len(ask), err)
	}
	total := 0
	for i := range answer {
		total += len(answer[i].Auth)
	}
	space := make([]int32, 0, total)
	for j, i := range who {
		start := len(space)
		for _, num := range answer[j].Auth {
			if num >= ask[j] {
				return fmt.Errorf("event %d names %d: %w", ask[j], num, ErrOrder)
			}
			space = append(space, g.add(num))
		}
		n := &g.nodes[i]
		n.slot, n.auth = answer[j].Slot, space[start:len(space):len(space)]
		if answer[j].Rejected {
			n.flags |= rejected
		}
	}
	return nil
}

// linkAuth loads the places of all auth events of some nodes, which must be linked.
func (g *graph) linkAuth(list []int32) error {
	var all []int32
	for _, i := range list {
		for _, a := range g.nodes[i].auth {
			if !g.nodes[a].is(known) {
				all = append(all, a)
			}
		}
	}
	return g.link(all)
}

// read loads the events of those nodes that lack them.
func (g *graph) read(list []int32) error {
	var ask []int64
	var who []int32
	for _, i := range list {
		if n := &g.nodes[i]; n.ev == nil && !n.is(asked) {
			n.flags |= asked // the list may name a node twice
			ask, who = append(ask, n.num), append(who, i)
		}
	}
	if len(ask) == 0 {
		return nil
	}
	answer, err := g.src.Events(ask)
	if err != nil {
		return fmt.Errorf("load %d events: %w", len(ask), err)
	}
	for j, i := range who {
		g.nodes[i].ev = answer[j]
	}
	return nil
}

// authIn is the auth event of a node in a slot, -1 if it has none. The auth events must be linked.
func (g *graph) authIn(i int32, slot int64) int32 {
	if slot == 0 {
		return -1
	}
	for _, a := range g.nodes[i].auth {
		if g.nodes[a].slot == slot {
			return a
		}
	}
	return -1
}

// find is the event that a state holds in a slot, 0 for none.
func find(state []Entry, slot int64) int64 {
	i, found := slices.BinarySearchFunc(state, slot, func(e Entry, slot int64) int { return cmp.Compare(e.Slot, slot) })
	if !found {
		return 0
	}
	return state[i].Event
}

// table maps numbers above 0 to small ones, with open addressing: the maps of a resolution hold little else, and this is
// several times faster than Go's.
type table struct {
	keys   []int64
	values []int32
	used   int
}

func (t *table) at(key int64) int {
	mask := len(t.keys) - 1
	i := int(uint64(key)*0x9e3779b97f4a7c15>>33) & mask
	for t.keys[i] != 0 && t.keys[i] != key {
		i = (i + 1) & mask
	}
	return i
}

// get is the value of a key, -1 if it has none.
func (t *table) get(key int64) int32 {
	if len(t.keys) == 0 {
		return -1
	}
	if i := t.at(key); t.keys[i] == key {
		return t.values[i]
	}
	return -1
}

// put sets the value of a key that has none; else it gives what is there.
func (t *table) put(key int64, value int32) (now int32, fresh bool) {
	if 4*t.used >= 3*len(t.keys) {
		t.grow()
	}
	i := t.at(key)
	if t.keys[i] == key {
		return t.values[i], false
	}
	t.keys[i], t.values[i] = key, value
	t.used++
	return value, true
}

// set sets the value of a key, whatever is there.
func (t *table) set(key int64, value int32) {
	if _, fresh := t.put(key, value); !fresh {
		t.values[t.at(key)] = value
	}
}

func (t *table) grow() {
	old := *t
	size := max(64, 4*len(old.keys))
	t.keys, t.values = make([]int64, size), make([]int32, size)
	for i, key := range old.keys {
		if key != 0 {
			j := t.at(key)
			t.keys[j], t.values[j] = key, old.values[i]
		}
	}
}
