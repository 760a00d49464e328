package resolve

import (
	"cmp"
	"math"
	"slices"
)

// nowhere is the mainline position of an event that goes back to no power levels event of the mainline. It counts as
// before all of the mainline. RV 12 #definitions
const nowhere = math.MaxInt32

// mainline is the line of power levels events from the current one back to the room's first. It is loaded as far back as
// events ask for.
type mainline struct {
	*resolution
	line []int32
	ends bool            // the last of line names no further one
	at   map[int32]int32 // positions found so far
}

// mainlineOrder sorts events by the mainline of a state's power levels: those that go back to an older part of it come
// first, then the earlier time, then the smaller ID. RV 12 #definitions
func (r *resolution) mainlineOrder(list []int32, st *state) error {
	if err := r.linkAuth(list); err != nil {
		return err
	}
	m := mainline{resolution: r, ends: true, at: make(map[int32]int32)}
	if tip := st.inState(r.levelsSlot); tip >= 0 {
		m.line, m.ends = []int32{tip}, false
	}
	type key struct {
		position, node int32
		ts             int64
	}
	keys := make([]key, len(list))
	for k, i := range list {
		position, err := m.position(r.authIn(i, r.levelsSlot))
		if err != nil {
			return err
		}
		keys[k] = key{position, i, r.nodes[i].ts}
	}
	slices.SortFunc(keys, func(a, b key) int {
		if a.position != b.position {
			return cmp.Compare(b.position, a.position)
		}
		if a.ts != b.ts {
			return cmp.Compare(a.ts, b.ts)
		}
		return cmp.Compare(r.nodes[a.node].ev.ID, r.nodes[b.node].ev.ID)
	})
	for k := range keys {
		list[k] = keys[k].node
	}
	return nil
}

// position goes from a power levels event back to the mainline and says where it meets it.
func (m *mainline) position(levels int32) (int32, error) {
	position := int32(nowhere)
	var way []int32
	for i := levels; i >= 0; {
		if p, done := m.at[i]; done {
			position = p
			break
		}
		way = append(way, i)
		p, err := m.find(i)
		if err != nil {
			return 0, err
		}
		if p >= 0 {
			position = p
			break
		}
		if i, err = m.before(i); err != nil {
			return 0, err
		}
	}
	for _, i := range way {
		m.at[i] = position
	}
	return position, nil
}

// find gives the place of a power levels event on the line, -1 if it is off. Numbers fall along the line, so there is no
// need to know more of it than down to the number looked for.
func (m *mainline) find(levels int32) (int32, error) {
	num := m.nodes[levels].num
	for !m.ends && m.nodes[m.line[len(m.line)-1]].num > num {
		next, err := m.before(m.line[len(m.line)-1])
		if err != nil {
			return 0, err
		}
		if next < 0 {
			m.ends = true
			break
		}
		m.line = append(m.line, next)
	}
	p, found := slices.BinarySearchFunc(m.line, num, func(i int32, num int64) int { return cmp.Compare(num, m.nodes[i].num) })
	if !found {
		return -1, nil
	}
	return int32(p), nil
}

// before is the power levels event that one names among its auth events, -1 for none.
func (m *mainline) before(i int32) (int32, error) {
	one := []int32{i}
	if err := m.link(one); err != nil {
		return 0, err
	}
	if err := m.linkAuth(one); err != nil {
		return 0, err
	}
	return m.authIn(i, m.levelsSlot), nil
}
