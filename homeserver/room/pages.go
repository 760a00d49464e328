package room

import (
	"context"
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"

	"konsil/homeserver/store"
	"konsil/matrix/canonical"
	"konsil/matrix/event"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
)

// Token is a place between events. "t<topo>_<pos>" is one in a room's own order: what has (topo, pos) up to it lies before.
// "s<pos>" is a position of the domain's order, as /sync gives it.
type Token struct {
	Topo int64 // 0 for "s" tokens
	Pos  int64
	Sync bool
	AsOf int64 // of a "t" token that a sync gave: the sync's own position, "t<topo>_<pos>_<as of>"; 0 for others
	UpTo int64 // "t<topo>_<pos>_<as of>_<up to>": going back, what has a higher position is left out; 0 leaves out nothing
}

// ParseToken reads what a client sent back. B7
func ParseToken(s string) (Token, error) {
	bad := mxerr.InvalidParam("The token is not valid")
	if len(s) < 2 || len(s) > 64 {
		return Token{}, bad
	}
	if s[0] == 's' {
		// Parts behind the position belong to others: a sync token may carry more.
		digits, _, _ := strings.Cut(s[1:], "_")
		pos, err := strconv.ParseInt(digits, 10, 64)
		if err != nil || pos < 0 {
			return Token{}, bad
		}
		return Token{Pos: pos, Sync: true}, nil
	}
	parts := strings.Split(s[1:], "_")
	if s[0] != 't' || len(parts) < 2 || len(parts) > 4 {
		return Token{}, bad
	}
	var n [4]int64
	for i, part := range parts {
		var err error
		if n[i], err = strconv.ParseInt(part, 10, 64); err != nil {
			return Token{}, bad
		}
	}
	if n[2] < 0 || n[3] < 0 {
		return Token{}, bad
	}
	return Token{Topo: n[0], Pos: n[1], AsOf: n[2], UpTo: n[3]}, nil
}

// String writes the token as clients get it.
func (t Token) String() string {
	if t.Sync {
		return "s" + strconv.FormatInt(t.Pos, 10)
	}
	out := "t" + strconv.FormatInt(t.Topo, 10) + "_" + strconv.FormatInt(t.Pos, 10)
	if t.AsOf > 0 || t.UpTo > 0 {
		out += "_" + strconv.FormatInt(t.AsOf, 10)
	}
	if t.UpTo > 0 {
		out += "_" + strconv.FormatInt(t.UpTo, 10)
	}
	return out
}

// SyncToken is the token of a position.
func SyncToken(pos int64) Token { return Token{Pos: pos, Sync: true} }

// EventToken is the place just before or just after an event in its room's order. As prev_batch of a timeline it is the place before the
// first event.
func EventToken(ev *Event, after bool) Token {
	if after {
		return Token{Topo: ev.Topo, Pos: ev.Pos}
	}
	return Token{Topo: ev.Topo, Pos: ev.Pos - 1}
}

// TokenBefore is the token before a timeline that was read in the domain's order and begins with first. Where a branch of the room
// came late, an event of it may lie further back than others that the timeline does not hold: then the token begins at the newest
// of those, and leaves out what the timeline holds.
func (e *Engine) TokenBefore(ctx context.Context, first *Event) (Token, error) {
	t := EventToken(first, false)
	rows, err := readList(ctx, e, func(tx *store.Tx) ([]int64, error) { return tx.NewestInRoom(ctx, first.RoomNID, first.Pos-1, 1) })
	if err != nil || len(rows) == 0 {
		return t, err
	}
	newest, err := e.eventByNID(ctx, rows[0])
	if err != nil {
		return t, err
	}
	if newest.Topo > first.Topo {
		t = EventToken(newest, true)
		t.UpTo = first.Pos - 1
	}
	return t, nil
}

var (
	firstPlace = store.Place{Topo: math.MinInt64, Pos: math.MinInt64}
	lastPlace  = store.Place{Topo: math.MaxInt64, Pos: math.MaxInt64}
)

