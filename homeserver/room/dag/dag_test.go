package dag_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"konsil/homeserver/room/dag"
	"konsil/matrix/event"
	"konsil/matrix/id"
	"konsil/matrix/roomver"
)

// draw makes events of lines "NAME depth ts : prev…".
func draw(t *testing.T, lines string) []*event.PDU {
	t.Helper()
	var events []*event.PDU
	for line := range strings.Lines(lines) {
		head, refs, _ := strings.Cut(line, ":")
		var ev event.PDU
		if n, _ := fmt.Sscanf(head, "%s %d %d", &ev.ID, &ev.Depth, &ev.OriginServerTS); n == 0 {
			continue
		}
		for ref := range strings.FieldsSeq(refs) {
			ev.PrevEvents = append(ev.PrevEvents, id.EventID(ref))
		}
		events = append(events, &ev)
	}
	return events
}

func names(events []*event.PDU) string {
	var list []string
	for _, ev := range events {
		list = append(list, string(ev.ID))
	}
	return strings.Join(list, " ")
}

func TestSort(t *testing.T) {
	for _, c := range []struct{ name, events, sorted, cyclic string }{
		{"a line, handed over backwards", "C 3 1: B\nB 2 1: A\nA 1 1: X", "A B C", ""},
		{"the graph counts, not the depth", "B 1 1: A\nA 9 9:", "A B", ""},
		{"then depth, time, ID", "D 2 1:\nC 1 2:\nB 1 1:\nA 1 1:", "A B C D", ""},
		{"a fork", "M 4 1: L R\nR 3 1: A\nL 2 5: A\nA 1 1:", "A L R M", ""},
		{"doubles", "A 1 1:\nB 2 1: A A\nA 1 1:", "A B", ""},
		{"of the libraries' example: the smallest that may come next", "A 1 3:\nB 1 2:\nC 1 1: A", "B A C", ""},
	} {
		sorted, cyclic := dag.Sort(draw(t, c.events), dag.Prev)
		if names(sorted) != c.sorted || names(cyclic) != c.cyclic {
			t.Errorf("%s: %s, cyclic %s", c.name, names(sorted), names(cyclic))
		}
	}
}

// TestA12Cycles: events of version 1 choose their IDs and can refer to each other in a ring. They are told apart from the
// rest, which stays in order.
func TestA12Cycles(t *testing.T) {
	for _, c := range []struct{ name, events, sorted, cyclic string }{
		{"itself", "A 1 1: A\nB 2 1:", "B", "A"},
		{"a ring of two", "A 1 1: B\nB 2 1: A\nC 3 1:", "C", "A B"},
		{"what follows a ring", "A 1 1: B\nB 2 1: A\nC 3 1: B\nD 1 1:\nE 2 1: D", "D E", "A B C"},
		{"what a ring follows", "A 1 1:\nB 2 1: A C\nC 2 1: B", "A", "B C"},
	} {
		sorted, cyclic := dag.Sort(draw(t, c.events), dag.Prev)
		if names(sorted) != c.sorted || names(cyclic) != c.cyclic {
			t.Errorf("%s: %s, cyclic %s", c.name, names(sorted), names(cyclic))
		}
	}
}

func TestOrderIsTopologicalAndSmallest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 20).Draw(t, "n")
		rank := rapid.Permutation(seq(n)).Draw(t, "rank")
		before := make([][]int32, n)
		for i := 1; i < n; i++ {
			for range rapid.IntRange(0, 3).Draw(t, "edges") {
				before[i] = append(before[i], int32(rapid.IntRange(0, i-1).Draw(t, "edge")))
			}
		}
		order := dag.Order(n, func(i int32) []int32 { return before[i] }, func(a, b int32) bool { return rank[a] < rank[b] })
		if len(order) != n {
			t.Fatalf("%d of %d", len(order), n)
		}
		placed := make([]bool, n)
		for _, i := range order {
			for j := range int32(n) { // nothing smaller could have come here
				if !placed[j] && free(before[j], placed) && rank[j] < rank[i] {
					t.Fatalf("%v: %d could come before %d", order, j, i)
				}
			}
			if !free(before[i], placed) {
				t.Fatalf("%v: %d comes too early", order, i)
			}
			placed[i] = true
		}
	})
}

func seq(n int) []int {
	list := make([]int, n)
	for i := range list {
		list[i] = i
	}
	return list
}

func free(before []int32, placed []bool) bool {
	return !slices.ContainsFunc(before, func(i int32) bool { return !placed[i] })
}

