package csapi

import (
	"context"
	"encoding/json"

	"konsil/homeserver/account"
	"konsil/homeserver/room"
	"konsil/matrix/endpoint"
	"konsil/matrix/id"
)

func (a *API) roomSendRoutes() []row {
	return []row{
		{endpoint.SendMessage, active(a.sendEvent), limitSend},
		{endpoint.SetRoomStateWithKey, active(a.sendState), limitSend},
		{endpoint.RedactEvent, user(a.redactEvent), limitSend},
	}
}

type eventIDResponse struct {
	Event id.EventID `json:"event_id"`
}

type sendEventRequest struct {
	Room    id.RoomID       `path:"roomId"`
	Type    string          `path:"eventType"`
	TxnID   string          `path:"txnId"`
	TS      int64           `query:"ts"`
	Delay   *int64          `query:"org.matrix.msc4140.delay"` // ms, MSC4140
	Content json.RawMessage `body:"raw"`
}

// sendEvent sends a message event. A redaction may come this way in every room version.
// CS v1.16 #put_matrixclientv3roomsroomidsendeventtypetxnid
func (a *API) sendEvent(ctx context.Context, caller account.Caller, req sendEventRequest) (any, error) {
	ts, err := massaged(caller, req.TS)
	if err != nil {
		return nil, err
	}
	return a.send(ctx, req.Delay, room.Draft{
		Room: req.Room, Sender: caller.User, Type: req.Type, Content: req.Content, Redacts: redactsOf(req.Type, req.Content), TS: ts,
		Device: caller.Device, TxnScope: "send", TxnID: req.TxnID,
	})
}

// send sends an event, or leaves it to be sent later.
func (a *API) send(ctx context.Context, delay *int64, d room.Draft) (any, error) {
	if delay != nil && a.Delayed != nil {
		delayID, err := a.Delayed.Delay(ctx, d, delayOf(*delay))
		return delayResponse{delayID}, err
	}
	sent, err := a.Rooms.Send(ctx, d)
	return eventIDResponse{sent}, err
}

// redactsOf finds the target of a redaction sent as an event: newer rooms have it in the content, and the engine puts it
// where the room's version wants it.
func redactsOf(eventType string, content json.RawMessage) id.EventID {
	if eventType != "m.room.redaction" {
		return ""
	}
	var c struct {
		Redacts id.EventID `json:"redacts"`
	}
	if json.Unmarshal(content, &c) != nil {
		return ""
	}
	return c.Redacts
}

type sendStateRequest struct {
	Room     id.RoomID       `path:"roomId"`
	Type     string          `path:"eventType"`
	StateKey string          `path:"stateKey"`
	TS       int64           `query:"ts"`
	Delay    *int64          `query:"org.matrix.msc4140.delay"` // ms, MSC4140
	Content  json.RawMessage `body:"raw"`
}

// sendState sends a state event. CS v1.16 #put_matrixclientv3roomsroomidstateeventtypestatekey
func (a *API) sendState(ctx context.Context, caller account.Caller, req sendStateRequest) (any, error) {
	if req.Type == "m.room.canonical_alias" {
		if err := a.checkAliases(ctx, req.Room, req.Content); err != nil {
			return nil, err
		}
	}
	ts, err := massaged(caller, req.TS)
	if err != nil {
		return nil, err
	}
	return a.send(ctx, req.Delay, room.Draft{
		Room: req.Room, Sender: caller.User, Type: req.Type, StateKey: &req.StateKey, Content: req.Content, TS: ts,
		Device: caller.Device,
	})
}

type redactRequest struct {
	Room   id.RoomID  `path:"roomId"`
	Event  id.EventID `path:"eventId"`
	TxnID  string     `path:"txnId"`
	Reason string     `json:"reason"`
}

// redactEvent strips an event of what it said. CS v1.16 #put_matrixclientv3roomsroomidredacteventidtxnid
func (a *API) redactEvent(ctx context.Context, caller account.Caller, req redactRequest) (eventIDResponse, error) {
	content, err := json.Marshal(struct {
		Reason string `json:"reason,omitempty"`
	}{req.Reason})
	if err != nil {
		return eventIDResponse{}, err
	}
	sent, err := a.Rooms.Send(ctx, room.Draft{
		Room: req.Room, Sender: caller.User, Type: "m.room.redaction", Content: content, Redacts: req.Event,
		Device: caller.Device, TxnScope: "redact", TxnID: req.TxnID,
	})
	return eventIDResponse{sent}, err
}
