// Package event holds the event as servers exchange it, the PDU: parsed from foreign bytes, read back from the store or
// built and signed, for every room version. It decides nothing about rooms: whether an event is allowed, or what it
// changes, is asked elsewhere. A PDU never changes, nor do the bytes it holds; methods that change something return a
// new one, so many goroutines may read one PDU.
//
// RV 12 #event-format, SS v1.16 #signing-events
package event

import (
	"errors"

	"konsil/matrix/canonical"
	"konsil/matrix/id"
	"konsil/matrix/roomver"
)

// Limits of an event. CS v1.16 #size-limits, RV 3 #event-format
const (
	MaxSize       = 65536 // bytes of its canonical JSON, signatures included, unsigned not
	MaxField      = 255   // bytes of type, state_key and each identifier
	MaxPrevEvents = 20
	MaxAuthEvents = 10
)

// Types of events that the server itself looks into.
const (
	TypeCreate            = "m.room.create"
	TypeMember            = "m.room.member"
	TypePowerLevels       = "m.room.power_levels"
	TypeJoinRules         = "m.room.join_rules"
	TypeThirdPartyInvite  = "m.room.third_party_invite"
	TypeHistoryVisibility = "m.room.history_visibility"
	TypeGuestAccess       = "m.room.guest_access"
	TypeRedaction         = "m.room.redaction"
	TypeAliases           = "m.room.aliases"
	TypeCanonicalAlias    = "m.room.canonical_alias"
	TypeName              = "m.room.name"
	TypeTopic             = "m.room.topic"
	TypeAvatar            = "m.room.avatar"
	TypeEncryption        = "m.room.encryption"
	TypeEncrypted         = "m.room.encrypted"
	TypeMessage           = "m.room.message"
	TypeReaction          = "m.reaction"
	TypeServerACL         = "m.room.server_acl"
	TypeTombstone         = "m.room.tombstone"
	TypePinnedEvents      = "m.room.pinned_events"
	TypeSpaceChild        = "m.space.child"
	TypeSpaceParent       = "m.space.parent"
)

// Memberships. CS v1.16 #mroommember
const (
	Join   = "join"
	Invite = "invite"
	Leave  = "leave"
	Ban    = "ban"
	Knock  = "knock"
)

var (
	// ErrTooLarge says that the event or one of its fields is over its limit.
	ErrTooLarge = errors.New("event too large")
	// ErrMalformed says that the event is not in the format of its room version.
	ErrMalformed = errors.New("malformed event")
)

// PDU is one event.
type PDU struct {
	Version        *roomver.Version
	ID             id.EventID
	RoomID         id.RoomID // computed for a create event whose hash it is
	Sender         id.UserID
	Type           string
	StateKey       *string // nil for an event that is no state
	Depth          int64   // as sent: any value from 0 to MaxDepth of the version
	OriginServerTS int64   // ms; what the sender's server claims
	PrevEvents     []id.EventID
	AuthEvents     []id.EventID
	Redacts        id.EventID // target of a redaction, wherever the version keeps it; "" if there is none
	Content        []byte     // canonical JSON object, a slice of JSON
	JSON           []byte     // canonical JSON with hashes and signatures, without unsigned, and without event_id where that is a hash

	membership string
}

// IsState reports whether the event is part of the room's state.
func (p *PDU) IsState() bool { return p.StateKey != nil }

// IsStateOf reports whether the event sets the piece of state of that type and key.
func (p *PDU) IsStateOf(typ, stateKey string) bool {
	return p.Type == typ && p.StateKey != nil && *p.StateKey == stateKey
}

// Slot is the piece of state the event sets; only for state events.
func (p *PDU) Slot() id.Slot {
	if p.StateKey == nil {
		return id.Slot{}
	}
	return id.Slot{Type: p.Type, StateKey: *p.StateKey}
}

// IsCreate reports whether this is a create event.
func (p *PDU) IsCreate() bool { return p.IsStateOf(TypeCreate, "") }

// Membership is the membership that an m.room.member event sets; "" for other events, and where it is no string.
func (p *PDU) Membership() string { return p.membership }

// AuthorisedVia is the user who vouches for a restricted join, as the event names them; "" if it names nobody, or
// something that is no string. RV 8 rule 4.2
func (p *PDU) AuthorisedVia() id.UserID {
	if p.Type != TypeMember {
		return ""
	}
	user, _ := canonical.GetString(p.Content, "join_authorised_via_users_server")
	return id.UserID(user)
}

// MaxDepth is the largest depth in a version; a room at the limit stays there. RV 6 #event-format
func MaxDepth(v *roomver.Version) int64 {
	if v.StrictJSON {
		return canonical.MaxInt
	}
	return 1<<63 - 1
}

// mode is how strictly the version takes JSON. RV 6 #canonical-json
func mode(v *roomver.Version) canonical.Mode {
	if v.StrictJSON {
		return canonical.Strict
	}
	return canonical.Lenient
}
