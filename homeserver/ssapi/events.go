package ssapi

import (
	"context"
	"strconv"

	"konsil/homeserver/room"
	"konsil/kit/web"
	"konsil/matrix/canonical"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
)

// What these endpoints tell a server that is not in the room, or that asks for an event of another room, is what they tell
// about an event that does not exist: the engine's answer, byte by byte (A20). A server that the room's access control list
// excludes is refused before anything is looked up, so it learns no more.

// allowed refuses servers that the room excludes. SS v1.16 #server-access-control-lists-acls
func (a *API) allowed(ctx context.Context, roomID id.RoomID, origin id.ServerName) error {
	ok, err := a.cfg.Rooms.ServerAllowed(ctx, roomID, origin)
	if err == nil && !ok {
		err = mxerr.Forbidden("Server is denied by the room's access control list")
	}
	return err
}

type roomEvent struct {
	Room  id.RoomID  `path:"roomId"`
	Event id.EventID `path:"eventId"`
}

// SS v1.16 #get_matrixfederationv1event_authroomideventid
func (a *API) eventAuth(ctx context.Context, origin id.ServerName, req roomEvent) (*web.Stream, error) {
	if err := a.allowed(ctx, req.Room, origin); err != nil {
		return nil, err
	}
	chain, err := a.cfg.Rooms.AuthChainFor(ctx, origin, req.Room, req.Event)
	if err != nil {
		return nil, err
	}
	var p pieces
	p.text(`{"auth_chain":`)
	p.events(chain)
	p.text(`}`)
	return p.stream(), nil
}

type backfillRequest struct {
	Room  id.RoomID    `path:"roomId"`
	From  []id.EventID `query:"v" bind:"required"`
	Limit *int         `query:"limit" bind:"required"`
}

// Limits of what one request gets (A21).
const (
	maxBackfill = 100
	maxMissing  = 20
	maxNamed    = 50 // event IDs in a request
)

// SS v1.16 #get_matrixfederationv1backfillroomid
func (a *API) backfill(ctx context.Context, origin id.ServerName, req backfillRequest) (*web.Stream, error) {
	if err := a.allowed(ctx, req.Room, origin); err != nil {
		return nil, err
	}
	if len(req.From) > maxNamed {
		req.From = req.From[:maxNamed]
	}
	evs, err := a.cfg.Rooms.BackfillFor(ctx, origin, req.Room, req.From, max(0, min(*req.Limit, maxBackfill)))
	if err != nil {
		return nil, err
	}
	return a.eventsTransaction(evs), nil
}

// eventsTransaction is the transaction-like answer of backfill and event.
func (a *API) eventsTransaction(evs []*room.Event) *web.Stream {
	head := canonical.AppendString([]byte(`{"origin":`), a.cfg.Server)
	head = strconv.AppendInt(append(head, `,"origin_server_ts":`...), a.cfg.Federation.Now().UnixMilli(), 10)
	var p pieces
	p.add(append(head, `,"pdus":`...))
	p.events(evs)
	p.text(`}`)
	return p.stream()
}

type missingRequest struct {
	Room     id.RoomID    `path:"roomId"`
	Limit    *int         `json:"limit"`
	MinDepth int64        `json:"min_depth"`
	Earliest []id.EventID `json:"earliest_events"`
	Latest   []id.EventID `json:"latest_events"`
}

// SS v1.16 #post_matrixfederationv1get_missing_eventsroomid
func (a *API) missingEvents(ctx context.Context, origin id.ServerName, req missingRequest) (*web.Stream, error) {
	if err := a.allowed(ctx, req.Room, origin); err != nil {
		return nil, err
	}
	limit := 10
	if req.Limit != nil {
		limit = max(0, min(*req.Limit, maxMissing))
	}
	if len(req.Earliest) > maxNamed || len(req.Latest) > maxNamed {
		return nil, mxerr.TooLarge("More than %d events named", maxNamed)
	}
	evs, err := a.cfg.Rooms.MissingEventsFor(ctx, origin, req.Room, req.Earliest, req.Latest, limit, req.MinDepth)
	if err != nil {
		return nil, err
	}
	var p pieces
	p.text(`{"events":`)
	p.events(evs)
	p.text(`}`)
	return p.stream(), nil
}

type stateRequest struct {
	Room id.RoomID  `path:"roomId"`
	At   id.EventID `query:"event_id" bind:"required"`
}

// SS v1.16 #get_matrixfederationv1stateroomid
func (a *API) state(ctx context.Context, origin id.ServerName, req stateRequest) (*web.Stream, error) {
	if err := a.allowed(ctx, req.Room, origin); err != nil {
		return nil, err
	}
	state, chain, err := a.cfg.Rooms.StateFor(ctx, origin, req.Room, req.At)
	if err != nil {
		return nil, err
	}
	var p pieces
	p.text(`{"auth_chain":`)
	p.events(chain)
	p.text(`,"pdus":`)
	p.events(state)
	p.text(`}`)
	return p.stream(), nil
}

// SS v1.16 #get_matrixfederationv1state_idsroomid
func (a *API) stateIDs(ctx context.Context, origin id.ServerName, req stateRequest) (web.Raw, error) {
	if err := a.allowed(ctx, req.Room, origin); err != nil {
		return nil, err
	}
	state, chain, err := a.cfg.Rooms.StateFor(ctx, origin, req.Room, req.At)
	if err != nil {
		return nil, err
	}
	out := eventIDs([]byte(`{"auth_chain_ids":`), chain)
	out = eventIDs(append(out, `,"pdu_ids":`...), state)
	return append(out, '}'), nil
}

type eventRequest struct {
	Event id.EventID `path:"eventId"`
}

// SS v1.16 #get_matrixfederationv1eventeventid
func (a *API) event(ctx context.Context, origin id.ServerName, req eventRequest) (*web.Stream, error) {
	ev, err := a.cfg.Rooms.EventFor(ctx, origin, req.Event)
	if err != nil {
		return nil, err
	}
	// No room is named here, so an excluded server must not learn that there is one.
	if allowed, err := a.cfg.Rooms.ServerAllowed(ctx, ev.RoomID, origin); err != nil {
		return nil, err
	} else if !allowed {
		return nil, room.ErrUnknownEvent
	}
	return a.eventsTransaction([]*room.Event{ev}), nil
}

type timestampRequest struct {
	Room id.RoomID `path:"roomId"`
	TS   *int64    `query:"ts" bind:"required"`
	Dir  string    `query:"dir" bind:"required"`
}

type timestampAnswer struct {
	Event id.EventID `json:"event_id"`
	TS    int64      `json:"origin_server_ts"`
}

// SS v1.16 #get_matrixfederationv1timestamp_to_eventroomid
func (a *API) timestampToEvent(ctx context.Context, origin id.ServerName, req timestampRequest) (timestampAnswer, error) {
	if err := a.allowed(ctx, req.Room, origin); err != nil {
		return timestampAnswer{}, err
	}
	if req.Dir != "f" && req.Dir != "b" {
		return timestampAnswer{}, mxerr.InvalidParam("dir must be f or b")
	}
	ev, err := a.cfg.Rooms.TimestampToEventFor(ctx, origin, req.Room, *req.TS, req.Dir == "f")
	if err != nil {
		return timestampAnswer{}, err
	}
	return timestampAnswer{ev.ID, ev.OriginServerTS}, nil
}
