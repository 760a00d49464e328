// Package event holds the event as servers exchange it, the PDU: parsed from foreign bytes, read back from the store or
// built and signed, for every room version. It decides nothing about rooms: whether an event is allowed, or what it
// changes, is asked elsewhere. A PDU never changes; methods that change something return a new one.
//
// RV 12 #event-format, SS v1.16 #signing-events
package event

import (
	"crypto/ed25519"
	"errors"

	"konsil/matrix/id"
	"konsil/matrix/roomver"
	"konsil/matrix/sign"
)

// Limits of an event. CS v1.16 #size-limits, RV 3 #event-format
const (
	MaxSize       = 65536 // bytes of its canonical JSON, signatures included, unsigned not
	MaxField      = 255   // bytes of type and state_key each; identifiers have the same limit
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
	Depth          int64   // as sent: any value from 0 to the version's limit
	OriginServerTS int64   // ms; what the sender's server claims
	PrevEvents     []id.EventID
	AuthEvents     []id.EventID
	Redacts        id.EventID // target of a redaction, wherever the version keeps it; "" if there is none
	Content        []byte     // canonical JSON object, a slice of JSON
	JSON           []byte     // canonical JSON with hashes and signatures, without unsigned, and without event_id where that is a hash

	membership string
}

// Parse reads an event of another server or a client. It enforces format and limits and computes the ID; it checks
// neither hashes nor signatures. raw is not kept. SS v1.16 #checks-performed-on-receipt-of-a-pdu step 1
func Parse(raw []byte, v *roomver.Version) (*PDU, error) { return nil, errors.New("coming") }

// Stored reads back what a PDU's JSON was, without checking it again. json is kept.
func Stored(json []byte, v *roomver.Version, eventID id.EventID) (*PDU, error) {
	return nil, errors.New("coming")
}

// Template is what an event is built from.
type Template struct {
	RoomID         id.RoomID // "" for a create event from room version 12 on
	Sender         id.UserID
	Type           string
	StateKey       *string
	Content        []byte // JSON object, in any form
	PrevEvents     []id.EventID
	AuthEvents     []id.EventID
	Depth          int64 // cut to the version's limit
	OriginServerTS int64
	Redacts        id.EventID // placed where the version keeps it

	ID     id.EventID            // room versions 1 and 2 only: id.NewEventID
	Hashes map[id.EventID]string // room versions 1 and 2 only: ReferenceHash of the events named; what is missing is left out
}

// Build makes an event: hashes it, signs it in the name of origin, computes its ID.
func Build(v *roomver.Version, t Template, origin id.ServerName, key sign.Key) (*PDU, error) {
	return nil, errors.New("coming")
}

// ParseTemplate reads the proposal that make_join, make_leave and make_knock answer with. Whether it says what was asked for is
// for the caller to compare.
func ParseTemplate(raw []byte, v *roomver.Version) (Template, error) {
	return Template{}, errors.New("coming")
}

// MaxDepth is the largest depth in a version. RV 6 #event-format
func MaxDepth(v *roomver.Version) int64 {
	if v.StrictJSON {
		return 1<<53 - 1
	}
	return 1<<63 - 1
}

// HashMatches reports whether the content hash is that of the event; if not, someone has redacted or changed it.
// SS v1.16 #calculating-the-content-hash-for-an-event
func (p *PDU) HashMatches() bool { return false }

// ReferenceHash is the hash of the redacted event in unpadded base64. SS v1.16 #calculating-the-reference-hash-for-an-event
func (p *PDU) ReferenceHash() string { return "" }

// Redact returns the event without all that its version's redaction rules do not keep. Its ID stays.
func (p *PDU) Redact() *PDU { return p }

// Sign returns the event with one more signature.
func (p *PDU) Sign(server id.ServerName, key sign.Key) (*PDU, error) { return p, nil }

// Verify checks one signature.
func (p *PDU) Verify(server id.ServerName, keyID id.KeyID, pub ed25519.PublicKey) error {
	return sign.ErrUnsigned
}

// AppendSigned appends the bytes that signatures are made over, for a sign.Batch.
func (p *PDU) AppendSigned(dst []byte) []byte { return dst }

// Signature finds the bytes of a signature, for a sign.Batch.
func (p *PDU) Signature(server id.ServerName, keyID id.KeyID) ([]byte, bool) { return nil, false }

// SignatureKeys lists the keys with which a server has signed.
func (p *PDU) SignatureKeys(server id.ServerName) []id.KeyID { return nil }

// Signers lists the servers that have signed.
func (p *PDU) Signers() []id.ServerName { return nil }

// IsState reports whether the event is part of the room's state.
func (p *PDU) IsState() bool { return p.StateKey != nil }

// Slot is the piece of state the event sets; only for state events.
func (p *PDU) Slot() id.Slot {
	if p.StateKey == nil {
		return id.Slot{}
	}
	return id.Slot{Type: p.Type, StateKey: *p.StateKey}
}

// IsCreate reports whether this is a create event.
func (p *PDU) IsCreate() bool {
	return p.Type == TypeCreate && p.StateKey != nil && *p.StateKey == ""
}

// Membership is the membership that an m.room.member event sets, else "".
func (p *PDU) Membership() string { return p.membership }

// AuthorisedVia is the user who vouches for a restricted join, else "". RV 8 rule 4.2
func (p *PDU) AuthorisedVia() id.UserID { return "" }

// ClientFormat says what a client gets to see of an event.
type ClientFormat struct {
	RoomID   bool   // with room_id: everywhere but in /sync
	Unsigned []byte // ready JSON object; nil for none
}

// AppendClient appends the event as clients get it. CS v1.16 #room-event-format
func (p *PDU) AppendClient(dst []byte, f ClientFormat) []byte { return dst }

// AppendStripped appends the stripped state event. CS v1.16 #stripped-state
func (p *PDU) AppendStripped(dst []byte) []byte { return dst }

// Stripped is the stripped state event.
func (p *PDU) Stripped() []byte { return p.AppendStripped(nil) }
