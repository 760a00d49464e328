package search

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"unicode/utf8"

	"konsil/homeserver/room"
	"konsil/homeserver/store"
	"konsil/matrix/canonical"
	"konsil/matrix/event"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
)

// Query is what somebody looks for. CS v1.16 #post_matrixclientv3search
type Query struct {
	User     id.UserID
	Term     string
	Fields   []store.SearchField // nil means all
	Rooms    []id.RoomID         // nil means all of the user's
	NotRooms []id.RoomID
	Filter   room.EventFilter
	Recent   bool   // newest first; else the best first
	From     string // Next of the page before
	Limit    int
}

// Hit is an event that was found. A higher rank is a better one.
type Hit struct {
	Event *room.Event
	Rank  float64
}

// Result is a page of what was found.
type Result struct {
	Hits       []Hit
	Count      int64    // of all pages, about: it counts what the user may not see as well
	Highlights []string // words to mark
	Next       string   // "" at the end
}

// maxRounds bounds how often more is read when most of what is found may not be seen.
const maxRounds = 10

// Search finds events that the user may see.
func (x *Index) Search(ctx context.Context, q Query) (Result, error) {
	terms := words(q.Term, maxTerms)
	if len(terms) == 0 || q.Limit <= 0 {
		return Result{}, nil
	}
	at, err := parseFrom(q.From, q.Recent)
	if err != nil {
		return Result{}, err
	}
	// What the user has seen is found: the index goes as far as what is stored by now.
	if err := x.Advance(ctx, x.cfg.Store.Position()); err != nil {
		return Result{}, err
	}
	rooms, err := x.rooms(ctx, q)
	if err != nil || len(rooms) == 0 {
		return Result{Highlights: terms}, err
	}
	ask := store.SearchQuery{Words: terms, Rooms: rooms, Fields: fieldNumbers(q.Fields), Senders: q.Filter.Senders,
		NotSenders: q.Filter.NotSenders, Recent: q.Recent, Limit: q.Limit}
	for _, t := range terms {
		ask.Prefixes = append(ask.Prefixes, utf8.RuneCountInString(t) >= prefixLength)
	}
	r := Result{Highlights: terms}
	err = x.cfg.Store.ReadOne(ctx, func(tx *store.Tx) (err error) {
		r.Count, err = tx.CountSearch(ctx, ask)
		return err
	})
	if err != nil {
		return Result{}, fmt.Errorf("count what was found: %w", err)
	}
	return r, x.fill(ctx, q, ask, at, &r)
}

// place is how far somebody has read: a position for the newest first, a count for the best first.
type place struct {
	before int64
	skip   int
}

// fill reads until the page is full or nothing is left.
func (x *Index) fill(ctx context.Context, q Query, ask store.SearchQuery, at place, r *Result) error {
	for range maxRounds {
		ask.Before, ask.Skip = at.before, at.skip
		var hits []store.SearchHit
		err := x.cfg.Store.ReadOne(ctx, func(tx *store.Tx) (err error) {
			hits, err = tx.SearchEvents(ctx, ask)
			return err
		})
		if err != nil {
			return fmt.Errorf("search events: %w", err)
		}
		seen, err := x.visible(ctx, q, hits)
		if err != nil {
			return err
		}
		for _, h := range hits {
			at.skip++
			at.before = h.Pos
			ev := seen[h.Event]
			if ev == nil {
				continue
			}
			if r.Hits = append(r.Hits, Hit{ev, h.Rank}); len(r.Hits) == q.Limit {
				r.Next = at.token(q.Recent)
				return nil
			}
		}
		if len(hits) < ask.Limit {
			return nil
		}
	}
	r.Next = at.token(q.Recent)
	return nil
}

// visible reads the events of hits that pass the filter and that the user may see (B9), by number.
func (x *Index) visible(ctx context.Context, q Query, hits []store.SearchHit) (map[int64]*room.Event, error) {
	nids := make([]int64, len(hits))
	for i, h := range hits {
		nids[i] = h.Event
	}
	evs, err := x.cfg.Rooms.EventsByNID(ctx, nids)
	if err != nil {
		return nil, fmt.Errorf("read what was found: %w", err)
	}
	// The index may lag behind a redaction of this moment.
	evs = slices.DeleteFunc(evs, func(ev *room.Event) bool { return ev.Redacted() || !q.Filter.Allows(ev.PDU) })
	if evs, err = x.cfg.Rooms.VisibleToUser(ctx, q.User, evs); err != nil {
		return nil, fmt.Errorf("filter what was found: %w", err)
	}
	found := make(map[int64]*room.Event, len(evs))
	for _, ev := range evs {
		found[ev.NID] = ev
	}
	return found, nil
}

// rooms are the rooms to look into: those the user is or was in, and of the ones asked for also what they replace.
func (x *Index) rooms(ctx context.Context, q Query) ([]int64, error) {
	all, err := x.cfg.Rooms.UserRooms(ctx, q.User)
	if err != nil {
		return nil, fmt.Errorf("list rooms to search: %w", err)
	}
	own := map[id.RoomID]int64{}
	for _, r := range all {
		switch r.Membership {
		case event.Join, event.Leave, event.Ban:
			if !r.Forgotten && !slices.Contains(q.NotRooms, r.Room) {
				own[r.Room] = r.NID
			}
		}
	}
	if q.Rooms == nil {
		return slices.Collect(maps.Values(own)), nil
	}
	var wanted []int64
	for _, in := range q.Rooms {
		for own[in] != 0 && !slices.Contains(wanted, own[in]) {
			wanted = append(wanted, own[in])
			in = x.predecessor(ctx, in)
		}
	}
	return wanted, nil
}

// predecessor is the room that a room says it replaces, "" for none. A false claim shows nobody what they could not see anyway.
func (x *Index) predecessor(ctx context.Context, in id.RoomID) id.RoomID {
	create, err := x.cfg.Rooms.StateEvent(ctx, in, event.TypeCreate, "")
	if err != nil || create == nil {
		return ""
	}
	before, _ := canonical.GetString(create.Content, "predecessor", "room_id")
	return id.RoomID(before)
}

func fieldNumbers(fields []store.SearchField) []int64 {
	if fields == nil {
		fields = []store.SearchField{store.SearchBody, store.SearchName, store.SearchTopic}
	}
	numbers := make([]int64, len(fields))
	for i, f := range fields {
		numbers[i] = int64(f)
	}
	return numbers
}

// parseFrom reads a token: "r" and a position, or "k" and a count. One of the other order is refused (B7).
func parseFrom(token string, recent bool) (place, error) {
	start := place{before: 1<<63 - 1}
	if token == "" {
		return start, nil
	}
	n, err := strconv.ParseInt(token[1:], 10, 64)
	switch {
	case err == nil && recent && token[0] == 'r':
		start.before = n
	case err == nil && !recent && token[0] == 'k' && n >= 0 && n < 1<<31:
		start.skip = int(n)
	default:
		return place{}, mxerr.InvalidParam("Invalid value for next_batch")
	}
	return start, nil
}

func (p place) token(recent bool) string {
	if recent {
		return "r" + strconv.FormatInt(p.before, 10)
	}
	return "k" + strconv.Itoa(p.skip)
}
