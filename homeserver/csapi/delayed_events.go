package csapi

import (
	"context"
	"encoding/json"
	"math"
	"time"

	"konsil/homeserver/account"
	"konsil/matrix/endpoint"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
)

// delayedEventRoutes are those of MSC4140. What is done to a delayed event needs no access token: the delay ID is a secret that
// a client can hand to somebody who stays when it goes, as the server of a call.
func (a *API) delayedEventRoutes() []row {
	if a.Delayed == nil {
		return nil
	}
	return []row{
		{endpoint.GetDelayedEvents, user(a.delayedEvents), limitRead},
		{endpoint.UpdateDelayedEvent, public(a.updateDelayedEvent), limitWrite},
		{endpoint.UpdateDelayedEventByBody, public(a.updateDelayedEventByBody), limitWrite},
	}
}

type delayResponse struct {
	ID string `json:"delay_id"`
}

// delayOf reads what a client asks for, in milliseconds. What is too long to count is too long.
func delayOf(ms int64) time.Duration {
	return time.Duration(min(ms, math.MaxInt64/int64(time.Millisecond))) * time.Millisecond
}

type delayedEvent struct {
	ID       string          `json:"delay_id"`
	Room     id.RoomID       `json:"room_id"`
	Type     string          `json:"type"`
	StateKey *string         `json:"state_key,omitempty"`
	Delay    int64           `json:"delay"`         // ms
	Since    int64           `json:"running_since"` // ms
	Content  json.RawMessage `json:"content"`
}

type delayedEventsResponse struct {
	Events []delayedEvent `json:"delayed_events"`
}

// delayedEvents lists what the caller has left. MSC4140
func (a *API) delayedEvents(ctx context.Context, caller account.Caller, _ None) (delayedEventsResponse, error) {
	list, err := a.Delayed.List(ctx, caller.User)
	resp := delayedEventsResponse{[]delayedEvent{}}
	for _, d := range list {
		resp.Events = append(resp.Events, delayedEvent{d.ID, d.Room, d.Type, d.StateKey, d.Delay, d.Since, d.Content})
	}
	return resp, err
}

type updateDelayedRequest struct {
	ID     string `path:"delayId"`
	Action string `path:"action"`
}

func (a *API) updateDelayedEvent(ctx context.Context, req updateDelayedRequest) (None, error) {
	switch req.Action {
	case "cancel":
		return None{}, a.Delayed.Cancel(ctx, req.ID)
	case "restart":
		return None{}, a.Delayed.Restart(ctx, req.ID)
	case "send":
		return None{}, a.Delayed.Send(ctx, req.ID)
	}
	return None{}, mxerr.Unrecognized()
}

type updateDelayedByBody struct {
	ID     string `path:"delayId"`
	Action string `json:"action" bind:"required"`
}

// updateDelayedEventByBody is the same as older clients say it.
func (a *API) updateDelayedEventByBody(ctx context.Context, req updateDelayedByBody) (None, error) {
	done, err := a.updateDelayedEvent(ctx, updateDelayedRequest(req))
	if mxerr.Is(err, mxerr.CodeUnrecognized) {
		err = mxerr.InvalidParam("Invalid value for action")
	}
	return done, err
}