// place turns a token into a place of the room's order. The place of a position is after the newest event that was there then.
func (e *Engine) place(ctx context.Context, h *head, t *Token, none store.Place) (store.Place, error) {
	if t == nil {
		return none, nil
	}
	if !t.Sync {
		return store.Place{Topo: t.Topo, Pos: t.Pos}, nil
	}
	rows, err := readList(ctx, e, func(tx *store.Tx) ([]store.EventRow, error) { return tx.TimelineBefore(ctx, h.nid, 0, t.Pos, 1) })
	if err != nil || len(rows) == 0 {
		return firstPlace, err
	}
	return store.Place{Topo: rows[0].Topo, Pos: rows[0].Pos}, nil
}

// EventFilter is the room event filter of a read; empty fields filter nothing. CS v1.16 #filtering
type EventFilter struct {
	Types, NotTypes       []string // * is a wildcard
	Senders, NotSenders   []id.UserID
	RelTypes, NotRelTypes []string // MSC3874
	ContainsURL           *bool
}

// Allows reports whether an event passes.
func (f *EventFilter) Allows(ev *event.PDU) bool {
	switch {
	case f.Types != nil && !matchAny(f.Types, ev.Type), matchAny(f.NotTypes, ev.Type):
		return false
	case f.Senders != nil && !slices.Contains(f.Senders, ev.Sender), slices.Contains(f.NotSenders, ev.Sender):
		return false
	}
	if f.ContainsURL != nil {
		_, has := canonical.GetString(ev.Content, "url")
		if has != *f.ContainsURL {
			return false
		}
	}
	if f.RelTypes == nil && f.NotRelTypes == nil {
		return true
	}
	rel, _ := canonical.GetString(ev.Content, "m.relates_to", "rel_type")
	return (f.RelTypes == nil || rel != "" && slices.Contains(f.RelTypes, rel)) && (rel == "" || !slices.Contains(f.NotRelTypes, rel))
}

func matchAny(patterns []string, s string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return matchType(p, s) })
}

// matchType matches a pattern whose * stands for any text, in one walk.
func matchType(pattern, s string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == s
	}
	if !strings.HasPrefix(s, parts[0]) {
		return false
	}
	s = s[len(parts[0]):]
	for _, part := range parts[1 : len(parts)-1] {
		i := strings.Index(s, part)
		if i < 0 {
			return false
		}
		s = s[i+len(part):]
	}
	return strings.HasSuffix(s, parts[len(parts)-1])
}

// PageRequest is /messages.
type PageRequest struct {
	Room     id.RoomID
	User     id.UserID
	From, To *Token // nil From: the newest (backward) or oldest (forward) end
	Backward bool
	Limit    int
	Filter   EventFilter

	upTo int64 // of From
}

// Page is its answer. End is nil at the end of history.
type Page struct {
	Events []*Event
	Start  Token
	End    *Token
	// Gap says that history that is not here begins within or right behind the page: backfilling from Missing and asking again
	// gives more.
	Gap     bool
	Missing []id.EventID
}

// Caps of one page. B6
const (
	maxPage  = 1000
	maxScans = 10 // rounds of reading when most of what is read is filtered away; then the page ends early. A33
)

// Messages reads a page of history the user may see. CS v1.16 #get_matrixclientv3roomsroomidmessages
func (e *Engine) Messages(ctx context.Context, r PageRequest) (Page, error) {
	h, v, err := e.reader(ctx, r.User, r.Room)
	if err != nil {
		return Page{}, err
	}
	none, end := lastPlace, firstPlace
	if !r.Backward {
		none, end = firstPlace, lastPlace
	}
	from, err := e.place(ctx, h, r.From, none)
	if err != nil {
		return Page{}, err
	}
	if end, err = e.place(ctx, h, r.To, end); err != nil {
		return Page{}, err
	}
	page := Page{Start: Token{Topo: from.Topo, Pos: from.Pos}}
	if r.From != nil {
		page.Start, r.upTo = *r.From, r.From.UpTo
	} else if r.Backward {
		page.Start = SyncToken(e.store.Position())
	} else {
		page.Start = Token{Topo: math.MinInt32}
	}
	return page, e.fillPage(ctx, h, v, r, from, end, &page)
}