func TestSortDoesNotDependOnTheOrderGiven(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 12).Draw(t, "n")
		var events []*event.PDU
		for i := range n {
			ev := &event.PDU{ID: id.EventID(fmt.Sprint("$", i)), Depth: int64(rapid.IntRange(0, 3).Draw(t, "depth")), OriginServerTS: int64(rapid.IntRange(0, 3).Draw(t, "ts"))}
			for range rapid.IntRange(0, 2).Draw(t, "refs") { // rings too
				ev.PrevEvents = append(ev.PrevEvents, id.EventID(fmt.Sprint("$", rapid.IntRange(0, n).Draw(t, "ref"))))
			}
			events = append(events, ev)
		}
		a, ringA := dag.Sort(events, dag.Prev)
		b, ringB := dag.Sort(rapid.Permutation(events).Draw(t, "shuffled"), dag.Prev)
		if names(a) != names(b) || len(ringA) != len(ringB) || len(a)+len(ringA) != n {
			t.Fatalf("%s and %s", names(a), names(b))
		}
	})
}

func TestAdvance(t *testing.T) {
	ev := func(name string, depth int64, prev ...id.EventID) *event.PDU {
		return &event.PDU{ID: id.EventID(name), Depth: depth, PrevEvents: prev}
	}
	var ends []dag.Extremity
	var behind []id.EventID
	step := func(e *event.PDU, referenced bool, want string) {
		t.Helper()
		ends = dag.Advance(ends, e, behind, referenced)
		var got []string
		for _, x := range ends {
			got = append(got, fmt.Sprint(x.ID, x.Depth))
		}
		if strings.Join(got, " ") != want {
			t.Fatalf("after %s: %v, want %s", e.ID, got, want)
		}
	}
	step(ev("A", 1), false, "A1")
	step(ev("B", 2, "A"), false, "B2")
	step(ev("C", 2, "A"), false, "B2 C2") // a fork
	step(ev("B", 2, "A"), false, "B2 C2") // once more
	step(ev("D", 3, "X"), true, "B2 C2")  // late: something refers to it already
	step(ev("E", 3, "B", "C"), false, "E3")
	step(ev("F", 4, "D"), false, "E3 F4")
	behind = []id.EventID{"E", "B"}
	step(ev("G", 6, "F", "soft-failed"), false, "G6")
}

// TestA12ManyExtremities: of thousands of ends an event names as many as it may, and each event makes them fewer.
func TestA12ManyExtremities(t *testing.T) {
	var ends []dag.Extremity
	for i := range 20000 {
		ends = append(ends, dag.Extremity{ID: id.EventID(fmt.Sprintf("$%05d", i)), Depth: int64(i % 1000)})
	}
	chosen := dag.SelectPrev(ends)
	if len(chosen) != event.MaxPrevEvents || chosen[0].Depth != 999 || chosen[len(chosen)-1].Depth != 0 {
		t.Fatalf("chose %v", chosen)
	}
	var prev []id.EventID
	for _, e := range chosen {
		prev = append(prev, e.ID)
	}
	if len(dag.Unique(prev)) != len(prev) {
		t.Fatal("chose one twice")
	}
	next := dag.Advance(ends, &event.PDU{ID: "$new", PrevEvents: prev, Depth: 1000}, nil, false)
	if len(next) != len(ends)-len(prev)+1 {
		t.Fatalf("%d ends of %d are left", len(next), len(ends))
	}
	few := ends[:3]
	if diff := cmp.Diff(few, dag.SelectPrev(few)); diff != "" {
		t.Error(diff)
	}
	if chosen[0].ID != ends[999].ID || !slices.IsSortedFunc(ends, func(a, b dag.Extremity) int { return strings.Compare(string(a.ID), string(b.ID)) }) {
		t.Error("the ends handed in were changed")
	}
}

func TestA09Depth(t *testing.T) {
	old, _ := roomver.Get("1")
	strict, _ := roomver.Get("11")
	at := func(depths ...int64) (list []dag.Extremity) {
		for _, d := range depths {
			list = append(list, dag.Extremity{Depth: d})
		}
		return list
	}
	for _, c := range []struct {
		v    *roomver.Version
		prev []dag.Extremity
		want int64
	}{
		{strict, nil, 1},
		{strict, at(4, 7, 2), 8},
		{strict, at(1<<53 - 1), 1<<53 - 1},
		{strict, at(math.MaxInt64), 1<<53 - 1},
		{old, at(1<<53 - 1), 1 << 53},
		{old, at(math.MaxInt64), math.MaxInt64},
	} {
		if got := dag.NextDepth(c.v, c.prev); got != c.want {
			t.Errorf("v%s after %v: %d, want %d", c.v, c.prev, got, c.want)
		}
	}
}

