package room

import (
	"context"
	"slices"

	"konsil/homeserver/store"
	"konsil/matrix/id"
)

// RelationRequest is /relations. RelType and Type may be empty.
type RelationRequest struct {
	Room     id.RoomID
	User     id.UserID
	Event    id.EventID
	RelType  string
	Type     string
	From, To *Token
	Forward  bool // oldest first
	Limit    int
	Recurse  bool
}

// RelationPage is its answer; the tokens are nil at the ends.
type RelationPage struct {
	Events     []*Event
	Next, Prev *Token
	Depth      int // how deep Recurse went
}

// maxRecursion is how far Recurse goes: children, and children of children, and one more. CS v1.16 #get_matrixclientv1roomsroomidrelationseventid
const maxRecursion = 3

// Relations reads the events that relate to an event and that the user may see.
func (e *Engine) Relations(ctx context.Context, r RelationRequest) (RelationPage, error) {
	if _, err := e.EventOf(ctx, r.User, r.Room, r.Event); err != nil {
		return RelationPage{}, err
	}
	h, v, err := e.reader(ctx, r.User, r.Room)
	if err != nil {
		return RelationPage{}, err
	}
	parents := []id.EventID{r.Event}
	page := RelationPage{}
	if r.Recurse {
		if parents, page.Depth, err = e.descendants(ctx, h, r.Event); err != nil {
			return RelationPage{}, err
		}
	}
	q := store.RelationQuery{Room: h.nid, Parents: parents, Rel: r.RelType, Type: r.Type, Newest: !r.Forward}
	none, end := lastPlace, firstPlace
	if r.Forward {
		none, end = firstPlace, lastPlace
	}
	from, err := e.place(ctx, h, r.From, none)
	if err != nil {
		return RelationPage{}, err
	}
	to, err := e.place(ctx, h, r.To, end)
	if err != nil {
		return RelationPage{}, err
	}
	if q.From, q.To = to, from; r.Forward {
		q.From, q.To = from, to
	}
	limit := min(max(r.Limit, 1), maxPage)
	q.Limit = limit + 1
	evs, err := e.children(ctx, q)
	if err != nil {
		return RelationPage{}, err
	}
	if len(evs) > limit {
		evs = evs[:limit]
		next := EventToken(evs[limit-1], r.Forward)
		page.Next = &next
	}
	page.Prev = r.From
	for _, ev := range evs {
		ok, err := v.sees(ev)
		if err != nil {
			return RelationPage{}, err
		}
		if ok {
			page.Events = append(page.Events, ev)
		}
	}
	return page, nil
}

// descendants lists an event and what relates to it, directly and over others.
func (e *Engine) descendants(ctx context.Context, h *head, root id.EventID) (all []id.EventID, depth int, err error) {
	all = []id.EventID{root}
	level := all
	for depth = 1; depth < maxRecursion && len(level) > 0; depth++ {
		evs, err := e.children(ctx, store.RelationQuery{Room: h.nid, Parents: level, Limit: maxPage})
		if err != nil {
			return nil, 0, err
		}
		level = nil
		for _, ev := range evs {
			if !slices.Contains(all, ev.ID) {
				level = append(level, ev.ID)
			}
		}
		all = append(all, level...)
	}
	return all, depth, nil
}

// Threads lists thread roots by their latest reply, newest first. participated: only threads the user wrote in. The token counts
// replies: it is that of the last thread listed. CS v1.16 #get_matrixclientv1roomsroomidthreads
func (e *Engine) Threads(ctx context.Context, user id.UserID, room id.RoomID, participated bool, from *Token, limit int) (RelationPage, error) {
	h, v, err := e.reader(ctx, user, room)
	if err != nil {
		return RelationPage{}, err
	}
	before := int64(0)
	if from != nil {
		before = from.Pos
	}
	by := id.UserID("")
	if participated {
		by = user
	}
	limit = min(max(limit, 1), maxPage)
	threads, err := readList(ctx, e, func(tx *store.Tx) ([]store.ThreadRow, error) { return tx.Threads(ctx, h.nid, by, before, limit+1) })
	if err != nil {
		return RelationPage{}, err
	}
	page := RelationPage{}
	if len(threads) > limit {
		threads = threads[:limit]
		page.Next = &Token{Pos: threads[limit-1].Latest}
	}
	roots := make([]id.EventID, len(threads))
	for i, t := range threads {
		roots[i] = t.Root
	}
	evs, err := e.Events(ctx, roots)
	if err != nil {
		return RelationPage{}, err
	}
	for _, ev := range evs {
		ok, err := v.sees(ev)
		if err != nil {
			return RelationPage{}, err
		}
		if ok {
			page.Events = append(page.Events, ev)
		}
	}
	return page, nil
}
