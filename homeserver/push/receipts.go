package push

import (
	"context"
	"errors"
	"fmt"

	"konsil/homeserver/room"
	"konsil/homeserver/store"
	"konsil/matrix/id"
)

// Threads as receipts name them. CS v1.16 #threaded-read-receipts
const mainThread = "main"

// maxRecount bounds how many events are counted again when a receipt points far back.
const maxRecount = 2000

// receive applies a receipt of a local user: what it covers is read, what comes after it still is not.
func (k *Keeper) receive(ctx context.Context, r store.Receipt) error {
	ev, err := k.cfg.Rooms.Event(ctx, r.Event)
	if errors.Is(err, room.ErrUnknownEvent) || err == nil && (ev.RoomID != r.Room || ev.Pos <= 0) {
		return nil // it says nothing about what we count
	}
	if err != nil {
		return err
	}
	last, cleared := k.mark(r, ev.Pos)
	if len(cleared) == 0 || last <= ev.Pos {
		return nil
	}
	// Something after the receipt may be unread, so what was cleared is counted once more.
	events, _, err := k.cfg.Rooms.Timeline(ctx, r.Room, ev.Pos, last, maxRecount)
	if err != nil {
		return fmt.Errorf("read events to count again: %w", err)
	}
	return k.recount(ctx, r, cleared, events)
}

// mark notes how far a member has read and clears what that covers. It gives the threads that had something unread ("" is
// the main timeline), and the position of the last event counted.
func (k *Keeper) mark(r store.Receipt, pos int64) (last int64, cleared map[id.EventID]bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	counts := k.rooms[r.Room]
	m := counts.members[r.User]
	if m == nil {
		return 0, nil
	}
	cleared = map[id.EventID]bool{}
	clearThread := func(root id.EventID, t *tally) {
		// Of several receipts (m.read and m.read.private, of the thread and of all) the one that is most ahead counts.
		if pos <= max(m.read, t.read) {
			return
		}
		if t.notify > 0 || t.highlight > 0 {
			cleared[root] = true
		}
		t.clear()
	}
	switch root := id.EventID(r.Thread); root {
	case "":
		clearThread("", &m.main)
		for root, t := range m.threads {
			clearThread(root, t)
			if t.read <= pos && *t == (tally{read: t.read}) && !cleared[root] {
				delete(m.threads, root) // nothing is left to know about it
			}
		}
		m.read = max(m.read, pos)
	case mainThread:
		clearThread("", &m.main)
		m.main.read = max(m.main.read, pos)
	default:
		t := m.thread(root)
		clearThread(root, t)
		t.read = max(t.read, pos)
	}
	k.dirty[r.Room] = counts
	if len(cleared) > 0 {
		k.badge(r.User, r.Pos)
	}
	return counts.last, cleared
}

// recount counts events after a receipt for the one who sent it, in the threads that were cleared.
func (k *Keeper) recount(ctx context.Context, r store.Receipt, cleared map[id.EventID]bool, events []*room.Event) error {
	k.mu.Lock()
	m := k.rooms[r.Room].members[r.User]
	k.mu.Unlock()
	for _, ev := range events {
		if ev.Sender == r.User || ev.Pos <= m.since || m.rules.ignored[ev.Sender] {
			continue
		}
		root, err := k.threadOf(ctx, ev, 0)
		if err != nil {
			return err
		}
		if !cleared[root] || ev.Pos <= max(m.read, m.readIn(root)) {
			continue
		}
		asked, err := k.facts(ctx, ev)
		if err != nil {
			return err
		}
		if o := m.rules.compiled.Evaluate(asked, m.name); o != nil && (o.Notify || o.Highlight) {
			k.mu.Lock()
			m.thread(root).add(o)
			k.mu.Unlock()
		}
	}
	return nil
}

func (m *member) readIn(root id.EventID) int64 {
	if root == "" {
		return m.main.read
	}
	if t := m.threads[root]; t != nil {
		return t.read
	}
	return 0
}
