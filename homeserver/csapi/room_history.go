package csapi

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"konsil/homeserver/account"
	"konsil/homeserver/room"
	"konsil/kit/web"
	"konsil/matrix/endpoint"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
)

func (a *API) roomHistoryRoutes() []row {
	return []row{
		{endpoint.GetRoomEvents, user(a.messages), limitRead},
		{endpoint.GetEventContext, user(a.eventContext), limitRead},
		{endpoint.GetEventByTimestamp, user(a.timestampToEvent), limitSearch},
		{endpoint.GetRelatingEvents, user(a.relations), limitRead},
		{endpoint.GetRelatingEventsWithRelType, user(a.relations), limitRead},
		{endpoint.GetRelatingEventsWithRelTypeAndEventType, user(a.relations), limitRead},
		{endpoint.GetThreadRoots, user(a.threads), limitRead},
	}
}

// Pages have 10 events where the client does not say, and no more than maxPage whatever it says (B6).
const (
	defaultPage = 10
	maxPage     = 1000
)

func pageLimit(asked *int) int {
	switch {
	case asked == nil:
		return defaultPage
	case *asked < 0:
		return 0
	case *asked > maxPage:
		return maxPage
	}
	return *asked
}

// optionalToken reads a pagination token; an empty one is nil.
func optionalToken(s, field string) (*room.Token, error) {
	if s == "" {
		return nil, nil
	}
	t, err := room.ParseToken(s)
	if err != nil {
		return nil, mxerr.InvalidParam("Invalid value for %s", field)
	}
	return &t, nil
}

// roomFilter is the part of a room event filter that reads of one room use. CS v1.16 #filtering
type roomFilter struct {
	Types               []string    `json:"types"`
	NotTypes            []string    `json:"not_types"`
	Senders             []id.UserID `json:"senders"`
	NotSenders          []id.UserID `json:"not_senders"`
	RelTypes            []string    `json:"rel_types"`
	NotRelTypes         []string    `json:"not_rel_types"`
	UnstableRelTypes    []string    `json:"org.matrix.msc3874.rel_types"`     // MSC3874
	UnstableNotRelTypes []string    `json:"org.matrix.msc3874.not_rel_types"` // MSC3874
	ContainsURL         *bool       `json:"contains_url"`
	LazyLoadMembers     bool        `json:"lazy_load_members"`
	Limit               *int        `json:"limit"`
}

func parseRoomFilter(raw string) (roomFilter, error) {
	var f roomFilter
	if raw == "" {
		return f, nil
	}
	if err := json.Unmarshal([]byte(raw), &f); err != nil {
		return f, mxerr.InvalidParam("Invalid value for filter")
	}
	return f, nil
}

func (f roomFilter) events() room.EventFilter {
	return room.EventFilter{
		Types: f.Types, NotTypes: f.NotTypes, Senders: f.Senders, NotSenders: f.NotSenders, ContainsURL: f.ContainsURL,
		RelTypes: append(f.RelTypes, f.UnstableRelTypes...), NotRelTypes: append(f.NotRelTypes, f.UnstableNotRelTypes...),
	}
}

type messagesRequest struct {
	Room   id.RoomID `path:"roomId"`
	From   string    `query:"from"`
	To     string    `query:"to"`
	Dir    string    `query:"dir"`
	Limit  *int      `query:"limit"`
	Filter string    `query:"filter"`
}

func (req messagesRequest) page(user id.UserID, f roomFilter) (room.PageRequest, error) {
	p := room.PageRequest{Room: req.Room, User: user, Backward: req.Dir == "b", Filter: f.events()}
	switch req.Dir {
	case "b", "f", "": // required by the specification; who forgets it gets what Synapse gives: forward
	default:
		return p, mxerr.InvalidParam("Invalid value for dir")
	}
	var err error
	if p.From, err = optionalToken(req.From, "from"); err != nil {
		return p, err
	}
	if p.To, err = optionalToken(req.To, "to"); err != nil {
		return p, err
	}
	if req.Limit == nil {
		req.Limit = f.Limit
	}
	p.Limit = pageLimit(req.Limit)
	return p, nil
}

// backfillTime is how long a page waits for other servers' history: long enough for most, short enough for a person.
const backfillTime = 10 * time.Second

// messages reads a page of history, and fetches from other servers what lies before what we have.
// CS v1.16 #get_matrixclientv3roomsroomidmessages
func (a *API) messages(ctx context.Context, caller account.Caller, req messagesRequest) (web.Raw, error) {
	filter, err := parseRoomFilter(req.Filter)
	if err != nil {
		return nil, err
	}
	ask, err := req.page(caller.User, filter)
	if err != nil {
		return nil, err
	}
	page, err := a.Rooms.Messages(ctx, ask)
	if err != nil {
		return nil, err
	}
	if page.Gap && ask.Backward && ask.Limit > 0 {
		switch {
		case a.backfill(ctx, req.Room, page.Missing, ask.Limit):
			if page, err = a.Rooms.Messages(ctx, ask); err != nil {
				return nil, err
			}
		case len(page.Events) == 0:
			page.End = nil // nobody has what lies before: a client must not ask for ever
		}
	}
	var state []*room.Event
	if filter.LazyLoadMembers {
		if state, err = a.sendersOf(ctx, req.Room, page.Events); err != nil {
			return nil, err
		}
	}
	return a.writePage(ctx, caller, page.Start, page.End, page.Events, state)
}

