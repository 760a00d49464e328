package room

import (
	"encoding/json"

	"konsil/matrix/event"
	"konsil/matrix/id"
)

// Draft is an event a local user wants to send.
type Draft struct {
	Room     id.RoomID
	Sender   id.UserID
	Type     string
	StateKey *string // nil for what is no state event
	Content  json.RawMessage
	Redacts  id.EventID // target of an m.room.redaction
	TS       int64      // origin_server_ts wished for (application services), 0 for now

	// The client's transaction, for idempotency: the same four with the same room answer the same event. TxnID "" has none.
	Device   id.DeviceID
	TxnScope string // endpoint, like "send"
	TxnID    string
}

// MembershipChange is what a local user wants to do to somebody's membership, often their own.
type MembershipChange struct {
	Room    id.RoomID
	Sender  id.UserID
	Target  id.UserID       // same as Sender for Join, Leave, Knock
	Reason  string          // optional
	Content json.RawMessage // further fields of the member event (custom keys of /join); may be nil
	// IsDirect marks an invite to a direct chat.
	IsDirect bool
	// ThirdParty is third_party_signed of a join by an emailed invite; may be nil.
	ThirdParty json.RawMessage
}

// CreateRequest is the body of /createRoom. CS v1.16 #post_matrixclientv3createroom
type CreateRequest struct {
	Creator            id.UserID         `json:"-"`
	CreationContent    json.RawMessage   `json:"creation_content"`
	InitialState       []InitialState    `json:"initial_state"`
	Invite             []id.UserID       `json:"invite"`
	Invite3PID         []json.RawMessage `json:"invite_3pid"`
	IsDirect           bool              `json:"is_direct"`
	Name               string            `json:"name"`
	PowerLevelOverride json.RawMessage   `json:"power_level_content_override"`
	Preset             string            `json:"preset"`
	AliasName          string            `json:"room_alias_name"`
	Version            string            `json:"room_version"`
	Topic              string            `json:"topic"`
	Visibility         string            `json:"visibility"`
}

// InitialState is one entry of initial_state.
type InitialState struct {
	Type     string          `json:"type"`
	StateKey string          `json:"state_key"`
	Content  json.RawMessage `json:"content"`
}

// Outcome is what became of a received event.
type Outcome int

// The outcomes of Receive.
const (
	Deferred     Outcome = iota // prev or auth events are missing: fetch them and call again
	AcceptedNow                 // stored, part of the room
	KnownAlready                // we had it
	SoftFail                    // stored, not shown
	Reject                      // stored as rejected, or dropped where it can not be stored; Receipt.Reason says why
)

// Receipt is the answer to a received event.
type Receipt struct {
	Outcome     Outcome
	Reason      error        // of a rejection or soft failure
	MissingPrev []id.EventID // for Deferred
	MissingAuth []id.EventID // for Deferred
	Event       *Event       // nil for Deferred and for what was dropped
}

// JoinAnswer is what another server answered to our send_join: all signatures are verified, hashes checked (event redacted
// where they do not match).
type JoinAnswer struct {
	Origin    id.ServerName
	Room      id.RoomID
	Join      *event.PDU
	State     []*event.PDU // before the join
	AuthChain []*event.PDU
}

// RemoteJoin is what we answer to another server's send_join.
type RemoteJoin struct {
	Event     *Event // the join, signed by us as well where we authorised it
	State     []*Event
	AuthChain []*Event
	Servers   []id.ServerName
}

// Template is the answer to make_join, make_leave and make_knock.
type Template struct {
	Version string          `json:"room_version"`
	Event   json.RawMessage `json:"event"`
}
