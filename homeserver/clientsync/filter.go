package clientsync

import (
	"context"
	"slices"
	"strings"
	"sync"

	"konsil/homeserver/account"
	"konsil/homeserver/room"
	"konsil/matrix/canonical"
	"konsil/matrix/event"
	"konsil/matrix/id"
)

// filter is a client's filter, made ready. It never changes.
type filter struct {
	rooms        roomSet
	includeLeave bool
	federation   bool // event_format
	timeline     eventFilter
	state        eventFilter
	ephemeral    eventFilter
	roomData     eventFilter
	presence     eventFilter
	accountData  eventFilter
}

// Limits of a timeline. CS v1.16 #filtering
const (
	defaultTimeline = 10
	maxTimeline     = 1000 // (B6)
)

// eventFilter picks events. nil lists pick all.
type eventFilter struct {
	all                bool // picks every event, whatever its room
	limit              int
	types, notTypes    []string
	senders            map[id.UserID]bool // nil: all
	notSenders         map[id.UserID]bool
	rooms              roomSet
	containsURL        *bool
	relTypes, notRel   []string // MSC3874
	lazyMembers        bool
	redundantMembers   bool
	threadNotification bool
}

// roomSet picks rooms.
type roomSet struct {
	some    map[id.RoomID]bool // nil: all
	without map[id.RoomID]bool
}

func (s roomSet) has(room id.RoomID) bool {
	return (s.some == nil || s.some[room]) && !s.without[room]
}

func newRoomSet(some, without []id.RoomID) roomSet {
	return roomSet{some: setOf(some), without: setOf(without)}
}

// setOf makes a set of a list; nil of nil, which means "no list".
func setOf[T comparable](list []T) map[T]bool {
	if list == nil {
		return nil
	}
	set := make(map[T]bool, len(list))
	for _, v := range list {
		set[v] = true
	}
	return set
}

// compile makes a filter ready.
func compile(f account.Filter) *filter {
	timeline := compileRoomEvents(f.Room.Timeline)
	timeline.limit = defaultTimeline
	if l := f.Room.Timeline.Limit; l != nil {
		timeline.limit = max(0, min(*l, maxTimeline))
	}
	return &filter{
		rooms:        newRoomSet(f.Room.Rooms, f.Room.NotRooms),
		includeLeave: f.Room.IncludeLeave,
		federation:   f.EventFormat == "federation",
		timeline:     timeline,
		state:        compileRoomEvents(f.Room.State),
		ephemeral:    compileRoomEvents(f.Room.Ephemeral),
		roomData:     compileRoomEvents(f.Room.AccountData),
		presence:     compileEvents(f.Presence),
		accountData:  compileEvents(f.AccountData),
	}
}

func compileEvents(f account.EventFilter) eventFilter {
	return eventFilter{
		types: f.Types, notTypes: f.NotTypes, senders: setOf(f.Senders), notSenders: setOf(f.NotSenders),
		all: f.Types == nil && len(f.NotTypes) == 0 && f.Senders == nil && len(f.NotSenders) == 0,
	}
}

func compileRoomEvents(f account.RoomEventFilter) eventFilter {
	e := compileEvents(f.EventFilter)
	e.rooms = newRoomSet(f.Rooms, f.NotRooms)
	e.containsURL = f.ContainsURL
	e.relTypes, e.notRel = f.RelTypes, f.NotRelTypes
	e.lazyMembers = f.LazyLoadMembers
	e.redundantMembers = f.IncludeRedundantMembers
	e.threadNotification = f.UnreadThreadNotifications
	e.all = e.all && f.Rooms == nil && len(f.NotRooms) == 0 && f.ContainsURL == nil && f.RelTypes == nil && len(f.NotRelTypes) == 0
	return e
}

// picks says whether an event passes.
func (f *eventFilter) picks(ev *room.Event) bool {
	return f.all || f.picksType(ev.Type) && f.picksSender(ev.Sender) && f.rooms.has(ev.RoomID) && f.picksContent(ev.PDU)
}

func (f *eventFilter) picksType(typ string) bool {
	if slices.ContainsFunc(f.notTypes, func(pattern string) bool { return matchType(pattern, typ) }) {
		return false
	}
	return f.types == nil || slices.ContainsFunc(f.types, func(pattern string) bool { return matchType(pattern, typ) })
}

func (f *eventFilter) picksSender(user id.UserID) bool {
	return (f.senders == nil || f.senders[user]) && !f.notSenders[user]
}

func (f *eventFilter) picksContent(ev *event.PDU) bool {
	if f.containsURL != nil {
		_, has := canonical.GetString(ev.Content, "url")
		if has != *f.containsURL {
			return false
		}
	}
	if f.relTypes == nil && len(f.notRel) == 0 {
		return true
	}
	kind, _ := canonical.GetString(ev.Content, "m.relates_to", "rel_type")
	return (f.relTypes == nil || slices.Contains(f.relTypes, kind)) && !slices.Contains(f.notRel, kind)
}

// matchType matches an event type against a pattern in which * stands for any characters. Each piece between stars is
// looked for once, from left to right, so the cost is linear whatever the pattern (B6).
func matchType(pattern, typ string) bool {
	head, rest, wild := strings.Cut(pattern, "*")
	if !wild {
		return pattern == typ
	}
	typ, ok := strings.CutPrefix(typ, head)
	if !ok {
		return false
	}
	for {
		piece, next, more := strings.Cut(rest, "*")
		if !more {
			return strings.HasSuffix(typ, piece)
		}
		_, after, found := strings.Cut(typ, piece)
		if !found {
			return false
		}
		typ, rest = after, next
	}
}

// filters remembers filters that are in use: a client sends the same one with each request, and a stored one never changes.
type filters struct {
	mu    sync.Mutex
	byKey map[filterKey]*filter // guarded by mu
}

type filterKey struct {
	user  id.UserID
	given string
}

const (
	maxFilters     = 5000
	maxInlineBytes = 2 << 10 // larger definitions are read anew with each request
)

func newFilters() *filters { return &filters{byKey: map[filterKey]*filter{}} }

func (f *filters) get(key filterKey) *filter {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.byKey[key]
}

func (f *filters) put(key filterKey, compiled *filter) {
	if len(key.given) > maxInlineBytes {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.byKey) >= maxFilters {
		clear(f.byKey) // simpler than finding the oldest; each costs one read to get back
	}
	f.byKey[key] = compiled
}

// filter reads what the client gave as its filter.
func (s *Syncer) filter(ctx context.Context, user id.UserID, given string) (*filter, error) {
	key := filterKey{user, given}
	if strings.HasPrefix(given, "{") || given == "" {
		key.user = "" // means the same whoever gives it
	}
	if known := s.known.get(key); known != nil {
		return known, nil
	}
	read, err := s.cfg.Accounts.Filter(ctx, user, given)
	if err != nil {
		return nil, err
	}
	compiled := compile(read)
	s.known.put(key, compiled)
	return compiled, nil
}
