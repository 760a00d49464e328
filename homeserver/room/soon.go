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

// Engine is one domain's room engine.
type Engine struct{ cfg Config }

// New assembles an engine. It starts nothing.
func New(cfg Config) *Engine { return &Engine{cfg: cfg} }

// ---- changes by local users

// Create makes a room and everything in it in one transaction. alias is the full alias that was made, or "".
func (e *Engine) Create(ctx context.Context, req CreateRequest) (room id.RoomID, alias id.RoomAlias, err error) {
	return "", "", errSoon
}

// Send stores an event of a local user. A repeated transaction, or state that is there already, answers the existing event.
func (e *Engine) Send(ctx context.Context, d Draft) (id.EventID, error) { return "", errSoon }

// Join lets a local user join a room we are in (also by invite, or restricted). For rooms we are not in, or whose restricted join no
// local user can authorise, it fails with ErrNotHere: federation joins through another server.
func (e *Engine) Join(ctx context.Context, c MembershipChange) (id.EventID, error) {
	return "", errSoon
}

// Leave leaves a room, rejects an invite or takes back a knock. Rooms we are not in: ErrNotHere (see RejectLocally).
func (e *Engine) Leave(ctx context.Context, c MembershipChange) (id.EventID, error) {
	return "", errSoon
}

// Knock, Kick, Ban, Unban change a membership in a room we are in.
func (e *Engine) Knock(ctx context.Context, c MembershipChange) (id.EventID, error) {
	return "", errSoon
}
func (e *Engine) Kick(ctx context.Context, c MembershipChange) (id.EventID, error) {
	return "", errSoon
}
func (e *Engine) Ban(ctx context.Context, c MembershipChange) (id.EventID, error) { return "", errSoon }
func (e *Engine) Unban(ctx context.Context, c MembershipChange) (id.EventID, error) {
	return "", errSoon
}

// Invite invites a local user. For a user of another server use PrepareInvite, let their server sign, then FinishInvite.
func (e *Engine) Invite(ctx context.Context, c MembershipChange) (id.EventID, error) {
	return "", errSoon
}

// PrepareInvite builds and authorises an invite without storing it, with the stripped state that goes along.
func (e *Engine) PrepareInvite(ctx context.Context, c MembershipChange) (ev *event.PDU, stripped []json.RawMessage, err error) {
	return nil, nil, errSoon
}

// FinishInvite stores the invite that the invited server has signed.
func (e *Engine) FinishInvite(ctx context.Context, signed *event.PDU) (id.EventID, error) {
	return "", errSoon
}

// Forget takes a room that the user has left out of their lists.
func (e *Engine) Forget(ctx context.Context, room id.RoomID, user id.UserID) error { return errSoon }

// ProfileChanged sends the user's new profile into all rooms they are in.
func (e *Engine) ProfileChanged(ctx context.Context, user id.UserID, p Profile) error { return errSoon }

// Upgrade makes a new version of a room. CS v1.16 #post_matrixclientv3roomsroomidupgrade
func (e *Engine) Upgrade(ctx context.Context, user id.UserID, room id.RoomID, version string, creators []id.UserID) (id.RoomID, error) {
	return "", errSoon
}

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

// ServerAllowed asks the room's server ACL. A room without one, or unknown to us, allows everybody. CS v1.16 #server-access-control-lists-acls-for-rooms
func (e *Engine) ServerAllowed(ctx context.Context, room id.RoomID, server id.ServerName) (bool, error) {
	return false, errSoon
}

// ServerInRoom reports whether a user of the server is joined.
func (e *Engine) ServerInRoom(ctx context.Context, room id.RoomID, server id.ServerName) (bool, error) {
	return false, errSoon
}

// ---- reads

// Info is what is known of a room at a glance.
type Info struct {
	Room        id.RoomID
	Version     string
	Here        bool  // a local user is joined
	LastPos     int64 // of the last timeline event
	Joined      int
	Invited     int
	Extremities []id.EventID // forward
	Missing     []id.EventID // backward: referred to and not here
}

// Room gives Info, or ErrUnknownRoom.
func (e *Engine) Room(ctx context.Context, room id.RoomID) (Info, error) { return Info{}, errSoon }

// Event reads one event, whatever its status; ErrUnknownEvent.
func (e *Engine) Event(ctx context.Context, ev id.EventID) (*Event, error) { return nil, errSoon }

// Events reads events; unknown ones are left out.
func (e *Engine) Events(ctx context.Context, ids []id.EventID) ([]*Event, error) { return nil, errSoon }

