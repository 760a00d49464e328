package csapi

import (
	"context"
	"encoding/json"

	"konsil/homeserver/account"
	"konsil/homeserver/room"
	"konsil/homeserver/search"
	"konsil/homeserver/store"
	"konsil/matrix/endpoint"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
)

func (a *API) searchRoutes() []row {
	if a.Search == nil {
		return nil
	}
	return []row{{endpoint.Search, user(a.search), limitSearch}}
}

// Bounds of a search (B6).
const (
	maxFound   = 100 // events of a page
	maxContext = 50  // events before, and after, each of them
	maxStates  = 20  // rooms whose state comes along
)

type searchRequest struct {
	From       string `query:"next_batch"`
	Categories *struct {
		Events *eventSearch `json:"room_events"`
	} `json:"search_categories" bind:"required"`
}

type eventSearch struct {
	Term         string         `json:"search_term"`
	Keys         []string       `json:"keys"`
	Filter       searchFilter   `json:"filter"`
	OrderBy      string         `json:"order_by"`
	Context      *searchContext `json:"event_context"`
	IncludeState bool           `json:"include_state"`
	Groupings    struct {
		By []struct {
			Key string `json:"key"`
		} `json:"group_by"`
	} `json:"groupings"`
}

// searchFilter is a room event filter, rooms included. CS v1.16 #filtering
type searchFilter struct {
	Rooms    []id.RoomID `json:"rooms"`
	NotRooms []id.RoomID `json:"not_rooms"`
	roomFilter
}

type searchContext struct {
	Before  *int `json:"before_limit"`
	After   *int `json:"after_limit"`
	Profile bool `json:"include_profile"`
}

type foundEvents struct {
	Count      int64                            `json:"count"`
	Highlights []string                         `json:"highlights"`
	Results    []foundEvent                     `json:"results"`
	State      map[id.RoomID][]json.RawMessage  `json:"state,omitempty"`
	Groups     map[string]map[string]foundGroup `json:"groups,omitempty"`
	Next       string                           `json:"next_batch,omitempty"`
}

type foundEvent struct {
	Rank    float64         `json:"rank"`
	Result  json.RawMessage `json:"result"`
	Context *foundContext   `json:"context,omitempty"`
}

type foundContext struct {
	Start    string                    `json:"start"`
	End      string                    `json:"end"`
	Before   []json.RawMessage         `json:"events_before"`
	After    []json.RawMessage         `json:"events_after"`
	Profiles map[id.UserID]foundMember `json:"profile_info,omitempty"`
}

type foundMember struct {
	DisplayName string `json:"displayname,omitempty"`
	AvatarURL   string `json:"avatar_url,omitempty"`
}

type foundGroup struct {
	Order   int          `json:"order"`
	Results []id.EventID `json:"results"`
}

type searchResponse struct {
	Categories struct {
		Events *foundEvents `json:"room_events,omitempty"`
	} `json:"search_categories"`
}

// search finds events by words. CS v1.16 #post_matrixclientv3search
func (a *API) search(ctx context.Context, caller account.Caller, req searchRequest) (searchResponse, error) {
	var resp searchResponse
	ask := req.Categories.Events
	if ask == nil {
		return resp, nil
	}
	q, err := ask.query(caller.User, req.From)
	if err != nil {
		return resp, err
	}
	found, err := a.Search.Search(ctx, q)
	if err != nil {
		return resp, err
	}
	resp.Categories.Events, err = a.writeFound(ctx, caller, ask, found)
	return resp, err
}

// query checks what was asked.
func (s *eventSearch) query(user id.UserID, from string) (search.Query, error) {
	q := search.Query{User: user, Term: s.Term, From: from, Recent: s.OrderBy == "recent", Limit: defaultPage,
		Rooms: s.Filter.Rooms, NotRooms: s.Filter.NotRooms, Filter: s.Filter.events()}
	if s.Term == "" {
		return q, mxerr.MissingParam("Missing parameter search_term")
	}
	switch s.OrderBy {
	case "", "rank", "recent":
	default:
		return q, mxerr.InvalidParam("Invalid value for order_by")
	}
	for _, key := range s.Keys {
		switch key {
		case "content.body":
			q.Fields = append(q.Fields, store.SearchBody)
		case "content.name":
			q.Fields = append(q.Fields, store.SearchName)
		case "content.topic":
			q.Fields = append(q.Fields, store.SearchTopic)
		default:
			return q, mxerr.InvalidParam("Invalid value for keys")
		}
	}
	for _, g := range s.Groupings.By {
		if g.Key != groupByRoom && g.Key != groupBySender {
			return q, mxerr.InvalidParam("Invalid value for group_by")
		}
	}
	if s.Filter.Limit != nil {
		q.Limit = min(max(*s.Filter.Limit, 0), maxFound)
	}
	return q, nil
}

