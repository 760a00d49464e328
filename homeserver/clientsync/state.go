package clientsync

import (
	"context"
	"fmt"
	"slices"

	"konsil/homeserver/room"
	"konsil/homeserver/store"
	"konsil/matrix/event"
	"konsil/matrix/id"
)

// What state a response tells of a room. A client has the state at its last sync (none for a whole room) and has to end up
// with the state at the end of the timeline. Where it asks for "state after", it just takes over what we send; otherwise it
// applies first what we send, then the state events in the timeline one after the other. So:
//
//   - of a slot whose event is not in the timeline, we send that event;
//   - of a slot whose event is in the timeline, we send what it held before the timeline, so that the client can show the
//     timeline's beginning, unless it knows that already.
//
// Both hold with forks, too, where the state is not what the timeline seems to say. CS v1.16 #get_matrixclientv3sync, MSC4222

// readStates reads the state of all rooms of the response.
func (a *answer) readStates(ctx context.Context) error {
	var whole []*roomAnswer
	for _, r := range slices.Concat(a.joined, a.left) {
		switch {
		case r.noState:
		case r.whole && r.member == nil:
			whole = append(whole, r)
		case r.whole:
			if err := a.stateThen(ctx, r); err != nil {
				return err
			}
		default:
			if err := a.stateSince(ctx, r); err != nil {
				return err
			}
		}
	}
	if err := a.wholeStates(ctx, whole); err != nil {
		return err
	}
	for _, r := range slices.Concat(a.joined, a.left) {
		if err := a.addLazy(ctx, r); err != nil {
			return err
		}
	}
	return nil
}

// lazy says whether members are told only as far as they are needed.
func (a *answer) lazyMembers() bool { return a.q.filter.state.lazyMembers }

