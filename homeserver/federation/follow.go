package federation

import (
	"context"
	"fmt"

	"konsil/homeserver/room"
	"konsil/homeserver/store"
	"konsil/matrix/event"
	"konsil/matrix/id"
)

// stream is one kind of things in the domain's order. Each is read from a place of its own, so that a message costs a look
// at messages only.
type stream int

const (
	streamEvents stream = iota
	streamKeys          // to-device messages, device lists, cross-signing keys
	streamReceipts
	streamPresence
	streams // how many
)

type streamSet uint

const allStreams = streamSet(1<<streams - 1)

func (s *streamSet) set(st stream)     { *s |= 1 << st }
func (s *streamSet) clear(st stream)   { *s &^= 1 << st }
func (s streamSet) has(st stream) bool { return s&(1<<st) != 0 }

// followBatch is how much of a stream is read at a time.
const followBatch = 200

// follow dispatches what a stream holds beyond the last place read; more says that there may be more of it now.
func (s *Sender) follow(ctx context.Context, st stream) (more bool, err error) {
	upTo := s.store.Position()
	s.mu.Lock()
	after := s.read[st]
	s.mu.Unlock()
	if upTo <= after {
		return false, nil
	}
	var (
		out  dispatch
		last int64
		full bool
	)
	switch st {
	case streamEvents:
		last, full, err = s.followEvents(ctx, &out, after, upTo)
	case streamKeys:
		last, full, err = s.followKeys(ctx, &out, after, upTo)
	case streamReceipts:
		last, full, err = s.followReceipts(ctx, &out, after, upTo)
	case streamPresence:
		last, full, err = s.followPresence(ctx, &out, after, upTo)
	}
	if err != nil {
		return false, err
	}
	if !full {
		last = upTo
	}
	if err := s.deliver(ctx, out, st, last); err != nil {
		return false, err
	}
	return full, nil
}

// dispatch collects what goes to whom.
type dispatch struct {
	items    []addressed
	volatile []addressedEDU
	relayed  []id.EventID
}

type addressed struct {
	item
	to []id.ServerName
	// also gets it, though it is not in the room (any more): whom it is about. "" for nobody.
	about id.ServerName
}

type addressedEDU struct {
	key string
	edu outEDU
	to  []id.ServerName
}

// deliver hands items to their servers' queues: into memory for those in good order, into the store for the others. Then
// the stream counts as read up to last.
func (s *Sender) deliver(ctx context.Context, out dispatch, st stream, last int64) error {
	away := map[id.ServerName][]item{}
	s.mu.Lock()
	for _, a := range out.items {
		for _, server := range a.to {
			it := a.item
			it.must = server == a.about
			s.put(server, it, away)
		}
		if a.about != "" && !contains(a.to, a.about) {
			it := a.item
			it.must = true
			s.put(a.about, it, away)
		}
	}
	for _, v := range out.volatile {
		for _, server := range v.to {
			s.putVolatile(server, v.key, v.edu)
		}
	}
	for _, ev := range out.relayed {
		delete(s.relays, ev)
	}
	s.relayed = append(s.relayed, out.relayed...)
	if len(away) == 0 {
		s.read[st] = max(s.read[st], last)
		s.progressed()
		s.mu.Unlock()
		return nil
	}
	s.mu.Unlock()
	if err := s.putAway(ctx, away); err != nil {
		return err
	}
	s.mu.Lock()
	s.read[st] = max(s.read[st], last)
	s.progressed()
	s.mu.Unlock()
	return nil
}

func contains(list []id.ServerName, server id.ServerName) bool {
	for _, s := range list {
		if s == server {
			return true
		}
	}
	return false
}

// put adds an item to a queue in memory, or to away if the server's queue is in the store. Needs mu.
func (s *Sender) put(server id.ServerName, it item, away map[id.ServerName][]item) {
	if server == s.server {
		return
	}
	d := s.destination(server)
	if d.stored || len(d.items) >= maxLivePDUs+maxLiveEDUs {
		if len(away[server]) == 0 {
			d.stored = true
			d.spilling++
			d.spills++
			// What waits in memory is older and must not be overtaken.
			away[server] = d.items
			d.items = nil
			d.parked = append(d.parked, away[server]...)
		}
		away[server] = append(away[server], it)
		return
	}
	d.items = append(d.items, it)
	s.start(d)
}

func (s *Sender) putVolatile(server id.ServerName, key string, edu outEDU) {
	if server == s.server {
		return
	}
	d := s.destination(server)
	if d.failures > 0 {
		return // nobody needs to know later who was typing
	}
	if d.volatile == nil {
		d.volatile = map[string]outEDU{}
	}
	if _, waiting := d.volatile[key]; !waiting {
		if len(d.order) >= 10*maxEDUs {
			return
		}
		d.order = append(d.order, key)
	}
	d.volatile[key] = edu
	s.start(d)
}

