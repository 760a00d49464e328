package resolve_test

import (
	"fmt"
	"syscall"
	"testing"

	"konsil/homeserver/room/resolve"
	"konsil/matrix/event"
)

// forked is a room of many members that has split: on every fork the levels, the topic, and part of the members change,
// and one in a hundred members is banned.
func forked(version string, members, forks, percent int) (*world, [][]resolve.Entry) {
	w := newWorld(version)
	empty := ""
	ts := int64(0)
	var state []resolve.Entry
	put := func(d draft) int64 { // without the state after each, which would be members² entries
		ts++
		d.ts = ts
		num := w.addAfter(d, nil)
		delete(w.after, num)
		return num
	}
	set := func(state []resolve.Entry, num int64) []resolve.Entry {
		slot := w.nodes[num-1].Slot
		if int(slot) <= len(state) {
			state[slot-1].Event = num
			return state
		}
		return append(state, resolve.Entry{Slot: slot, Event: num}) // slots are numbered as they come
	}
	join := func(name string, n int, auth []int64, prev int64) draft {
		key := user(name)
		return draft{name: fmt.Sprintf("J%s%d", name, n), kind: event.TypeMember, sender: name, key: &key, auth: auth, prev: []int64{prev},
			content: fmt.Sprintf(`{"avatar_url":"mxc://t/abcdefghijkl","displayname":"%s %d","membership":"join"}`, name, n)}
	}
	create := put(draft{name: "C", kind: event.TypeCreate, sender: "admin", key: &empty, content: `{"creator":"@admin:t"}`, auth: []int64{}})
	first := []int64{}
	if !w.version.HashedRoomID {
		first = []int64{create}
	}
	admin := put(join("admin", 0, first, create))
	power := func(n int, auth []int64) draft {
		return draft{name: fmt.Sprintf("P%d", n), kind: event.TypePowerLevels, sender: "admin", key: &empty, auth: auth, prev: []int64{create},
			content: fmt.Sprintf(`{"users":{%s"@m%d:t":50}}`, map[bool]string{true: "", false: `"@admin:t":100,`}[w.version.PrivilegedCreators], n)}
	}
	levels := put(power(0, append(first, admin)))
	rules := put(draft{name: "R", kind: event.TypeJoinRules, sender: "admin", key: &empty, content: `{"join_rule":"public"}`, auth: append(first, admin, levels), prev: []int64{create}})
	for _, num := range []int64{create, admin, levels, rules} {
		state = set(state, num)
	}
	joins := make([]int64, members)
	for m := range joins {
		joins[m] = put(join(fmt.Sprintf("m%d", m), 0, append(first, levels, rules), create))
		state = set(state, joins[m])
	}
	var states [][]resolve.Entry
	for f := range forks {
		side := append([]resolve.Entry{}, state...)
		mine := put(power(f+1, append(first, admin, levels)))
		side = set(side, mine)
		topic := put(draft{name: fmt.Sprintf("T%d", f), kind: event.TypeTopic, sender: "admin", key: &empty, content: `{"topic":"x"}`, auth: append(first, admin, mine), prev: []int64{create}})
		side = set(side, topic)
		for m := range members * percent / 100 {
			name := fmt.Sprintf("m%d", m)
			d := join(name, f+1, append(first, mine, rules, joins[m]), create)
			if m%100 == f {
				key := user(name)
				d = draft{name: fmt.Sprintf("B%s%d", name, f), kind: event.TypeMember, sender: "admin", key: &key, auth: append(first, admin, mine, joins[m]), prev: []int64{create}, content: `{"membership":"ban"}`}
			}
			side = set(side, put(d))
		}
		states = append(states, side)
	}
	return w, states
}

// cpuTime is what this process has used of the processor, in nanoseconds: steadier than the clock on a busy machine.
func cpuTime() int64 {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		panic(err)
	}
	return used.Utime.Nano() + used.Stime.Nano()
}

// Budget: 10,000 members, 5 forks, 10 % conflicted within 6 ms of CPU.
func BenchmarkResolve(b *testing.B) {
	for _, c := range []struct {
		version                 string
		members, forks, percent int
	}{
		{"11", 1000, 2, 10}, {"11", 10000, 2, 10}, {"11", 10000, 5, 10}, {"12", 10000, 5, 10}, {"11", 10000, 5, 90},
	} {
		b.Run(fmt.Sprintf("v%s/%d/%d/%d%%", c.version, c.members, c.forks, c.percent), func(b *testing.B) {
			w, states := forked(c.version, c.members, c.forks, c.percent)
			w.asked = 0
			b.ReportAllocs()
			start := cpuTime()
			for b.Loop() {
				if _, err := resolve.Resolve(w.create, states, w); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(cpuTime()-start)/float64(b.N), "cpu-ns/op")
			b.ReportMetric(float64(w.asked)/float64(b.N), "asked/op")
		})
	}
}

// What a resolution reads depends on what differs, not on how large or old the room is.
func TestReadsOnlyWhatDiffers(t *testing.T) {
	asked := func(members int) int {
		w, states := forked("11", members, 2, 0)
		w.asked = 0
		if _, err := resolve.Resolve(w.create, states, w); err != nil {
			t.Fatal(err)
		}
		return w.asked
	}
	if small, large := asked(10), asked(500); small != large {
		t.Fatalf("%d reads in a room of 10, %d in one of 500", small, large)
	}
}

// The generated room resolves as the specification's words say.
func TestForkedRoomAgreesWithReference(t *testing.T) {
	for _, version := range []string{"11", "12"} {
		w, states := forked(version, 100, 3, 20)
		got, err := resolve.Resolve(w.create, states, w)
		if err != nil {
			t.Fatal(err)
		}
		if want := reference(w, states); w.show(want) != w.show(got) {
			t.Fatalf("v%s want:\n%s\ngot:\n%s", version, w.show(want), w.show(got))
		}
	}
}
