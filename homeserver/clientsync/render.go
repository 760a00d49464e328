package clientsync

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	"konsil/homeserver/e2ee"
	"konsil/homeserver/room"
	"konsil/homeserver/store"
	"konsil/matrix/canonical"
	"konsil/matrix/id"
)

// render writes the response. Empty parts are left out; events are bytes that are copied, never decoded.
func (a *answer) render(ctx context.Context) ([]byte, error) {
	written, err := a.write(ctx)
	if err != nil {
		return nil, err
	}
	b := append(make([]byte, 0, a.size(written)), '{')
	if data := accountDataEvents(a.accountData); len(data) > 0 || a.pushRules != nil {
		if a.pushRules != nil {
			data = append(data, typedEvent("m.push_rules", a.pushRules))
		}
		b = append(appendEvents(append(b, `"account_data":`...), data), ',')
	}
	if len(a.lists.Changed) > 0 || len(a.lists.Left) > 0 {
		b = appendUsers(append(b, `"device_lists":{"changed":`...), a.lists.Changed)
		b = append(appendUsers(append(b, `,"left":`...), a.lists.Left), `},`...)
	}
	b = append(appendKeyCounts(b, a.keys), `,"next_batch":`...)
	b = appendToken(b, a.upTo)
	if len(a.presence) > 0 {
		events := make([][]byte, len(a.presence))
		for i, p := range a.presence {
			events[i] = a.syncer.cfg.Ephemeral.PresenceEvent(p)
		}
		b = appendEvents(append(b, `,"presence":`...), events)
	}
	b = a.appendRooms(b, written)
	if len(a.toDevice) > 0 {
		events := make([][]byte, len(a.toDevice))
		for i, m := range a.toDevice {
			events[i] = m.Event
		}
		b = appendEvents(append(b, `,"to_device":`...), events)
	}
	if a.lazyMembers() {
		a.syncer.lazy.told(a.q, a.upTo, a.told)
	}
	return append(b, '}'), nil
}

// written holds the events of all rooms as clients get them.
type written map[*room.Event]json.RawMessage

// size is about how long the answer will be. An initial sync has megabytes, and a buffer that grows copies them again and again.
func (a *answer) size(all written) int {
	const perRoom = 512
	n := 4<<10 + perRoom*(len(a.joined)+len(a.left))
	for _, text := range all {
		n += len(text) + 1
	}
	return n
}

// write lets the engine write the events of all rooms in one go: timelines with what relates to their events, state without.
func (a *answer) write(ctx context.Context) (written, error) {
	var shown, state []*room.Event
	for _, rooms := range [][]*roomAnswer{a.joined, a.left} {
		for _, r := range rooms {
			shown, state = append(shown, r.events...), append(state, r.state...)
		}
	}
	all := make(written, len(shown)+len(state))
	if a.q.filter.federation {
		for _, ev := range append(shown, state...) {
			all[ev] = ev.JSON
		}
		return all, nil
	}
	related := a.window.related(shown)
	if len(related) < len(shown) {
		state = append(state, shown...)
	}
	// An event in both parts is the same but for what relates to it, so the part with that comes last.
	for _, part := range []struct {
		events []*room.Event
		bundle bool
	}{{state, false}, {related, true}} {
		if len(part.events) == 0 {
			continue
		}
		format := room.Format{Viewer: room.Viewer{User: a.q.User, Device: a.q.Device}, OmitRoomID: true, Bundle: part.bundle}
		texts, err := a.syncer.cfg.Rooms.ClientEvents(ctx, format, part.events)
		if err != nil {
			return nil, fmt.Errorf("write events: %w", err)
		}
		for i, ev := range part.events {
			all[ev] = texts[i]
		}
	}
	return all, nil
}

func (a *answer) appendRooms(b []byte, all written) []byte {
	if len(a.joined) == 0 && len(a.left) == 0 && len(a.invited) == 0 && len(a.knocks) == 0 {
		return b
	}
	b = append(b, `,"rooms":{`...)
	sep := ""
	if len(a.invited) > 0 {
		b = appendStripped(append(b, `"invite":{`...), a.invited, `":{"invite_state":`)
		b, sep = append(b, '}'), ","
	}
	if len(a.joined) > 0 {
		b, sep = a.appendSection(append(append(b, sep...), `"join":{`...), a.joined, all), ","
	}
	if len(a.knocks) > 0 {
		b = appendStripped(append(append(b, sep...), `"knock":{`...), a.knocks, `":{"knock_state":`)
		b, sep = append(b, '}'), ","
	}
	if len(a.left) > 0 {
		b = a.appendSection(append(append(b, sep...), `"leave":{`...), a.left, all)
	}
	return append(b, '}')
}

