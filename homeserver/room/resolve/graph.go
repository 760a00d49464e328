package resolve

import (
	"cmp"
	"fmt"
	"math/bits"
	"slices"
	"sync"

	"konsil/matrix/event"
)

// graph holds the events that a resolution has come across under small numbers of its own, and loads what it is asked for.
type graph struct {
	src   Source
	words int // of a mask
	*arena
}

// arena is the memory of a graph, used again by the next one.
type arena struct {
	index     table
	nodes     []node
	masks     []uint64 // of each node: by which states it is reached
	edges     []int32  // auth events of all nodes
	differing []holding
	holder    table // see state
	applied   []Entry
	asking    []int64
	heap      []queuedNode
}

var arenas = sync.Pool{New: func() any { return new(arena) }}

// maxArena is how many nodes an arena may have had to be worth keeping.
const maxArena = 1 << 16

func (a *arena) release() {
	if cap(a.nodes) > maxArena {
		return
	}
	clear(a.nodes) // lets go of the events
	a.nodes, a.masks, a.edges = a.nodes[:0], a.masks[:0], a.edges[:0]
	a.differing, a.applied = a.differing[:0], a.applied[:0]
	arenas.Put(a)
}

// node is one event. Its fields are filled as they are needed: number, then place in the graph, then the event itself.
type node struct {
	num   int64
	slot  int64 // once known
	ts    int64 // once read
	ev    *event.PDU
	auth  int32 // where its auth events stand in edges, once known
	auths uint16
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
	powerful                    // a power event, once it is read
	inPower                     // among the events ordered by power
	leads                       // to a conflicted event, along its auth events
	fetched                     // was it looked at what stands for it in the state
)

func (n *node) is(f flag) bool { return n.flags&f != 0 }

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

// auth lists the auth events of a node that is known.
func (g *graph) auth(i int32) []int32 {
	n := &g.nodes[i]
	return g.edges[n.auth:][:n.auths]
}

func (g *graph) mask(n int32) []uint64 { return g.masks[int(n)*g.words : (int(n)+1)*g.words] }

// link loads the place in the graph of those nodes that have none yet.
func (g *graph) link(list []int32) error {
	ask := g.asking[:0]
	for _, i := range list {
		ask = g.want(ask, i)
	}
	return g.load(ask)
}

// linkAuth loads the places of all auth events of some nodes, which must be linked.
func (g *graph) linkAuth(list []int32) error {
	ask := g.asking[:0]
	for _, i := range list {
		for _, a := range g.auth(i) {
			ask = g.want(ask, a)
		}
	}
	return g.load(ask)
}

// want adds a node to those whose place is asked for.
func (g *graph) want(ask []int64, i int32) []int64 {
	if n := &g.nodes[i]; !n.is(known) {
		n.flags |= known
		return append(ask, n.num)
	}
	return ask
}

func (g *graph) load(ask []int64) error {
	g.asking = ask
	if len(ask) == 0 {
		return nil
	}
	answer, err := g.src.Nodes(ask)
	if err != nil {
		return fmt.Errorf("load %d nodes of the auth graph: %w", len(ask), err)
	}
	for j, a := range answer {
		start := len(g.edges)
		for _, num := range a.Auth {
			if num >= ask[j] {
				return fmt.Errorf("event %d names %d: %w", ask[j], num, ErrOrder)
			}
			g.edges = append(g.edges, g.add(num))
		}
		n := &g.nodes[g.index.get(ask[j])]
		n.slot, n.auth, n.auths = a.Slot, int32(start), uint16(len(g.edges)-start)
		if a.Rejected {
			n.flags |= rejected
		}
	}
	return nil
}

// read loads the events of those nodes that lack them.
func (g *graph) read(list []int32) error {
	ask := g.asking[:0]
	for _, i := range list {
		if n := &g.nodes[i]; n.ev == nil && !n.is(asked) {
			n.flags |= asked // the list may name a node twice
			ask = append(ask, n.num)
		}
	}
	g.asking = ask
	if len(ask) == 0 {
		return nil
	}
	answer, err := g.src.Events(ask)
	if err != nil {
		return fmt.Errorf("load %d events: %w", len(ask), err)
	}
	for j, ev := range answer {
		g.nodes[g.index.get(ask[j])].read(ev)
	}
	return nil
}

// read fills in the event, and marks what may take something from somebody: power events. As everywhere in the rules,
// power levels and join rules are the events with an empty state key. RV 12 #definitions
func (n *node) read(ev *event.PDU) {
	n.ev, n.ts = ev, ev.OriginServerTS
	if ev.StateKey == nil {
		return
	}
	switch ev.Type {
	case event.TypePowerLevels, event.TypeJoinRules:
		if *ev.StateKey == "" {
			n.flags |= powerful
		}
	case event.TypeMember:
		m := ev.Membership()
		if (m == event.Leave || m == event.Ban) && *ev.StateKey != string(ev.Sender) {
			n.flags |= powerful
		}
	}
}

// authIn is the auth event of a node in a slot, -1 if it has none. The auth events must be linked.
func (g *graph) authIn(i int32, slot int64) int32 {
	if slot == 0 {
		return -1
	}
	for _, a := range g.auth(i) {
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
	places []place
	used   int
}

type place struct {
	key   int64
	value int32
}

func (t *table) at(key int64) *place {
	mask := uint64(len(t.places) - 1)
	for i := uint64(key) * 0x9e3779b97f4a7c15 >> 32; ; i++ {
		if p := &t.places[i&mask]; p.key == key || p.key == 0 {
			return p
		}
	}
}

// get is the value of a key, -1 if it has none.
func (t *table) get(key int64) int32 {
	if t.used == 0 {
		return -1
	}
	if p := t.at(key); p.key == key {
		return p.value
	}
	return -1
}

// put sets the value of a key that has none; else it gives what is there.
func (t *table) put(key int64, value int32) (now int32, fresh bool) {
	if 4*t.used >= 3*len(t.places) {
		t.resize(2 * len(t.places))
	}
	p := t.at(key)
	if p.key == key {
		return p.value, false
	}
	*p = place{key, value}
	t.used++
	return value, true
}

// set sets the value of a key, whatever is there.
func (t *table) set(key int64, value int32) {
	if _, fresh := t.put(key, value); !fresh {
		t.at(key).value = value
	}
}

// clear makes an empty table of more than size places.
func (t *table) clear(size int) {
	t.used = 0
	if len(t.places) > size && len(t.places) <= 16*max(size, 63) {
		clear(t.places)
		return
	}
	t.places = make([]place, 1<<bits.Len(uint(max(size, 63))))
}

// resize makes a table of more than size places.
func (t *table) resize(size int) {
	old := t.places
	t.places = make([]place, 1<<bits.Len(uint(max(size, 63))))
	for _, p := range old {
		if p.key != 0 {
			*t.at(p.key) = p
		}
	}
}
