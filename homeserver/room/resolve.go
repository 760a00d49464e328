package room

import (
	"fmt"

	"konsil/homeserver/room/resolve"
	"konsil/homeserver/store"
	"konsil/matrix/event"
	"konsil/matrix/id"
)

// source gives state resolution what it asks for, from the batch and the store.
type source struct{ b *batch }

// resolve merges states. RV 12 #state-resolution
func (b *batch) resolve(lists [][]store.Entry) ([]store.Entry, error) {
	states := make([][]resolve.Entry, len(lists))
	for i, list := range lists {
		states[i] = make([]resolve.Entry, len(list))
		for j, en := range list {
			states[i][j] = resolve.Entry(en)
		}
	}
	merged, err := resolve.Resolve(b.head.create, states, source{b})
	if err != nil {
		return nil, fmt.Errorf("resolve state: %w", err)
	}
	out := make([]store.Entry, len(merged))
	for i, en := range merged {
		out[i] = store.Entry(en)
	}
	return out, nil
}

// events reads events in the order of the question.
func (s source) events(nids []int64) ([]*Event, error) {
	found, err := s.b.eventMap(nids)
	if err != nil {
		return nil, err
	}
	evs := make([]*Event, len(nids))
	for i, nid := range nids {
		if evs[i] = found[nid]; evs[i] == nil {
			return nil, fmt.Errorf("event %d: %w", nid, store.ErrNotFound)
		}
	}
	return evs, nil
}

// eventMap reads events of the batch and the store.
func (b *batch) eventMap(nids []int64) (map[int64]*Event, error) {
	ask := make([]int64, 0, len(nids))
	for _, nid := range nids {
		if b.events[nid] == nil {
			ask = append(ask, nid)
		}
	}
	found, err := b.e.eventMap(b.ctx, ask)
	if err != nil {
		return nil, err
	}
	for _, nid := range nids {
		if ev := b.events[nid]; ev != nil {
			found[nid] = ev
		}
	}
	return found, nil
}

// Nodes implements resolve.Source.
func (s source) Nodes(nids []int64) ([]resolve.Node, error) {
	evs, err := s.events(nids)
	if err != nil {
		return nil, err
	}
	nodes := make([]resolve.Node, len(evs))
	for i, ev := range evs {
		nodes[i] = resolve.Node{Slot: ev.SlotNID, Auth: ev.Auth, Rejected: ev.Status == store.Rejected}
	}
	return nodes, nil
}

// Events implements resolve.Source.
func (s source) Events(nids []int64) ([]*event.PDU, error) {
	evs, err := s.events(nids)
	if err != nil {
		return nil, err
	}
	pdus := make([]*event.PDU, len(evs))
	for i, ev := range evs {
		pdus[i] = ev.PDU
	}
	return pdus, nil
}

// Slot implements resolve.Source.
func (s source) Slot(slot id.Slot) (int64, error) {
	nid, _, err := s.b.e.store.Slots().Find(s.b.ctx, slot)
	return nid, err
}