const (
	groupByRoom   = "room_id"
	groupBySender = "sender"
)

func (a *API) writeFound(ctx context.Context, caller account.Caller, ask *eventSearch, found search.Result) (*foundEvents, error) {
	evs := make([]*room.Event, len(found.Hits))
	for i, h := range found.Hits {
		evs[i] = h.Event
	}
	written, err := a.Rooms.ClientEvents(ctx, a.format(caller, true), evs)
	if err != nil {
		return nil, err
	}
	out := &foundEvents{Count: found.Count, Highlights: found.Highlights, Results: make([]foundEvent, len(evs)), Next: found.Next}
	if out.Highlights == nil {
		out.Highlights = []string{}
	}
	for i, ev := range evs {
		out.Results[i] = foundEvent{Rank: found.Hits[i].Rank, Result: written[i]}
		if ask.Context != nil {
			if out.Results[i].Context, err = a.foundContext(ctx, caller, ev, ask.Context); err != nil {
				return nil, err
			}
		}
	}
	if ask.IncludeState {
		if out.State, err = a.foundState(ctx, caller, evs); err != nil {
			return nil, err
		}
	}
	for _, g := range ask.Groupings.By {
		if out.Groups == nil {
			out.Groups = map[string]map[string]foundGroup{}
		}
		out.Groups[g.Key] = group(evs, g.Key)
	}
	return out, nil
}

// group collects a page's events by room or sender, in the order in which these appear.
func group(evs []*room.Event, key string) map[string]foundGroup {
	groups := map[string]foundGroup{}
	for _, ev := range evs {
		name := string(ev.RoomID)
		if key == groupBySender {
			name = string(ev.Sender)
		}
		g, known := groups[name]
		if !known {
			g.Order = len(groups) + 1
		}
		g.Results = append(g.Results, ev.ID)
		groups[name] = g
	}
	return groups
}

// foundContext reads what stands around an event that was found.
func (a *API) foundContext(ctx context.Context, caller account.Caller, ev *room.Event, ask *searchContext) (*foundContext, error) {
	around, err := a.Rooms.Around(ctx, caller.User, ev, contextLimit(ask.Before), contextLimit(ask.After), room.EventFilter{})
	if err != nil {
		return nil, err
	}
	out := &foundContext{Start: around.Start.String(), End: around.End.String()}
	if out.Before, err = a.Rooms.ClientEvents(ctx, a.format(caller, true), around.Before); err != nil {
		return nil, err
	}
	if out.After, err = a.Rooms.ClientEvents(ctx, a.format(caller, true), around.After); err != nil {
		return nil, err
	}
	if ask.Profile {
		out.Profiles, err = a.profilesAround(ctx, around)
	}
	return out, err
}

// contextLimit is 5 where the client does not say. CS v1.16 #post_matrixclientv3search
func contextLimit(asked *int) int {
	if asked == nil {
		return 5
	}
	return min(max(*asked, 0), maxContext)
}

// profilesAround are the profiles that the senders had in the room then.
func (a *API) profilesAround(ctx context.Context, around room.Context) (map[id.UserID]foundMember, error) {
	slots := []id.Slot{{Type: "m.room.member", StateKey: string(around.Event.Sender)}}
	for _, evs := range [][]*room.Event{around.Before, around.After} {
		for _, ev := range evs {
			slots = append(slots, id.Slot{Type: "m.room.member", StateKey: string(ev.Sender)})
		}
	}
	members, err := a.Rooms.SlotsAfter(ctx, around.Event, slots)
	if err != nil {
		return nil, err
	}
	profiles := make(map[id.UserID]foundMember, len(members))
	for _, ev := range members {
		var m foundMember
		if json.Unmarshal(ev.Content, &m) != nil {
			m = foundMember{} // names that are no strings are none
		}
		profiles[id.UserID(*ev.StateKey)] = m
	}
	return profiles, nil
}

// foundState is the current state of the rooms of a page that the user still is in.
func (a *API) foundState(ctx context.Context, caller account.Caller, evs []*room.Event) (map[id.RoomID][]json.RawMessage, error) {
	states := map[id.RoomID][]json.RawMessage{}
	for _, ev := range evs {
		if _, known := states[ev.RoomID]; known || len(states) == maxStates {
			continue
		}
		if now, err := a.Rooms.Membership(ctx, ev.RoomID, caller.User); err != nil {
			return nil, err
		} else if now != "join" {
			continue // what the room became after they left is not theirs to see
		}
		state, err := a.Rooms.CurrentState(ctx, ev.RoomID)
		if err != nil {
			return nil, err
		}
		if states[ev.RoomID], err = a.Rooms.ClientEvents(ctx, a.format(caller, false), state); err != nil {
			return nil, err
		}
	}
	return states, nil
}
