package room

// Signatures that have no body yet. Each moves to its own file as it is written; this file vanishes.

import (
	"context"
	"encoding/json"
	"errors"

	"konsil/matrix/event"
	"konsil/matrix/id"
)

var errSoon = errors.New("room: under construction")

// ---- changes by local users

// ---- what other servers send (signatures verified, server ACLs checked by the caller)

// Receive admits a PDU. SS v1.16 #checks-performed-on-receipt-of-a-pdu
func (e *Engine) Receive(ctx context.Context, origin id.ServerName, pdu *event.PDU) (Receipt, error) {
	return Receipt{}, errSoon
}

// ReceiveWithState is Receive for an event whose prev events stay missing: state names the state before it (from /state_ids);
// the events of it were handed to Outliers before.
func (e *Engine) ReceiveWithState(ctx context.Context, origin id.ServerName, pdu *event.PDU, state []id.EventID) (Receipt, error) {
	return Receipt{}, errSoon
}

// Outliers stores auth chain and state events whose place in the room is unknown. Each is authorised against its own auth
// events; those that fail are stored as rejected. Events may come in any order; known ones are skipped. It answers what auth events are still missing.
func (e *Engine) Outliers(ctx context.Context, room id.RoomID, pdus []*event.PDU) (missing []id.EventID, err error) {
	return nil, errSoon
}

// Backfilled stores history from before what we have. state gives the state before those events whose prev events are unknown.
// It answers how many were new.
func (e *Engine) Backfilled(ctx context.Context, room id.RoomID, pdus []*event.PDU, state map[id.EventID][]id.EventID) (int, error) {
	return 0, errSoon
}

// Import makes (or makes again) a room that a local user has joined through another server.
func (e *Engine) Import(ctx context.Context, a JoinAnswer) error { return errSoon }

// SignInvite signs another server's invite of a local user, and remembers it with its stripped state unless we are in the room.
func (e *Engine) SignInvite(ctx context.Context, invite *event.PDU, stripped []json.RawMessage) (*event.PDU, error) {
	return nil, errSoon
}

// KnockSent remembers a knock that went through another server, with the stripped state of the answer.
func (e *Engine) KnockSent(ctx context.Context, knock *event.PDU, stripped []json.RawMessage) error {
	return errSoon
}

// LeftRemotely remembers a leave that went through another server (invite rejected, knock taken back).
func (e *Engine) LeftRemotely(ctx context.Context, leave *event.PDU) error { return errSoon }

// RejectLocally ends an invite or knock here although no server could be told.
func (e *Engine) RejectLocally(ctx context.Context, room id.RoomID, user id.UserID) error {
	return errSoon
}

// MakeJoin, MakeLeave and MakeKnock build templates. SS v1.16 #joining-rooms
func (e *Engine) MakeJoin(ctx context.Context, origin id.ServerName, room id.RoomID, user id.UserID, versions []string) (Template, error) {
	return Template{}, errSoon
}
func (e *Engine) MakeLeave(ctx context.Context, origin id.ServerName, room id.RoomID, user id.UserID) (Template, error) {
	return Template{}, errSoon
}
func (e *Engine) MakeKnock(ctx context.Context, origin id.ServerName, room id.RoomID, user id.UserID, versions []string) (Template, error) {
	return Template{}, errSoon
}

// SendJoin, SendLeave and SendKnock admit the signed event. SendKnock answers stripped state.
func (e *Engine) SendJoin(ctx context.Context, origin id.ServerName, room id.RoomID, pdu *event.PDU) (*RemoteJoin, error) {
	return nil, errSoon
}
func (e *Engine) SendLeave(ctx context.Context, origin id.ServerName, room id.RoomID, pdu *event.PDU) error {
	return errSoon
}
func (e *Engine) SendKnock(ctx context.Context, origin id.ServerName, room id.RoomID, pdu *event.PDU) ([]json.RawMessage, error) {
	return nil, errSoon
}

// ---- what other servers ask; unknown and forbidden look the same (A20)

// EventFor is /event: the event as that server may see it.
func (e *Engine) EventFor(ctx context.Context, origin id.ServerName, ev id.EventID) (*Event, error) {
	return nil, errSoon
}

// StateFor is /state and /state_ids: the state before the event, and its auth chain.
func (e *Engine) StateFor(ctx context.Context, origin id.ServerName, room id.RoomID, ev id.EventID) (state, chain []*Event, err error) {
	return nil, nil, errSoon
}

// AuthChainFor is /event_auth.
func (e *Engine) AuthChainFor(ctx context.Context, origin id.ServerName, room id.RoomID, ev id.EventID) ([]*Event, error) {
	return nil, errSoon
}

// BackfillFor is /backfill: newest first.
func (e *Engine) BackfillFor(ctx context.Context, origin id.ServerName, room id.RoomID, from []id.EventID, limit int) ([]*Event, error) {
	return nil, errSoon
}

// MissingEventsFor is /get_missing_events: oldest first.
func (e *Engine) MissingEventsFor(ctx context.Context, origin id.ServerName, room id.RoomID, earliest, latest []id.EventID, limit int, minDepth int64) ([]*Event, error) {
	return nil, errSoon
}

// TimestampToEventFor is the federation's /timestamp_to_event.
func (e *Engine) TimestampToEventFor(ctx context.Context, origin id.ServerName, room id.RoomID, ts int64, forward bool) (*Event, error) {
	return nil, errSoon
}