// store answers a walk from drawn events, and counts.
type store struct {
	events  map[id.EventID]dag.Node
	batches int
	loaded  int
}

func newStore(t *testing.T, lines string) *store {
	s := &store{events: make(map[id.EventID]dag.Node)}
	for _, ev := range draw(t, lines) {
		s.events[ev.ID] = dag.Node{ID: ev.ID, Depth: ev.Depth, Refs: ev.PrevEvents}
	}
	return s
}

func (s *store) load(ids []id.EventID) (nodes []dag.Node, err error) {
	s.batches++
	for _, ref := range ids {
		if n, known := s.events[ref]; known {
			nodes = append(nodes, n)
			s.loaded++
		}
	}
	return nodes, nil
}

func nodeNames(nodes []dag.Node) string {
	var list []string
	for _, n := range nodes {
		list = append(list, string(n.ID))
	}
	return strings.Join(list, " ")
}

const room = "A 1 0:\nB 2 0: A\nC 2 0: A\nD 3 0: B C\nE 4 0: D\nF 5 0: E"

func TestBetween(t *testing.T) {
	for _, c := range []struct {
		latest, earliest string
		minDepth         int64
		limit            int
		want             string
	}{
		{"F", "A", 0, 10, "B C D E"},
		{"F", "", 0, 10, "A B C D E"},
		{"F", "D", 0, 10, "E"},
		{"F", "B C", 0, 10, "D E"},
		{"F", "A", 0, 2, "D E"}, // the nearest, so that the gap closes from its young end
		{"F", "", 3, 10, "D E"},
		{"F E", "A", 0, 10, "B C D"},
		{"A", "", 0, 10, ""},
		{"F", "F", 0, 10, "A B C D E"},
	} {
		s := newStore(t, room)
		var latest []dag.Node
		for name := range strings.FieldsSeq(c.latest) {
			latest = append(latest, s.events[id.EventID(name)])
		}
		var earliest []id.EventID
		for name := range strings.FieldsSeq(c.earliest) {
			earliest = append(earliest, id.EventID(name))
		}
		got, err := dag.Between(latest, earliest, c.minDepth, c.limit, s.load)
		if err != nil || nodeNames(got) != c.want {
			t.Errorf("%s..%s: %s %v, want %s", c.earliest, c.latest, nodeNames(got), err, c.want)
		}
	}
}

// TestA12WalkIsBounded: a ring ends, a limit holds, and unknown events by the thousand cost one question.
func TestA12WalkIsBounded(t *testing.T) {
	s := newStore(t, "A 1 1: C\nB 2 1: A\nC 3 1: B")
	if got, err := (dag.Walk{Load: s.load}).Back([]id.EventID{"C"}); err != nil || nodeNames(got) != "C B A" {
		t.Errorf("ring: %s %v", nodeNames(got), err)
	}
	var long strings.Builder
	for i := 1; i < 10000; i++ {
		fmt.Fprintf(&long, "e%d %d 0: e%d\n", i, i, i-1)
	}
	s = newStore(t, long.String())
	if got, err := (dag.Walk{Load: s.load, Limit: 20}).Back([]id.EventID{"e9999"}); err != nil || len(got) != 20 || s.loaded != 20 {
		t.Errorf("limit: %d events, %d loaded, %v", len(got), s.loaded, err)
	}
	var unknown []id.EventID
	for i := range 10000 {
		unknown = append(unknown, id.EventID(fmt.Sprint("$", i)))
	}
	s.batches = 0
	if got, err := (dag.Walk{Load: s.load}).Back(unknown); err != nil || len(got) != 0 || s.batches != 1 {
		t.Errorf("unknown: %d events in %d batches, %v", len(got), s.batches, err)
	}
}

func BenchmarkSort(b *testing.B) {
	var events []*event.PDU
	for i := range 5000 {
		ev := &event.PDU{ID: id.EventID(fmt.Sprint("$", i)), Depth: int64(i)}
		if i > 0 {
			ev.PrevEvents = []id.EventID{id.EventID(fmt.Sprint("$", i-1))}
		}
		events = append(events, ev)
	}
	slices.Reverse(events)
	b.ReportAllocs()
	for b.Loop() {
		dag.Sort(events, dag.Prev)
	}
}
