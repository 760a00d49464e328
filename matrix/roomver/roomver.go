// Package roomver describes the room versions as rows of facts, so that no other code compares version strings. It
// holds no algorithms: those read the facts. The rows are never changed; a *Version may be compared by pointer.
//
// RV 12 #feature-matrix
package roomver

// EventIDFormat says how an event gets its ID.
type EventIDFormat int

const (
	EventIDChosen    EventIDFormat = iota // $opaque:server, chosen by the sender's server and part of the event. RV 1 #event-ids
	EventIDBase64                         // $ and the reference hash in standard base64. RV 3 #event-ids
	EventIDURLBase64                      // $ and the reference hash in URL-safe base64. RV 4 #event-ids
)

// StateResAlgorithm names a state resolution algorithm.
type StateResAlgorithm int

const (
	StateResV1  StateResAlgorithm = iota // by depth. RV 1 #state-resolution
	StateResV2                           // by power and mainline. RV 2 #state-resolution
	StateResV21                          // v2 from an empty state and with the conflicted subgraph. RV 12 #state-resolution
)

// Version is one room version. Each flag is false in version 1 unless it says "up to".
type Version struct {
	ID       string // as in the create event's room_version
	Stable   bool   // as told in the capabilities
	EventIDs EventIDFormat
	StateRes StateResAlgorithm

	EnforceKeyValidity bool // 5: a signing key must have been valid at the event's time. RV 5 #signing-key-validity-period
	StrictJSON         bool // 6: events must be canonical JSON: integers only, up to 2^53-1. RV 6 #canonical-json
	CharacterLimits    bool // up to 10: type and state_key may have 255 characters, which is what servers counted, not bytes; such events exist

	AliasesAuth          bool // up to 5: m.room.aliases has an auth rule of its own. RV 1 rule 4
	RedactionAuth        bool // up to 2: the redact level is an auth rule, RV 1 rule 11; later it is checked when applied. RV 3 #handling-redactions
	NotificationsAuth    bool // 6: the notifications levels of m.room.power_levels are checked like events. RV 6 rule 9.4
	Knock                bool // 7: membership and join rule knock. RV 7 rule 4.6
	Restricted           bool // 8: join rule restricted. RV 8 rule 4.3.5
	KnockRestricted      bool // 10: join rule knock_restricted. RV 10 rule 4.3.5
	IntegerPowerLevels   bool // 10: power levels are integers, never strings. RV 10 rule 9.1
	CreatorField         bool // up to 10: the room's creator is the create event's content.creator, later its sender. RV 11 #event-format
	HashedRoomID         bool // 12: the room ID is the create event's hash; that event has no room_id and is in no auth_events. RV 12 rule 2
	PrivilegedCreators   bool // 12: creators (with additional_creators) are above all power levels. RV 12 rule 10.4
	RedactsInContent     bool // 11: m.room.redaction names its target in content. RV 11 #event-format
	OwnedState           bool // experiments: a user owns all state keys that begin with their ID and an underscore; who has more power may set them. MSC3757
	KeepAliases          bool // up to 5: redaction keeps aliases of m.room.aliases. RV 6 #redactions
	KeepAllow            bool // 8: redaction keeps allow of m.room.join_rules. RV 8 #redactions
	KeepAuthorisedVia    bool // 9: redaction keeps join_authorised_via_users_server of m.room.member. RV 9 #redactions
	KeepOrigin           bool // up to 10: redaction keeps the top-level keys origin, membership and prev_state. RV 11 #redactions
	KeepCreateContent    bool // 11: redaction keeps all content of m.room.create. RV 11 #redactions
	KeepThirdPartySigned bool // 11: redaction keeps third_party_invite.signed of m.room.member. RV 11 #redactions
	KeepInviteLevel      bool // 11: redaction keeps invite of m.room.power_levels. RV 11 #redactions
	KeepRedacts          bool // 11: redaction keeps content.redacts of m.room.redaction. RV 11 #redactions
}

// HashedEventIDs reports whether event IDs are reference hashes and not part of the event.
func (v *Version) HashedEventIDs() bool { return v.EventIDs != EventIDChosen }

// String is the version's name.
func (v *Version) String() string { return v.ID }

// Get finds a version by the name in the create event. A create event without one is of version 1, which is for the
// caller to know.
func Get(id string) (*Version, bool) {
	for _, list := range [][]Version{versions, experiments} {
		for i := range list {
			if list[i].ID == id {
				return &list[i], true
			}
		}
	}
	return nil, false
}

// All lists the specification's versions, oldest first.
func All() []*Version { return pointers(versions) }

// Experiments lists versions that no specification has yet. Clients ask for them by name.
func Experiments() []*Version { return pointers(experiments) }

func pointers(list []Version) []*Version {
	all := make([]*Version, len(list))
	for i := range list {
		all[i] = &list[i]
	}
	return all
}

// Names lists the names of all versions, as make_join and the like send them.
func Names() []string {
	names := make([]string, 0, len(versions)+len(experiments))
	for _, v := range append(All(), Experiments()...) {
		names = append(names, v.ID)
	}
	return names
}

var (
	versions    = table()
	experiments = []Version{experiment("org.matrix.msc3757.10", 10), experiment("org.matrix.msc3757.11", 11)}
)

// experiment is a version in which users own state. MSC3757
func experiment(id string, base int) Version {
	v := table()[base-1]
	v.ID, v.Stable, v.OwnedState = id, false, true
	return v
}

// table builds each version from the one before it, as the specification does.
func table() []Version {
	v := Version{
		ID: "1", Stable: true, EventIDs: EventIDChosen, StateRes: StateResV1,
		CharacterLimits: true, AliasesAuth: true, RedactionAuth: true, CreatorField: true, KeepAliases: true, KeepOrigin: true,
	}
	all := []Version{v}
	next := func(id string, change func()) {
		v.ID = id
		change()
		all = append(all, v)
	}
	next("2", func() { v.StateRes = StateResV2 })
	next("3", func() { v.EventIDs = EventIDBase64; v.RedactionAuth = false })
	next("4", func() { v.EventIDs = EventIDURLBase64 })
	next("5", func() { v.EnforceKeyValidity = true })
	next("6", func() { v.StrictJSON = true; v.NotificationsAuth = true; v.AliasesAuth = false; v.KeepAliases = false })
	next("7", func() { v.Knock = true })
	next("8", func() { v.Restricted = true; v.KeepAllow = true })
	next("9", func() { v.KeepAuthorisedVia = true })
	next("10", func() { v.KnockRestricted = true; v.IntegerPowerLevels = true })
	next("11", func() {
		v.CharacterLimits = false
		v.CreatorField = false
		v.RedactsInContent = true
		v.KeepOrigin = false
		v.KeepCreateContent = true
		v.KeepThirdPartySigned = true
		v.KeepInviteLevel = true
		v.KeepRedacts = true
	})
	next("12", func() { v.StateRes = StateResV21; v.HashedRoomID = true; v.PrivilegedCreators = true })
	return all
}
