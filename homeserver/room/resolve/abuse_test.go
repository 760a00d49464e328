package resolve_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"konsil/homeserver/room/resolve"
	"konsil/matrix/event"
	"konsil/matrix/id"
)

// small is a room with two forks: a topic on each.
func small(version string) (*world, [][]resolve.Entry) {
	w := newWorld(version)
	empty, alice := "", user("alice")
	w.add(draft{name: "C", kind: event.TypeCreate, sender: "alice", key: &empty, content: `{"creator":"@alice:t"}`})
	w.add(draft{name: "A", kind: event.TypeMember, sender: "alice", key: &alice, content: `{"membership":"join"}`, prev: []int64{1}})
	x := w.add(draft{name: "X", kind: event.TypeTopic, sender: "alice", key: &empty, content: `{}`, prev: []int64{2}, ts: 1})
	y := w.add(draft{name: "Y", kind: event.TypeTopic, sender: "alice", key: &empty, content: `{}`, prev: []int64{2}, ts: 2})
	return w, [][]resolve.Entry{w.after[x], w.after[y]}
}

// TestA11AuthCycle: auth events that refer to each other in a ring can not be numbered in order. That is told, not walked.
func TestA11AuthCycle(t *testing.T) {
	for _, version := range []string{"2", "12"} {
		w, states := small(version)
		w.nodes[2].Auth = []int64{4}
		w.nodes[3].Auth = []int64{3}
		if _, err := resolve.Resolve(w.create, states, w); !errors.Is(err, resolve.ErrOrder) {
			t.Errorf("v%s: %v", version, err)
		}
		w.nodes[2].Auth = []int64{3} // itself
		if _, err := resolve.Resolve(w.create, states, w); !errors.Is(err, resolve.ErrOrder) {
			t.Errorf("v%s: %v", version, err)
		}
	}
}

// failing is a source that breaks after some questions.
type failing struct {
	*world
	left int
}

var errBroken = errors.New("disk broken")

func (f *failing) fails() bool { f.left--; return f.left < 0 }

func (f *failing) Nodes(events []int64) ([]resolve.Node, error) {
	if f.fails() {
		return nil, errBroken
	}
	return f.world.Nodes(events)
}

func (f *failing) Events(events []int64) ([]*event.PDU, error) {
	if f.fails() {
		return nil, errBroken
	}
	return f.world.Events(events)
}

func (f *failing) Slot(slot id.Slot) (int64, error) {
	if f.fails() {
		return 0, errBroken
	}
	return f.world.Slot(slot)
}

// A source that breaks at any question breaks the resolution: no state is made up from half of what is known.
func TestSourceErrorsAreTold(t *testing.T) {
	for _, version := range []string{"1", "2", "11", "12"} {
		w, states := small(version)
		want, err := resolve.Resolve(w.create, states, w)
		if err != nil {
			t.Fatal(err)
		}
		for n := 0; ; n++ {
			got, err := resolve.Resolve(w.create, states, &failing{w, n})
			if err == nil {
				if n == 0 || !slices.Equal(got, want) {
					t.Errorf("v%s: after %d questions %s", version, n, w.show(got))
				}
				break
			}
			if !errors.Is(err, errBroken) {
				t.Errorf("v%s: the cause is lost: %v", version, err)
			}
		}
	}
}

// More states than a machine word has bits.
func TestManyForks(t *testing.T) {
	for _, version := range []string{"1", "11", "12"} {
		w, states := small(version)
		empty := ""
		for i := range 150 {
			key := user(fmt.Sprint("u", i))
			d := draft{name: fmt.Sprint("J", i), kind: event.TypeMember, sender: fmt.Sprint("u", i), key: &key, content: `{"membership":"join"}`, prev: []int64{2}}
			if i%3 == 0 {
				d = draft{name: fmt.Sprint("R", i), kind: event.TypeJoinRules, sender: "alice", key: &empty, content: `{"join_rule":"public"}`, prev: []int64{2}, ts: int64(i % 7)}
			}
			states = append(states, w.after[w.add(d)])
		}
		got, err := resolve.Resolve(w.create, states, w)
		if err != nil {
			t.Fatal(err)
		}
		if version == "1" {
			if len(got) != 4+100 { // nothing but topic and rules differs
				t.Errorf("%d entries", len(got))
			}
		} else if want := reference(w, states); !slices.Equal(got, want) {
			t.Errorf("v%s want:\n%s\ngot:\n%s", version, w.show(want), w.show(got))
		}
	}
}

func TestNothingToResolve(t *testing.T) {
	w, states := small("11")
	if got, err := resolve.Resolve(w.create, nil, w); err != nil || len(got) != 0 {
		t.Error(got, err)
	}
	w.asked = 0
	if got, err := resolve.Resolve(w.create, states[:1], w); err != nil || !slices.Equal(got, states[0]) || w.asked != 0 {
		t.Error(got, err, w.asked)
	}
}

// What an agreed event stands on is agreed too, though it is in no state and only one side names it otherwise.
func TestAgreedChainIsNoDifference(t *testing.T) {
	for _, version := range []string{"11", "12"} {
		w, _ := small(version)
		dave, empty := user("dave"), ""
		invite := w.add(draft{name: "I", kind: event.TypeMember, sender: "alice", key: &dave, content: `{"membership":"invite"}`, prev: []int64{2}})
		join := w.add(draft{name: "J", kind: event.TypeMember, sender: "dave", key: &dave, content: `{"membership":"join"}`, prev: []int64{invite}})
		topic := w.add(draft{name: "T", kind: event.TypeTopic, sender: "alice", key: &empty, content: `{}`, prev: []int64{join}, auth: []int64{2, invite}})
		full, err := resolve.FullConflictedSet(w.create, [][]resolve.Entry{w.after[topic], w.after[join]}, w)
		if err != nil || !slices.Equal(full, []int64{topic}) {
			t.Errorf("v%s: %v %v", version, full, err)
		}
	}
}