// wholeStates reads the present state of rooms the user is in, of all in a few statements.
func (a *answer) wholeStates(ctx context.Context, rooms []*roomAnswer) error {
	if len(rooms) == 0 {
		return nil
	}
	nids := make([]int64, len(rooms))
	for i, r := range rooms {
		nids[i] = r.nid
	}
	var states, members map[int64][]int64
	err := a.syncer.cfg.Store.Read(ctx, func(tx *store.Tx) error {
		var err error
		if states, err = tx.CurrentStateOf(ctx, nids); err != nil {
			return err
		}
		if !a.lazyMembers() {
			members, err = tx.CurrentMembersOf(ctx, nids)
			return err
		}
		members = make(map[int64][]int64, len(rooms))
		for _, r := range rooms {
			if members[r.nid], err = tx.CurrentMembersIn(ctx, r.nid, append(senders(r.events), a.q.User)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("read state: %w", err)
	}
	var lists [][]int64
	for _, r := range rooms {
		lists = append(lists, states[r.nid], members[r.nid])
	}
	events, err := a.events(ctx, lists...)
	if err != nil {
		return err
	}
	for _, r := range rooms {
		now := make([]*room.Event, 0, len(states[r.nid])+len(members[r.nid]))
		for _, nid := range slices.Concat(states[r.nid], members[r.nid]) {
			if ev := events[nid]; ev != nil {
				now = append(now, ev)
			}
		}
		if err := a.setState(ctx, r, now); err != nil {
			return err
		}
	}
	return nil
}

// stateThen reads the state of a room as it was when the user left it.
func (a *answer) stateThen(ctx context.Context, r *roomAnswer) error {
	state, err := a.syncer.cfg.Rooms.StateAt(ctx, r.room, r.upTo)
	if err != nil {
		return fmt.Errorf("read former state: %w", err)
	}
	if a.lazyMembers() {
		needed := append(senders(r.events), a.q.User)
		state = slices.DeleteFunc(slices.Clone(state), func(ev *room.Event) bool {
			return ev.Type == event.TypeMember && !slices.Contains(needed, id.UserID(*ev.StateKey))
		})
	}
	return a.setState(ctx, r, state)
}

// stateSince reads what changed in the state since the client's last sync.
func (a *answer) stateSince(ctx context.Context, r *roomAnswer) error {
	if !r.limited && !a.stateMayDiffer(r) {
		return nil
	}
	changes, err := a.syncer.cfg.Rooms.StateChanges(ctx, r.room, r.since, r.upTo)
	if err != nil {
		return fmt.Errorf("read changes of state: %w", err)
	}
	return a.setState(ctx, r, changes)
}

// stateMayDiffer says whether a timeline without gaps can have changed the state in other ways than its events say: by events
// that the filter hid, by forks, or because the client wants all changes apart. Plain messages in a room without forks do not.
func (a *answer) stateMayDiffer(r *roomAnswer) bool {
	for _, ev := range r.all {
		switch {
		case ev.IsState() && a.q.StateAfter != StateBefore:
			return true
		case ev.IsState() && (len(ev.PrevEvents) != 1 || !slices.Contains(r.events, ev)):
			return true
		case ev.RoomState != ev.StateAfter:
			return true
		}
	}
	return false
}

// setState makes the state section of what the slots hold (or have come to hold) at the end of the timeline.
func (a *answer) setState(ctx context.Context, r *roomAnswer, now []*room.Event) error {
	if a.q.StateAfter != StateBefore {
		r.state = now
		return nil
	}
	shown := make(map[int64]bool, len(r.events))
	first := map[id.Slot]*room.Event{} // of the timeline, by slot
	for _, ev := range r.events {
		if !ev.IsState() {
			continue
		}
		shown[ev.NID] = true
		if first[ev.Slot()] == nil {
			first[ev.Slot()] = ev
		}
	}
	var before []int64
	for _, ev := range now {
		if !shown[ev.NID] {
			r.state = append(r.state, ev)
		} else if was := first[ev.Slot()].Replaces; was != 0 {
			before = append(before, was)
		}
	}
	if len(before) == 0 {
		return nil
	}
	earlier, err := a.syncer.cfg.Rooms.EventsByNID(ctx, before)
	if err != nil {
		return fmt.Errorf("read state before the timeline: %w", err)
	}
	for _, ev := range earlier {
		// What was there at the last sync, the client has.
		if !shown[ev.NID] && (r.since == 0 || ev.Pos > r.since) {
			r.state = append(r.state, ev)
		}
	}
	return nil
}

// addLazy adds the member events that a client without all members needs for the timeline and that it has not got, and drops
// what the filter does not let through.
func (a *answer) addLazy(ctx context.Context, r *roomAnswer) error {
	f := &a.q.filter.state
	if a.lazyMembers() && !r.whole && !r.noState && len(r.events) > 0 {
		if err := a.addSenders(ctx, r); err != nil {
			return err
		}
	}
	if a.lazyMembers() {
		a.remember(r)
	}
	if !f.all {
		r.state = slices.DeleteFunc(slices.Clone(r.state), func(ev *room.Event) bool { return !f.picks(ev) })
	}
	return nil
}

// addSenders adds the member events of who wrote in the timeline.
func (a *answer) addSenders(ctx context.Context, r *roomAnswer) error {
	known := a.syncer.lazy.known(a.q, r.room)
	var slots []id.Slot
	for _, user := range senders(r.events) {
		told := func(ev *room.Event) bool {
			return ev.Type == event.TypeMember && ev.StateKey != nil && *ev.StateKey == string(user)
		}
		if !known[user] && !slices.ContainsFunc(r.state, told) {
			slots = append(slots, id.Slot{Type: event.TypeMember, StateKey: string(user)})
		}
	}
	if len(slots) == 0 {
		return nil
	}
	members, err := a.syncer.cfg.Rooms.SlotsAt(ctx, r.room, r.upTo, slots)
	if err != nil {
		return fmt.Errorf("read members: %w", err)
	}
	for _, ev := range members {
		// Without "state after", a member event in the timeline is enough.
		if a.q.StateAfter != StateBefore || !slices.ContainsFunc(r.events, func(other *room.Event) bool { return other.NID == ev.NID }) {
			r.state = append(r.state, ev)
		}
	}
	return nil
}

// remember notes which members the client learns of with this response.
func (a *answer) remember(r *roomAnswer) {
	var users []id.UserID
	for _, ev := range slices.Concat(r.state, r.events) {
		if ev.Type == event.TypeMember && ev.StateKey != nil {
			users = append(users, id.UserID(*ev.StateKey))
		}
	}
	if len(users) > 0 {
		if a.told == nil {
			a.told = map[id.RoomID][]id.UserID{}
		}
		a.told[r.room] = append(a.told[r.room], users...)
	}
}
