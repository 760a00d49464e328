package resolve_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"konsil/homeserver/room/auth"
	"konsil/homeserver/room/resolve"
	"konsil/matrix/event"
	"konsil/matrix/id"
	"konsil/matrix/roomver"
)

// world is a room whose events are drawn by a test, and the Source that knows them. Numbers are given in the order in
// which events are made.
type world struct {
	version *roomver.Version
	create  *auth.Create
	events  []*event.PDU // number n is events[n-1]
	nodes   []resolve.Node
	byID    map[id.EventID]int64
	slots   map[id.Slot]int64
	slotOf  []id.Slot // slot n is slotOf[n-1]
	after   map[int64][]resolve.Entry
	asked   int // events and nodes that a resolution has asked for
}

func newWorld(version string) *world {
	v, ok := roomver.Get(version)
	if !ok {
		panic("no version " + version)
	}
	return &world{
		version: v, byID: make(map[id.EventID]int64), slots: make(map[id.Slot]int64),
		after: make(map[int64][]resolve.Entry),
	}
}

func (w *world) Nodes(events []int64) ([]resolve.Node, error) {
	list := make([]resolve.Node, len(events))
	for i, num := range events {
		list[i] = w.nodes[num-1]
	}
	w.asked += len(events)
	return list, nil
}

func (w *world) Events(events []int64) ([]*event.PDU, error) {
	list := make([]*event.PDU, len(events))
	for i, num := range events {
		list[i] = w.events[num-1]
	}
	w.asked += len(events)
	return list, nil
}

func (w *world) Slot(slot id.Slot) (int64, error) { return w.slots[slot], nil }

func (w *world) slot(slot id.Slot) int64 {
	if n := w.slots[slot]; n != 0 {
		return n
	}
	w.slotOf = append(w.slotOf, slot)
	w.slots[slot] = int64(len(w.slotOf))
	return w.slots[slot]
}

// draft is an event to be made.
type draft struct {
	name, kind, sender string
	key                *string
	content            string
	ts                 int64
	prev               []int64
	auth               []int64 // nil means: by the selection
	rejected           bool
}

func user(name string) string { return "@" + name + ":t" }

// add makes an event, files it, and notes the state after it.
func (w *world) add(d draft) int64 { return w.addAfter(d, w.before(d.prev)) }

// addAfter is add where the state before is known.
func (w *world) addAfter(d draft, before []resolve.Entry) int64 {
	if d.auth == nil {
		for _, slot := range auth.Selection(w.version, d.kind, d.key, id.UserID(user(d.sender)), []byte(d.content)) {
			if num := held(before, w.slots[slot]); num != 0 {
				d.auth = append(d.auth, num)
			}
		}
	}
	slices.Sort(d.auth)
	ev := w.pdu(d)
	w.events = append(w.events, ev)
	num := int64(len(w.events))
	w.byID[ev.ID] = num
	node := resolve.Node{Auth: d.auth, Rejected: d.rejected}
	if ev.IsState() {
		node.Slot = w.slot(ev.Slot())
	}
	w.nodes = append(w.nodes, node)
	if ev.IsCreate() {
		w.create = auth.ParseCreate(ev)
	}
	w.after[num] = before
	if ev.IsState() && !d.rejected {
		w.after[num] = with(before, resolve.Entry{Slot: node.Slot, Event: num})
	}
	return num
}

func (w *world) before(prev []int64) []resolve.Entry {
	var states [][]resolve.Entry
	for _, p := range prev {
		states = append(states, w.after[p])
	}
	if len(states) == 0 {
		return nil
	}
	merged, err := resolve.Resolve(w.create, states, w)
	if err != nil {
		panic(err)
	}
	return merged
}

func held(state []resolve.Entry, slot int64) int64 {
	for _, e := range state {
		if e.Slot == slot {
			return e.Event
		}
	}
	return 0
}

// with is a state with one entry set.
func with(state []resolve.Entry, e resolve.Entry) []resolve.Entry {
	i, found := slices.BinarySearchFunc(state, e.Slot, func(e resolve.Entry, slot int64) int { return cmp.Compare(e.Slot, slot) })
	state = slices.Clone(state)
	if found {
		state[i] = e
		return state
	}
	return slices.Insert(state, i, e)
}

// without is a state with one slot free.
func without(state []resolve.Entry, slot int64) []resolve.Entry {
	return slices.DeleteFunc(slices.Clone(state), func(e resolve.Entry) bool { return e.Slot == slot })
}

func (w *world) pdu(d draft) *event.PDU {
	depth := int64(0)
	ids := func(nums []int64) any {
		names, pairs := []string{}, [][]any{}
		for _, num := range nums {
			ev := w.events[num-1]
			depth = max(depth, ev.Depth)
			names = append(names, string(ev.ID))
			pairs = append(pairs, []any{ev.ID, map[string]string{}})
		}
		if w.version.HashedEventIDs() {
			return names
		}
		return pairs
	}
	fields := map[string]any{
		"type": d.kind, "sender": user(d.sender), "content": json.RawMessage(d.content), "origin_server_ts": d.ts,
		"prev_events": ids(d.prev), "auth_events": ids(d.auth), "depth": depth + 1,
	}
	evID := id.EventID("$" + d.name)
	if !w.version.HashedEventIDs() {
		evID += ":t"
		fields["event_id"] = evID
	}
	switch {
	case !w.version.HashedRoomID:
		fields["room_id"] = "!room:t"
	case d.kind != event.TypeCreate:
		fields["room_id"] = w.create.RoomID
	}
	if d.key != nil {
		fields["state_key"] = *d.key
	}
	raw, err := json.Marshal(fields)
	if err != nil {
		panic(err)
	}
	ev, err := event.Stored(raw, w.version, evID)
	if err != nil {
		panic(fmt.Sprintf("%s: %v: %s", d.name, err, raw))
	}
	return ev
}

func (w *world) name(num int64) string {
	return strings.TrimSuffix(strings.TrimPrefix(string(w.events[num-1].ID), "$"), ":t")
}

// show prints a state for failure messages.
func (w *world) show(state []resolve.Entry) string {
	var b strings.Builder
	for _, e := range state {
		slot := w.slotOf[e.Slot-1]
		fmt.Fprintf(&b, "%s %s = %s\n", slot.Type, slot.StateKey, w.name(e.Event))
	}
	return b.String()
}