// reader opens a room's history to a user: members, former ones, and everybody where it is world-readable.
func (e *Engine) reader(ctx context.Context, user id.UserID, room id.RoomID) (*head, *viewer, error) {
	h, err := e.head(ctx, room)
	if err != nil {
		return nil, nil, err
	}
	if h == nil || h.snap.nid == 0 {
		return nil, nil, errNotMember
	}
	v, err := e.viewer(ctx, user, h)
	if err != nil {
		return nil, nil, err
	}
	if !v.mayRead() {
		return nil, nil, errNotMember
	}
	if membershipOf(v.now) != event.Join {
		was, err := e.UserRoom(ctx, user, room)
		if err != nil && !errors.Is(err, ErrUnknownRoom) {
			return nil, nil, err
		}
		if was.Forgotten { // CS v1.16 #leaving-rooms
			return nil, nil, errNotMember
		}
	}
	return h, v, nil
}

var errNotMember error = mxerr.Forbidden("You are not in the room")

// mayRead reports whether the user may ask for the room's history at all.
func (v *viewer) mayRead() bool {
	if v.head.history().String() == "world_readable" {
		return true
	}
	switch membershipOf(v.now) {
	case "":
		return false
	case event.Join, event.Invite: // what an invited user sees in the end, the visibility at each event says
		return true
	}
	return v.now.Replaces != 0 // they were something before
}

func (e *Engine) fillPage(ctx context.Context, h *head, v *viewer, r PageRequest, from, end store.Place, page *Page) error {
	limit := min(max(r.Limit, 1), maxPage)
	at := from
	for range maxScans {
		evs, err := e.scan(ctx, h, r, at, end, min(limit*2, maxPage)+1)
		if err != nil {
			return err
		}
		page.Gap = page.Gap || r.Backward && h.gapWithin(evs, at, end, page)
		for _, ev := range evs {
			at = store.Place{Topo: ev.Topo, Pos: ev.Pos}
			if r.Backward {
				at.Pos--
			}
			ok, err := v.sees(ev)
			if err != nil {
				return err
			}
			if !ok || !r.Filter.Allows(ev.PDU) {
				continue
			}
			if page.Events = append(page.Events, ev); len(page.Events) == limit {
				page.End = &Token{Topo: at.Topo, Pos: at.Pos, UpTo: r.upTo}
				return nil
			}
		}
		if len(evs) <= min(limit*2, maxPage) { // all that there is
			// More may come; and a client that filters looks for the end token as a sign that its filter found something.
			if page.Gap || len(page.Events) > 0 && (r.Filter.ContainsURL != nil || !r.Backward && r.To == nil) {
				page.End = &Token{Topo: at.Topo, Pos: at.Pos, UpTo: r.upTo}
			}
			return nil
		}
	}
	page.End = &Token{Topo: at.Topo, Pos: at.Pos, UpTo: r.upTo}
	return nil
}

// scan finds the events of a part of the history by their numbers, for what is read again is in memory.
func (e *Engine) scan(ctx context.Context, h *head, r PageRequest, at, end store.Place, limit int) ([]*Event, error) {
	nids, err := readList(ctx, e, func(tx *store.Tx) ([]int64, error) {
		if r.Backward && r.upTo > 0 {
			return tx.HistoryBeforeUpTo(ctx, h.nid, at, end, r.upTo, limit)
		}
		if r.Backward {
			return tx.HistoryBefore(ctx, h.nid, at, end, limit)
		}
		return tx.HistoryAfter(ctx, h.nid, at, end, limit)
	})
	if err != nil {
		return nil, err
	}
	return e.EventsByNID(ctx, nids)
}

// gapWithin notes the backward extremities that a page read so far touches: what refers to them lies within it.
func (h *head) gapWithin(evs []*Event, from, end store.Place, page *Page) bool {
	if len(h.missing) == 0 {
		return false
	}
	low := end.Topo
	if len(evs) > 0 {
		low = evs[len(evs)-1].Topo
	}
	found := false
	for evID, topo := range h.missing {
		if topo >= low && topo <= from.Topo && !slices.Contains(page.Missing, evID) {
			page.Missing = append(page.Missing, evID)
			found = true
		}
	}
	slices.Sort(page.Missing)
	return found
}

