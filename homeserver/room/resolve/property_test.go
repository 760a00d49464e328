package resolve_test

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"konsil/homeserver/room/auth"
	"konsil/homeserver/room/resolve"
	"konsil/matrix/event"
	"konsil/matrix/id"
)

// grow draws a random room: people join, leave, are thrown out, get and lose power, on forks that sometimes merge.
func grow(t *rapid.T, version string) *world {
	w := newWorld(version)
	empty := ""
	people := []string{"a", "b", "c", "d", "e"}
	w.add(draft{name: "C", kind: event.TypeCreate, sender: "a", key: &empty, content: `{"creator":"@a:t"}`})
	heads := []int64{1}
	for i := range rapid.IntRange(5, 40).Draw(t, "events") {
		d := draft{name: fmt.Sprintf("%c%d", 'A'+rapid.IntRange(0, 25).Draw(t, "name"), i), key: &empty, ts: int64(rapid.IntRange(0, 12).Draw(t, "ts"))}
		d.sender = rapid.SampledFrom(people).Draw(t, "sender")
		target := rapid.SampledFrom(people).Draw(t, "target")
		someone := user(target)
		switch rapid.IntRange(0, 9).Draw(t, "verb") {
		case 0, 1, 2:
			own := user(d.sender)
			d.kind, d.key, d.content = event.TypeMember, &own, `{"membership":"join"}`
		case 3, 4, 5:
			words := []string{"ban", "leave", "invite", "leave", "knock"}
			d.kind, d.key, d.content = event.TypeMember, &someone, fmt.Sprintf(`{"membership":%q}`, rapid.SampledFrom(words).Draw(t, "word"))
		case 6:
			d.kind, d.content = event.TypeJoinRules, fmt.Sprintf(`{"join_rule":%q}`, rapid.SampledFrom([]string{"public", "invite", "knock"}).Draw(t, "rule"))
		case 7, 8:
			level := []int{0, 49, 50, 100}
			d.kind, d.content = event.TypePowerLevels, fmt.Sprintf(`{"users":{%s"@b:t":%d,%q:%d}}`,
				map[bool]string{true: "", false: `"@a:t":100,`}[w.version.PrivilegedCreators],
				rapid.SampledFrom(level).Draw(t, "level"), someone, rapid.SampledFrom(level).Draw(t, "level"))
		default:
			d.kind, d.content = event.TypeTopic, `{"topic":"x"}`
		}
		if i < 3 { // let it begin as rooms do
			own := user("a")
			d.sender = "a"
			switch i {
			case 0:
				d.kind, d.key, d.content = event.TypeMember, &own, `{"membership":"join"}`
			case 1:
				d.kind, d.key, d.content = event.TypeJoinRules, &empty, `{"join_rule":"public"}`
			}
		}
		d.prev = []int64{heads[len(heads)-1]}
		if i >= 3 {
			d.prev = []int64{rapid.SampledFrom(heads).Draw(t, "prev")}
			if other := rapid.SampledFrom(heads).Draw(t, "prev"); rapid.IntRange(0, 5).Draw(t, "merge") == 0 && other != d.prev[0] {
				d.prev = append(d.prev, other)
			}
		}
		if num, ok := w.tryAdd(d); ok {
			heads = append(heads, num)
		}
	}
	return w
}

// tryAdd adds an event that is allowed by the state before it, as a server would take it.
func (w *world) tryAdd(d draft) (int64, bool) {
	before := w.before(d.prev)
	probe := w.pdu(d)
	st := auth.NewEventState(w.create, func(slot id.Slot) *event.PDU {
		if num := held(before, w.slots[slot]); num != 0 {
			return w.events[num-1]
		}
		return nil
	})
	if auth.Authorize(probe, st) != nil {
		return 0, false
	}
	return w.add(d), true
}

// someStates picks the states after some events; now and then with a slot told wrongly.
func someStates(t *rapid.T, w *world) (states [][]resolve.Entry) {
	all := make([]int64, len(w.events))
	for i := range all {
		all[i] = int64(i + 1)
	}
	for range rapid.IntRange(2, 4).Draw(t, "states") {
		st := w.after[rapid.SampledFrom(all).Draw(t, "state")]
		if rapid.IntRange(0, 3).Draw(t, "wrong") == 0 {
			num := rapid.SampledFrom(all[1:]).Draw(t, "instead")
			st = with(st, resolve.Entry{Slot: w.nodes[num-1].Slot, Event: num})
		}
		states = append(states, st)
	}
	return states
}

func eachVersion(t *testing.T, f func(t *rapid.T, version string), versions ...string) {
	for _, version := range append(versions, "2", "6", "11", "12") {
		t.Run("v"+version, rapid.MakeCheck(func(t *rapid.T) { f(t, version) }))
	}
}