func appendStripped(b []byte, rooms []stripped, name string) []byte {
	for i, r := range rooms {
		if i > 0 {
			b = append(b, ',')
		}
		b = canonical.AppendString(b, r.room)
		b = append(b[:len(b)-1], name...) // name closes the key's quote
		b = append(appendEvents(b, r.events), '}')
	}
	return b
}

func (a *answer) appendSection(b []byte, rooms []*roomAnswer, all written) []byte {
	for i, r := range rooms {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(canonical.AppendString(b, r.room), ':')
		b = a.appendRoom(b, r, all)
	}
	return append(b, '}')
}

// appendRoom writes one joined or left room.
func (a *answer) appendRoom(b []byte, r *roomAnswer, all written) []byte {
	b = append(b, '{')
	if len(r.accountData) > 0 || r.whole {
		b = append(appendEvents(append(b, `"account_data":`...), accountDataEvents(r.accountData)), ',')
	}
	if r.member == nil {
		b = append(appendEvents(append(b, `"ephemeral":`...), r.ephemeral), ',')
	}
	name := map[StateAfter]string{
		StateBefore: `"state":`, StateAfterStable: `"state_after":`, StateAfterUnstable: `"org.matrix.msc4222.state_after":`,
	}[a.q.StateAfter]
	b = append(appendWritten(append(b, name...), r.state, all), `},`...)
	if r.summary != nil {
		b = append(r.summary.append(append(b, `"summary":`...)), ',')
	}
	b = appendWritten(append(b, `"timeline":`...), r.events, all)
	b = strconv.AppendBool(append(b, `,"limited":`...), r.limited)
	b = append(canonical.AppendString(append(b, `,"prev_batch":`...), r.prev), '}')
	if r.unread != nil {
		b = a.appendUnread(b, r.unread)
	}
	return append(b, '}')
}

// appendWritten writes {"events":[…] without the closing brace.
func appendWritten(b []byte, events []*room.Event, all written) []byte {
	b = append(b, `{"events":[`...)
	for i, ev := range events {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, all[ev]...)
	}
	return append(b, ']')
}

func (s *summary) append(b []byte) []byte {
	b = append(b, '{')
	if len(s.heroes) > 0 {
		b = append(appendUsers(append(b, `"m.heroes":`...), s.heroes), ',')
	}
	b = strconv.AppendInt(append(b, `"m.invited_member_count":`...), s.invited, 10)
	b = strconv.AppendInt(append(b, `,"m.joined_member_count":`...), s.joined, 10)
	return append(b, '}')
}

// appendUnread writes the counts: of all threads together, or each apart where the client asks for that.
func (a *answer) appendUnread(b []byte, counts *store.UnreadCounts) []byte {
	notify, highlight := counts.Notify, counts.Highlight
	apart := a.q.filter.timeline.threadNotification
	if !apart {
		for _, t := range counts.Threads {
			notify, highlight = notify+t.Notify, highlight+t.Highlight
		}
	}
	b = appendCounts(append(b, `,"unread_notifications":`...), notify, highlight)
	if !apart || len(counts.Threads) == 0 {
		return b
	}
	b = append(b, `,"unread_thread_notifications":{`...)
	first := true
	for root, t := range counts.Threads {
		if !first {
			b = append(b, ',')
		}
		first = false
		b = append(canonical.AppendString(b, root), ':')
		b = appendCounts(b, t.Notify, t.Highlight)
	}
	return append(b, '}')
}

func appendCounts(b []byte, notify, highlight int64) []byte {
	b = strconv.AppendInt(append(b, `{"highlight_count":`...), highlight, 10)
	b = strconv.AppendInt(append(b, `,"notification_count":`...), notify, 10)
	return append(b, '}')
}

func appendUsers(b []byte, users []id.UserID) []byte {
	b = append(b, '[')
	for i, user := range users {
		if i > 0 {
			b = append(b, ',')
		}
		b = canonical.AppendString(b, user)
	}
	return append(b, ']')
}

// appendKeyCounts writes what a device has to know of its own keys. Clients take a missing list of fallback keys for a server
// that knows none, so both are always there. CS v1.16 #e2e-extensions-to-sync
func appendKeyCounts(b []byte, keys e2ee.KeyCounts) []byte {
	b = append(b, `"device_one_time_keys_count":{`...)
	first := true
	for algorithm, n := range keys.OneTime {
		if !first {
			b = append(b, ',')
		}
		first = false
		b = append(canonical.AppendString(b, algorithm), ':')
		b = strconv.AppendInt(b, n, 10)
	}
	b = append(b, `},"device_unused_fallback_key_types":[`...)
	for i, algorithm := range keys.UnusedFallback {
		if i > 0 {
			b = append(b, ',')
		}
		b = canonical.AppendString(b, algorithm)
	}
	return append(b, ']')
}