// EventsByNID reads events by number, in the order asked.
func (e *Engine) EventsByNID(ctx context.Context, nids []int64) ([]*Event, error) {
	return nil, errSoon
}

// EventsAfter reads the timeline events of all rooms with after < position <= upTo, in order, at most limit.
func (e *Engine) EventsAfter(ctx context.Context, after, upTo int64, limit int) ([]*Event, error) {
	return nil, errSoon
}

// Timeline reads the newest limit events of a room with after < position <= upTo, in order; limited says that there were more.
func (e *Engine) Timeline(ctx context.Context, room id.RoomID, after, upTo int64, limit int) (evs []*Event, limited bool, err error) {
	return nil, false, errSoon
}

// RoomsChangedSince filters rooms to those with timeline events after pos. It reads memory, not the store.
func (e *Engine) RoomsChangedSince(ctx context.Context, rooms []id.RoomID, pos int64) ([]id.RoomID, error) {
	return nil, errSoon
}

// CurrentState reads the room's current state, all of it.
func (e *Engine) CurrentState(ctx context.Context, room id.RoomID) ([]*Event, error) {
	return nil, errSoon
}

// StateEvent reads one slot of the current state; nil for an empty one.
func (e *Engine) StateEvent(ctx context.Context, room id.RoomID, typ, key string) (*Event, error) {
	return nil, errSoon
}

// StateBefore and StateAfter read the state around an event.
func (e *Engine) StateBefore(ctx context.Context, ev *Event) ([]*Event, error) { return nil, errSoon }
func (e *Engine) StateAfter(ctx context.Context, ev *Event) ([]*Event, error)  { return nil, errSoon }

// StateAt reads the current state of a room as it was at a position.
func (e *Engine) StateAt(ctx context.Context, room id.RoomID, pos int64) ([]*Event, error) {
	return nil, errSoon
}

// StateChanges reads what happened to the current state of a room with after < position <= upTo: for each slot that changed, the event it held at upTo (the slot's last).
func (e *Engine) StateChanges(ctx context.Context, room id.RoomID, after, upTo int64) ([]*Event, error) {
	return nil, errSoon
}

// Members reads member events at a position (0: now), with any of the memberships (nil: all) but none of not.
func (e *Engine) Members(ctx context.Context, room id.RoomID, at int64, want, not string) ([]*Event, error) {
	return nil, errSoon
}

// JoinedServers lists the servers with joined users, ours included.
func (e *Engine) JoinedServers(ctx context.Context, room id.RoomID) ([]id.ServerName, error) {
	return nil, errSoon
}

// JoinedMembers lists joined users with the profile of their member event.
func (e *Engine) JoinedMembers(ctx context.Context, room id.RoomID) (map[id.UserID]Profile, error) {
	return nil, errSoon
}

// LocalMembers lists the joined users of this domain.
func (e *Engine) LocalMembers(ctx context.Context, room id.RoomID) ([]id.UserID, error) {
	return nil, errSoon
}

// Membership is the user's current membership, "" for none.
func (e *Engine) Membership(ctx context.Context, room id.RoomID, user id.UserID) (string, error) {
	return "", errSoon
}

// UserRoom is a local user's relation to a room.
type UserRoom struct {
	Room       id.RoomID
	Membership string
	Event      int64 // number of the member event; see EventsByNID
	Pos        int64 // of the last change of membership
	Forgotten  bool
	Stripped   json.RawMessage // JSON array of stripped state, for invites and knocks
}

// UserRooms lists the rooms of a local user with any membership.
func (e *Engine) UserRooms(ctx context.Context, user id.UserID) ([]UserRoom, error) {
	return nil, errSoon
}

// JoinedRooms lists the rooms a user (also a remote one) is joined to, as far as we know.
func (e *Engine) JoinedRooms(ctx context.Context, user id.UserID) ([]id.RoomID, error) {
	return nil, errSoon
}

// SharesRoom reports whether both are joined to one room.
func (e *Engine) SharesRoom(ctx context.Context, a, b id.UserID) (bool, error) { return false, errSoon }

// UsersSharingRooms lists who is joined to a room the user is joined to, the user included.
func (e *Engine) UsersSharingRooms(ctx context.Context, user id.UserID) ([]id.UserID, error) {
	return nil, errSoon
}

// ServersSharing lists the servers with users in rooms of the user.
func (e *Engine) ServersSharing(ctx context.Context, user id.UserID) ([]id.ServerName, error) {
	return nil, errSoon
}