func TestAgreesWithReference(t *testing.T) {
	eachVersion(t, func(t *rapid.T, version string) {
		w := grow(t, version)
		states := someStates(t, w)
		got, err := resolve.Resolve(w.create, states, w)
		if err != nil {
			t.Fatal(err)
		}
		full, err := resolve.FullConflictedSet(w.create, states, w)
		if err != nil {
			t.Fatal(err)
		}
		r := &ref{world: w, chains: make(map[int64]set)}
		if _, want := r.fullConflictedSet(states); !slices.Equal(full, slices.Sorted(maps.Keys(want))) {
			t.Fatalf("full conflicted set %v, want %v", full, want)
		}
		if want := reference(w, states); !slices.Equal(got, want) {
			t.Fatalf("want:\n%s\ngot:\n%s", w.show(want), w.show(got))
		}
	})
}

func TestOrderOfStatesDoesNotMatter(t *testing.T) {
	eachVersion(t, func(t *rapid.T, version string) {
		w := grow(t, version)
		states := someStates(t, w)
		var first []resolve.Entry
		permute(states, func(states [][]resolve.Entry) {
			got, err := resolve.Resolve(w.create, states, w)
			if err != nil {
				t.Fatal(err)
			}
			if first == nil {
				first = got
			}
			if !slices.Equal(got, first) {
				t.Fatalf("one order:\n%s\nanother:\n%s", w.show(first), w.show(got))
			}
		})
	}, "1")
}

func TestEqualStatesResolveToThemselves(t *testing.T) {
	eachVersion(t, func(t *rapid.T, version string) {
		w, _ := small(version)
		state := w.after[int64(rapid.IntRange(1, len(w.events)).Draw(t, "state"))]
		for range rapid.IntRange(0, 5).Draw(t, "more") { // of any slots and events: nobody looks at them
			state = with(state, resolve.Entry{Slot: int64(rapid.IntRange(1, 99).Draw(t, "slot")), Event: int64(rapid.IntRange(1, 99).Draw(t, "event"))})
		}
		got, err := resolve.Resolve(w.create, [][]resolve.Entry{state, slices.Clone(state), slices.Clone(state)}, w)
		if err != nil || !slices.Equal(got, state) {
			t.Fatalf("%v: %v became %v", err, state, got)
		}
	}, "1")
}

// renumbered is a source with the same events under other numbers, as another server would have.
type renumbered struct {
	*world
	to, from []int64 // events, index 0 unused
	slotBase int64
}

func (r *renumbered) Nodes(events []int64) ([]resolve.Node, error) {
	nodes := make([]resolve.Node, len(events))
	for i, num := range events {
		n := r.nodes[r.from[num]-1]
		nodes[i] = resolve.Node{Rejected: n.Rejected}
		if n.Slot != 0 {
			nodes[i].Slot = r.slotBase - n.Slot
		}
		for _, a := range n.Auth {
			nodes[i].Auth = append(nodes[i].Auth, r.to[a])
		}
	}
	return nodes, nil
}

func (r *renumbered) Events(events []int64) ([]*event.PDU, error) {
	old := make([]int64, len(events))
	for i, num := range events {
		old[i] = r.from[num]
	}
	return r.world.Events(old)
}

func (r *renumbered) Slot(slot id.Slot) (int64, error) {
	if n := r.slots[slot]; n != 0 {
		return r.slotBase - n, nil
	}
	return 0, nil
}

func (r *renumbered) state(s []resolve.Entry) []resolve.Entry {
	out := make([]resolve.Entry, len(s))
	for i, e := range s {
		out[i] = resolve.Entry{Slot: r.slotBase - e.Slot, Event: r.to[e.Event]}
	}
	slices.SortFunc(out, func(a, b resolve.Entry) int { return cmp.Compare(a.Slot, b.Slot) })
	return out
}

func TestNumbersDoNotMatter(t *testing.T) {
	eachVersion(t, func(t *rapid.T, version string) {
		w := grow(t, version)
		states := someStates(t, w)
		want, err := resolve.Resolve(w.create, states, w)
		if err != nil {
			t.Fatal(err)
		}
		r := &renumbered{world: w, to: make([]int64, len(w.events)+1), from: make([]int64, 100*len(w.events)+1), slotBase: 1000}
		for next := int64(1); next <= int64(len(w.events)); next++ {
			var free []int64 // events whose auth events have numbers
			for i, n := range w.nodes {
				if r.to[i+1] == 0 && !slices.ContainsFunc(n.Auth, func(a int64) bool { return r.to[a] == 0 }) {
					free = append(free, int64(i+1))
				}
			}
			chosen := rapid.SampledFrom(free).Draw(t, "next")
			r.to[chosen], r.from[next*7] = next*7, chosen
		}
		var other [][]resolve.Entry
		for _, s := range states {
			other = append(other, r.state(s))
		}
		got, err := resolve.Resolve(w.create, other, r)
		if err != nil || !slices.Equal(got, r.state(want)) {
			t.Fatalf("%v: the numbers matter; with the first:\n%s", err, w.show(want))
		}
	}, "1")
}