// Context is what stands around an event, in the order of the specification. CS v1.16 #get_matrixclientv3roomsroomidcontexteventid
type Context struct {
	Event         *Event
	Before, After []*Event // newest first, oldest first
	State         []*Event // at the last event
	Start, End    Token
}

// Context reads an event the user may see and what stands around it.
func (e *Engine) Context(ctx context.Context, user id.UserID, room id.RoomID, evID id.EventID, limit int, f EventFilter) (Context, error) {
	ev, err := e.EventOf(ctx, user, room, evID)
	if err != nil {
		return Context{}, err
	}
	before, after := min(max(limit, 0), maxPage)/2, 0
	if before > 0 {
		after = max(limit-before, 1)
	}
	c, err := e.Around(ctx, user, ev, before, after, f)
	if err != nil {
		return Context{}, err
	}
	last := ev
	if n := len(c.After); n > 0 {
		last = c.After[n-1]
	}
	c.State, err = e.StateAfter(ctx, last)
	return c, err
}

// Around is Context for an event that the user is known to see, without the state.
func (e *Engine) Around(ctx context.Context, user id.UserID, ev *Event, before, after int, f EventFilter) (Context, error) {
	h, v, err := e.reader(ctx, user, ev.RoomID)
	if err != nil {
		return Context{}, err
	}
	c := Context{Event: ev, Start: EventToken(ev, false), End: EventToken(ev, true)}
	r := PageRequest{Room: ev.RoomID, User: user, Limit: before, Backward: true, Filter: f}
	var page Page
	if before > 0 {
		if err := e.fillPage(ctx, h, v, r, placeOf(c.Start), firstPlace, &page); err != nil {
			return Context{}, err
		}
		c.Before, page = page.Events, Page{}
	}
	if after > 0 {
		r.Backward, r.Limit = false, after
		if err := e.fillPage(ctx, h, v, r, placeOf(c.End), lastPlace, &page); err != nil {
			return Context{}, err
		}
		c.After = page.Events
	}
	if n := len(c.Before); n > 0 {
		c.Start = EventToken(c.Before[n-1], false)
	}
	if n := len(c.After); n > 0 {
		c.End = EventToken(c.After[n-1], true)
	}
	return c, nil
}

func placeOf(t Token) store.Place { return store.Place{Topo: t.Topo, Pos: t.Pos} }

// EventOf reads one event of a room as a user may see it; ErrUnknownEvent else. CS v1.16 #get_matrixclientv3roomsroomideventeventid
func (e *Engine) EventOf(ctx context.Context, user id.UserID, room id.RoomID, evID id.EventID) (*Event, error) {
	ev, err := e.Event(ctx, evID)
	if err != nil {
		return nil, err
	}
	if ev.RoomID != room {
		return nil, ErrUnknownEvent
	}
	seen, err := e.VisibleToUser(ctx, user, []*Event{ev})
	if err != nil {
		return nil, err
	}
	if len(seen) == 0 {
		return nil, ErrUnknownEvent
	}
	return seen[0], nil
}

// TimestampToEvent finds the event nearest to ts that the user may see; ErrUnknownEvent for none.
// CS v1.16 #get_matrixclientv1roomsroomidtimestamp_to_event
func (e *Engine) TimestampToEvent(ctx context.Context, user id.UserID, room id.RoomID, ts int64, forward bool) (*Event, error) {
	h, v, err := e.reader(ctx, user, room)
	if err != nil {
		return nil, err
	}
	for range maxScans {
		ev, err := e.nearTime(ctx, h, ts, forward)
		if err != nil {
			return nil, err
		}
		if ok, err := v.sees(ev); ok || err != nil {
			return ev, err
		}
		if ts = ev.OriginServerTS + 1; !forward {
			ts = ev.OriginServerTS - 1
		}
	}
	return nil, ErrUnknownEvent
}
