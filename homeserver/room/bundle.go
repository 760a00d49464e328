package room

import (
	"context"
	"strconv"

	"konsil/homeserver/store"
	"konsil/matrix/canonical"
	"konsil/matrix/event"
	"konsil/matrix/id"
)

// Relation types that the server aggregates. CS v1.16 #aggregations-of-child-events
const (
	relReplace   = "m.replace"
	relThread    = "m.thread"
	relReference = "m.reference"
)

// maxReferences bounds the references told with an event.
const maxReferences = 50

// bundle is what is told of an event's children.
type bundle struct {
	edit         *Event
	threadCount  int
	threadLatest *Event
	threadEdit   *Event // of the latest reply
	participated bool
	references   []id.EventID
}

// bundles aggregates the children of events. CS v1.16 #server-side-aggregation-of-mreplace-relationships, #server-side-aggregation-of-mthread-relationships
func (e *Engine) bundles(ctx context.Context, user id.UserID, evs []*Event) (map[id.EventID]*bundle, error) {
	parents := make(map[id.EventID]*Event, len(evs))
	ids := make([]id.EventID, 0, len(evs))
	for _, ev := range evs {
		if !ev.IsState() && !ev.Redacted() {
			parents[ev.ID] = ev
			ids = append(ids, ev.ID)
		}
	}
	if len(ids) == 0 {
		return nil, nil
	}
	counts, err := readList(ctx, e, func(tx *store.Tx) ([]store.RelationCount, error) { return tx.CountRelations(ctx, ids) })
	if err != nil || len(counts) == 0 {
		return nil, err
	}
	latest, err := e.latestChildren(ctx, user, counts)
	if err != nil {
		return nil, err
	}
	out := map[id.EventID]*bundle{}
	at := func(evID id.EventID) *bundle {
		if out[evID] == nil {
			out[evID] = &bundle{}
		}
		return out[evID]
	}
	for _, c := range counts {
		parent, child := parents[c.Parent], latest[c.Latest]
		if parent == nil || child == nil || child.RoomNID != parent.RoomNID {
			continue
		}
		switch c.Rel {
		case relReplace:
			if b := at(c.Parent); edits(child, parent) && (b.edit == nil || later(child, b.edit)) {
				b.edit = child
			}
		case relThread:
			b := at(c.Parent)
			b.threadCount += c.Count
			b.participated = b.participated || c.Sender == user
			if b.threadLatest == nil || later(child, b.threadLatest) {
				b.threadLatest = child
			}
		case relReference:
			at(c.Parent)
		}
	}
	return out, e.completeBundles(ctx, user, parents, counts, out)
}

// edits reports whether child is a valid replacement of parent. CS v1.16 #validity-of-replacement-events
func edits(child, parent *Event) bool {
	if child.Sender != parent.Sender || child.Type != parent.Type || child.IsState() || parent.IsState() || child.Redacted() {
		return false
	}
	if rel, _ := canonical.GetString(parent.Content, "m.relates_to", "rel_type"); rel == relReplace {
		return false
	}
	if parent.Type == event.TypeEncrypted {
		return true // the new content is inside
	}
	_, ok := canonical.Get(child.Content, "m.new_content")
	return ok
}

// latestChildren reads the children that stand last, those that the user may see.
func (e *Engine) latestChildren(ctx context.Context, user id.UserID, counts []store.RelationCount) (map[int64]*Event, error) {
	nids := make([]int64, 0, len(counts))
	for _, c := range counts {
		if c.Rel != relReference {
			nids = append(nids, c.Latest)
		}
	}
	evs, err := e.EventsByNID(ctx, nids)
	if err != nil {
		return nil, err
	}
	if evs, err = e.VisibleToUser(ctx, user, evs); err != nil {
		return nil, err
	}
	latest := make(map[int64]*Event, len(evs))
	for _, ev := range evs {
		latest[ev.NID] = ev
	}
	return latest, nil
}