// putAway writes rows for servers whose queues are in the store.
func (s *Sender) putAway(ctx context.Context, away map[id.ServerName][]item) error {
	type rows struct {
		pdus []store.QueuedPDU
		edus []store.QueuedEDU
	}
	all := make(map[id.ServerName]rows, len(away))
	s.mu.Lock()
	for server, items := range away {
		pdus, edus := s.destination(server).rows(items)
		if len(pdus)+len(edus) > 0 {
			all[server] = rows{pdus, edus}
		}
	}
	s.mu.Unlock()
	var err error
	if len(all) > 0 {
		err = s.store.Write(ctx, func(tx *store.Tx) error {
			for server, r := range all {
				if err := tx.Enqueue(ctx, server, r.pdus, r.edus); err != nil {
					return err
				}
			}
			return nil
		})
	}
	var long []*destination
	s.mu.Lock()
	for server, items := range away {
		d := s.destination(server)
		d.spilled(items, err)
		if d.spills%maxQueuedPDUs == 0 && d.dirty == nil {
			long = append(long, d)
		}
		s.start(d)
	}
	s.mu.Unlock()
	if err != nil {
		return fmt.Errorf("store federation queues: %w", err)
	}
	for _, d := range long {
		if err := s.thin(ctx, d); err != nil {
			return fmt.Errorf("thin a federation queue: %w", err)
		}
	}
	return nil
}

// without drops those items from list that are among stored.
func without(list, stored []item) []item {
	type name struct {
		pos int64
		key string
	}
	gone := make(map[name]bool, len(stored))
	for _, it := range stored {
		gone[name{it.pos, it.key}] = true
	}
	var left []item
	for _, it := range list {
		if !gone[name{it.pos, it.key}] {
			left = append(left, it)
		}
	}
	return left
}

// followEvents dispatches our users' events, and those we relay, to the servers of their rooms.
func (s *Sender) followEvents(ctx context.Context, out *dispatch, after, upTo int64) (last int64, full bool, err error) {
	events, err := s.rooms.EventsAfter(ctx, after, upTo, followBatch)
	if err != nil {
		return 0, false, fmt.Errorf("read events to send: %w", err)
	}
	seen := audiences{}
	for _, ev := range events {
		last = ev.Pos
		if err := s.address(ctx, out, ev, seen); err != nil {
			return 0, false, err
		}
	}
	return last, len(events) == followBatch, nil
}

// address finds out who has to hear of an event.
func (s *Sender) address(ctx context.Context, out *dispatch, ev *room.Event, seen audiences) error {
	ours := ev.Sender.Server() == s.server
	s.mu.Lock()
	relay := s.relays[ev.ID]
	silent := s.silent[ev.ID]
	delete(s.silent, ev.ID)
	s.mu.Unlock()
	if !ours && !relay {
		return nil
	}
	if relay {
		out.relayed = append(out.relayed, ev.ID)
	}
	if ev.Membership() == event.Join && ours {
		if err := s.introduce(ctx, out, ev); err != nil {
			return err
		}
	}
	if silent || ev.Status != store.Accepted {
		return nil
	}
	servers, err := s.audience(ctx, ev, seen)
	if err != nil {
		return fmt.Errorf("servers of a room: %w", err)
	}
	a := addressed{item: item{pos: ev.Pos, event: ev}, to: servers}
	if relay {
		// Whoever made the event has it.
		a.to = make([]id.ServerName, 0, len(servers))
		for _, server := range servers {
			if server != ev.Sender.Server() {
				a.to = append(a.to, server)
			}
		}
	}
	// Who is kicked, banned, or whose invite is taken back has to hear of it, in the room or not.
	if m := ev.Membership(); m == event.Leave || m == event.Ban {
		if target, err := id.ParseUserID(*ev.StateKey); err == nil && target.Server() != s.server && target.Server() != ev.Sender.Server() {
			a.about = target.Server()
		}
	}
	if len(a.to) > 0 || a.about != "" {
		out.items = append(out.items, a)
	}
	return nil
}

// audiences are the servers of the rooms in one batch of events.
type audiences map[id.RoomID]*audience

type audience struct {
	servers []id.ServerName // in the room now
	moved   bool            // members of other servers came or went since the room's first event of the batch
}

// audience is the servers that were in the room once the event was in. A server that joined later must not get it: the
// history before its join may not be for it to see. Usually nobody came or went since, which costs no look into the store.
func (s *Sender) audience(ctx context.Context, ev *room.Event, seen audiences) ([]id.ServerName, error) {
	a := seen[ev.RoomID]
	if a == nil {
		servers, err := s.rooms.JoinedServers(ctx, ev.RoomID)
		if err != nil {
			return nil, err
		}
		a = &audience{servers: servers}
		if a.moved, err = s.moved(ctx, ev); err != nil {
			return nil, err
		}
		seen[ev.RoomID] = a
	}
	if !a.moved {
		return a.servers, nil
	}
	members, err := s.rooms.Members(ctx, ev.RoomID, ev.Pos, event.Join, "")
	if err != nil {
		return nil, err
	}
	var servers []id.ServerName
	for _, m := range members {
		if user, err := id.ParseUserID(*m.StateKey); err == nil && !contains(servers, user.Server()) {
			servers = append(servers, user.Server())
		}
	}
	return servers, nil
}

// moved reports whether members of other servers changed after the event.
func (s *Sender) moved(ctx context.Context, ev *room.Event) (bool, error) {
	info, err := s.rooms.Room(ctx, ev.RoomID)
	if err != nil || info.LastPos <= ev.Pos {
		return false, err
	}
	changes, err := s.rooms.StateChanges(ctx, ev.RoomID, ev.Pos, s.store.Position())
	if err != nil {
		return false, err
	}
	for _, change := range changes {
		if change.Type != event.TypeMember {
			continue
		}
		if user, err := id.ParseUserID(*change.StateKey); err == nil && user.Server() != s.server {
			return true, nil
		}
	}
	return false, nil
}