// backfill says whether it brought anything. Other servers' troubles are no reason to refuse what we have.
func (a *API) backfill(ctx context.Context, in id.RoomID, missing []id.EventID, limit int) bool {
	if a.Federation == nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, backfillTime)
	defer cancel()
	added, err := a.Federation.Backfill(ctx, in, missing, limit)
	return err == nil && added > 0
}

// sendersOf reads the member events of those who sent the events. CS v1.16 #lazy-loading-room-members
func (a *API) sendersOf(ctx context.Context, in id.RoomID, evs []*room.Event) ([]*room.Event, error) {
	var members []*room.Event
	seen := map[id.UserID]bool{}
	for _, ev := range evs {
		if seen[ev.Sender] {
			continue
		}
		seen[ev.Sender] = true
		member, err := a.Rooms.StateEvent(ctx, in, "m.room.member", string(ev.Sender))
		if err != nil {
			return nil, err
		}
		if member != nil {
			members = append(members, member)
		}
	}
	return members, nil
}

func (a *API) writePage(ctx context.Context, caller account.Caller, start room.Token, end *room.Token, evs, state []*room.Event) (web.Raw, error) {
	written, err := a.Rooms.ClientEvents(ctx, a.format(caller, true), evs)
	if err != nil {
		return nil, err
	}
	out := append([]byte(nil), `{"start":"`...)
	out = append(out, start.String()...)
	if end != nil {
		out = append(out, `","end":"`...)
		out = append(out, end.String()...)
	}
	out = appendArray(append(out, `","chunk":`...), written)
	if state != nil {
		members, err := a.Rooms.ClientEvents(ctx, a.format(caller, false), state)
		if err != nil {
			return nil, err
		}
		out = appendArray(append(out, `,"state":`...), members)
	}
	return append(out, '}'), nil
}

type contextRequest struct {
	Room   id.RoomID  `path:"roomId"`
	Event  id.EventID `path:"eventId"`
	Limit  *int       `query:"limit"`
	Filter string     `query:"filter"`
}

// eventContext reads an event and what stands around it. CS v1.16 #get_matrixclientv3roomsroomidcontexteventid
func (a *API) eventContext(ctx context.Context, caller account.Caller, req contextRequest) (web.Raw, error) {
	filter, err := parseRoomFilter(req.Filter)
	if err != nil {
		return nil, err
	}
	if req.Limit == nil {
		req.Limit = filter.Limit
	}
	around, err := a.Rooms.Context(ctx, caller.User, req.Room, req.Event, pageLimit(req.Limit), filter.events())
	if err != nil {
		return nil, err
	}
	state := around.State
	if filter.LazyLoadMembers {
		state = withoutOtherMembers(around)
	}
	out := []byte(`{"start":"` + around.Start.String() + `","end":"` + around.End.String() + `"`)
	for _, part := range []struct {
		key string
		evs []*room.Event
	}{{"events_before", around.Before}, {"events_after", around.After}, {"state", state}} {
		written, err := a.Rooms.ClientEvents(ctx, a.format(caller, part.key != "state"), part.evs)
		if err != nil {
			return nil, err
		}
		out = appendArray(append(out, `,"`+part.key+`":`...), written)
	}
	written, err := a.Rooms.ClientEvents(ctx, a.format(caller, true), []*room.Event{around.Event})
	if err != nil {
		return nil, err
	}
	out = append(append(out, `,"event":`...), written[0]...)
	return append(out, '}'), nil
}

// withoutOtherMembers leaves the member events of the senders only.
func withoutOtherMembers(c room.Context) []*room.Event {
	senders := map[id.UserID]bool{c.Event.Sender: true}
	for _, ev := range append(c.Before[:len(c.Before):len(c.Before)], c.After...) {
		senders[ev.Sender] = true
	}
	var kept []*room.Event
	for _, ev := range c.State {
		if ev.Type != "m.room.member" || senders[id.UserID(*ev.StateKey)] {
			kept = append(kept, ev)
		}
	}
	return kept
}

type timestampRequest struct {
	Room id.RoomID `path:"roomId"`
	TS   *int64    `query:"ts"`
	Dir  string    `query:"dir"`
}

type timestampResponse struct {
	Event id.EventID `json:"event_id"`
	TS    int64      `json:"origin_server_ts"`
}