// completeBundles adds references, and the edits of the threads' latest replies.
func (e *Engine) completeBundles(ctx context.Context, user id.UserID, parents map[id.EventID]*Event, counts []store.RelationCount, out map[id.EventID]*bundle) error {
	for _, c := range counts {
		parent := parents[c.Parent]
		if c.Rel != relReference || parent == nil {
			continue
		}
		evs, err := e.children(ctx, store.RelationQuery{Room: parent.RoomNID, Parents: []id.EventID{c.Parent}, Rel: relReference, Limit: maxReferences})
		if err != nil {
			return err
		}
		if evs, err = e.VisibleToUser(ctx, user, evs); err != nil {
			return err
		}
		b := out[c.Parent]
		if b == nil {
			b = &bundle{}
			out[c.Parent] = b
		}
		b.references = b.references[:0]
		for _, ev := range evs {
			b.references = append(b.references, ev.ID)
		}
	}
	var replies []*Event
	for _, b := range out {
		if b.threadLatest != nil {
			replies = append(replies, b.threadLatest)
		}
	}
	if len(replies) == 0 {
		return nil
	}
	inner, err := e.bundles(ctx, user, onlyOnce(replies, parents))
	for _, b := range out {
		if b.threadLatest != nil && inner[b.threadLatest.ID] != nil {
			b.threadEdit = inner[b.threadLatest.ID].edit
		}
	}
	return err
}

// onlyOnce leaves out events whose bundle is being made already, so that threads in threads end.
func onlyOnce(evs []*Event, done map[id.EventID]*Event) []*Event {
	var out []*Event
	for _, ev := range evs {
		if rel, _ := canonical.GetString(ev.Content, "m.relates_to", "rel_type"); done[ev.ID] == nil || rel == relThread {
			out = append(out, ev)
		}
	}
	return out
}

// children reads children of events without filtering them; From and To default to everything.
func (e *Engine) children(ctx context.Context, q store.RelationQuery) ([]*Event, error) {
	if q.To == (store.Place{}) {
		q.From, q.To = firstPlace, lastPlace
	}
	return e.readEvents(ctx, func(tx *store.Tx) ([]store.EventRow, error) { return tx.Children(ctx, q) })
}

// relations writes m.relations.
func (w *formatter) relations(b []byte, ev *Event, n *bundle) ([]byte, error) {
	if n.edit == nil && n.threadLatest == nil && len(n.references) == 0 {
		return b, nil
	}
	b = append(b, `,"m.relations":{`...)
	comma := false
	member := func(name string) {
		if comma {
			b = append(b, ',')
		}
		comma = true
		b = append(append(append(b, '"'), name...), '"', ':')
	}
	if n.edit != nil {
		member(relReplace)
		b = w.plain(b, n.edit, nil)
	}
	if n.threadLatest != nil {
		member(relThread)
		b = append(b, `{"count":`...)
		b = strconv.AppendInt(b, int64(n.threadCount), 10)
		b = append(b, `,"current_user_participated":`...)
		b = strconv.AppendBool(b, n.participated || ev.Sender == w.User)
		b = append(b, `,"latest_event":`...)
		b = append(w.plain(b, n.threadLatest, n.threadEdit), '}')
	}
	if len(n.references) > 0 {
		member(relReference)
		b = append(b, `{"chunk":[`...)
		for i, evID := range n.references {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(canonical.AppendString(append(b, `{"event_id":`...), evID), '}')
		}
		b = append(b, ']', '}')
	}
	return append(b, '}'), nil
}

// plain writes an event within another's relations, with its edit if there is one.
func (w *formatter) plain(b []byte, ev, edit *Event) []byte {
	unsigned := strconv.AppendInt([]byte(`{"age":`), max(w.now-ev.OriginServerTS, 0), 10)
	if txn := store.TxnOf(ev.Txn, w.User, w.Device); txn != "" {
		unsigned = canonical.AppendString(append(unsigned, `,"transaction_id":`...), txn)
	}
	if edit != nil {
		unsigned = append(unsigned, `,"m.relations":{"m.replace":`...)
		unsigned = append(w.plain(unsigned, edit, nil), '}')
	}
	return ev.AppendClient(b, event.ClientFormat{RoomID: !w.OmitRoomID, Unsigned: append(unsigned, '}')})
}