// timestampToEvent finds the event nearest to a time. CS v1.16 #get_matrixclientv1roomsroomidtimestamp_to_event
func (a *API) timestampToEvent(ctx context.Context, caller account.Caller, req timestampRequest) (timestampResponse, error) {
	if req.TS == nil {
		return timestampResponse{}, mxerr.MissingParam("Missing parameter ts")
	}
	if req.Dir != "f" && req.Dir != "b" {
		return timestampResponse{}, mxerr.InvalidParam("Invalid value for dir")
	}
	forward := req.Dir == "f"
	ev, err := a.Rooms.TimestampToEvent(ctx, caller.User, req.Room, *req.TS, forward)
	if err != nil && !errors.Is(err, room.ErrUnknownEvent) {
		return timestampResponse{}, err
	}
	if a.Federation != nil && (ev == nil || a.besideGap(ctx, ev)) {
		// Our history begins later, or has a gap there: others may know an event that is nearer.
		far, missed := a.farEvent(ctx, caller, req, forward)
		if ev == nil {
			ev, err = far, missed
		} else if missed == nil && forward == (far.OriginServerTS < ev.OriginServerTS) {
			ev = far
		}
	}
	if err != nil {
		return timestampResponse{}, err
	}
	return timestampResponse{Event: ev.ID, TS: ev.OriginServerTS}, nil
}

// besideGap reports whether what came just before an event is not here.
func (a *API) besideGap(ctx context.Context, ev *room.Event) bool {
	info, err := a.Rooms.Room(ctx, ev.RoomID)
	return err == nil && slices.ContainsFunc(ev.PrevEvents, func(prev id.EventID) bool { return slices.Contains(info.Missing, prev) })
}

// farEvent is the nearest event to a time that other servers know, brought here.
func (a *API) farEvent(ctx context.Context, caller account.Caller, req timestampRequest, forward bool) (*room.Event, error) {
	far, err := a.Federation.TimestampToEvent(ctx, req.Room, *req.TS, forward)
	if err != nil {
		return nil, err
	}
	return a.Rooms.EventOf(ctx, caller.User, req.Room, far.ID)
}

type relationsRequest struct {
	Room    id.RoomID  `path:"roomId"`
	Event   id.EventID `path:"eventId"`
	RelType string     `path:"relType"`
	Type    string     `path:"eventType"`
	From    string     `query:"from"`
	To      string     `query:"to"`
	Dir     string     `query:"dir"`
	Limit   *int       `query:"limit"`
	Recurse bool       `query:"recurse"`
}

// relations reads the events that relate to one. CS v1.16 #get_matrixclientv1roomsroomidrelationseventid
func (a *API) relations(ctx context.Context, caller account.Caller, req relationsRequest) (web.Raw, error) {
	ask := room.RelationRequest{
		Room: req.Room, User: caller.User, Event: req.Event, RelType: req.RelType, Type: req.Type,
		Forward: req.Dir == "f", Limit: pageLimit(req.Limit), Recurse: req.Recurse,
	}
	var err error
	if ask.From, err = optionalToken(req.From, "from"); err != nil {
		return nil, err
	}
	if ask.To, err = optionalToken(req.To, "to"); err != nil {
		return nil, err
	}
	page, err := a.Rooms.Relations(ctx, ask)
	if err != nil {
		return nil, err
	}
	out, err := a.writeRelations(ctx, caller, page)
	if err != nil || !req.Recurse {
		return append(out, '}'), err
	}
	depth, err := json.Marshal(page.Depth)
	return append(append(append(out, `,"recursion_depth":`...), depth...), '}'), err
}

// writeRelations leaves the closing brace to its caller.
func (a *API) writeRelations(ctx context.Context, caller account.Caller, page room.RelationPage) ([]byte, error) {
	written, err := a.Rooms.ClientEvents(ctx, a.format(caller, true), page.Events)
	if err != nil {
		return nil, err
	}
	out := appendArray([]byte(`{"chunk":`), written)
	if page.Next != nil {
		out = append(out, `,"next_batch":"`+page.Next.String()+`"`...)
	}
	if page.Prev != nil {
		out = append(out, `,"prev_batch":"`+page.Prev.String()+`"`...)
	}
	return out, nil
}

type threadsRequest struct {
	Room    id.RoomID `path:"roomId"`
	Include string    `query:"include"` // all, participated
	From    string    `query:"from"`
	Limit   *int      `query:"limit"`
}

// threads lists the threads of a room. CS v1.16 #get_matrixclientv1roomsroomidthreads
func (a *API) threads(ctx context.Context, caller account.Caller, req threadsRequest) (web.Raw, error) {
	from, err := optionalToken(req.From, "from")
	if err != nil {
		return nil, err
	}
	page, err := a.Rooms.Threads(ctx, caller.User, req.Room, req.Include == "participated", from, pageLimit(req.Limit))
	if err != nil {
		return nil, err
	}
	out, err := a.writeRelations(ctx, caller, page)
	return append(out, '}'), err
}
