package event

import (
	"fmt"
	"strings"
	"sync"
	"unicode/utf8"

	"konsil/matrix/canonical"
	"konsil/matrix/id"
	"konsil/matrix/roomver"
)

// maxRaw bounds what is looked at before the size of the canonical form is known: six bytes for each of its bytes, as
// some servers escape all but ASCII, and a generous unsigned.
const maxRaw = 8 * MaxSize

// scratch saves buffers for forms of an event that are needed for a moment.
var scratch = sync.Pool{New: func() any { b := make([]byte, 0, 4096); return &b }}

// withScratch hands f an empty buffer; f returns it, grown or not, and keeps nothing of it.
func withScratch(f func(buf []byte) []byte) {
	b := scratch.Get().(*[]byte)
	*b = f((*b)[:0])
	if cap(*b) <= 2*MaxSize {
		scratch.Put(b)
	}
}

// Parse reads an event of another server. It enforces format and limits and computes the ID; it checks neither hashes
// nor signatures. raw is not kept. SS v1.16 #checks-performed-on-receipt-of-a-pdu step 1
func Parse(raw []byte, v *roomver.Version) (*PDU, error) {
	if len(raw) > maxRaw {
		return nil, fmt.Errorf("%w: %d bytes", ErrTooLarge, len(raw))
	}
	p := &PDU{Version: v}
	var err error
	withScratch(func(buf []byte) []byte {
		if buf, err = canonical.Append(buf, raw, mode(v)); err != nil {
			err = fmt.Errorf("%w: %w", ErrMalformed, err)
		} else if !canonical.IsObject(buf) {
			err = malformed("no object")
		} else {
			p.JSON = federationForm(buf, v)
		}
		return buf
	})
	if err != nil {
		return nil, err
	}
	if len(p.JSON) > MaxSize {
		return nil, fmt.Errorf("%w: %d bytes", ErrTooLarge, len(p.JSON))
	}
	if err := p.fill(); err != nil {
		return nil, err
	}
	if err := p.identify(); err != nil {
		return nil, err
	}
	if err := p.check(p.Version.CharacterLimits); err != nil {
		return nil, err
	}
	return p, nil
}

// federationForm copies an event without unsigned, which anybody may change, and without an event_id that nobody needs
// where it is a hash.
func federationForm(doc []byte, v *roomver.Version) []byte {
	out := make([]byte, 0, len(doc))
	if v.HashedEventIDs() {
		return canonical.AppendWithout(out, doc, "unsigned", "event_id")
	}
	return canonical.AppendWithout(out, doc, "unsigned")
}

// identify sets the ID: it is a hash, or in versions 1 and 2 a field. For a create event whose hash is the room's ID it
// sets that as well. RV 12 #event-format
func (p *PDU) identify() error {
	if p.Version.HashedEventIDs() {
		p.ID = p.hashedID()
	} else {
		chosen, ok := canonical.GetString(p.JSON, "event_id")
		if !ok {
			return malformed("event_id is no string")
		}
		p.ID = id.EventID(chosen)
	}
	if p.Version.HashedRoomID && p.IsCreate() {
		// RV 12 rule 1.2. Rejected there, dropped here: the room such an event speaks of is not the one it makes. A13
		if p.RoomID != "" {
			return malformed("create event with room_id")
		}
		p.RoomID = id.RoomID("!" + string(p.ID[1:]))
	}
	return nil
}

// check enforces limits and grammar. lenient: type and state_key are measured in characters. A1, A9
func (p *PDU) check(lenient bool) error {
	stateKey := ""
	if p.StateKey != nil {
		stateKey = *p.StateKey
	}
	for _, field := range [...]struct{ name, value string }{
		{"type", p.Type}, {"state_key", stateKey}, {"sender", string(p.Sender)}, {"room_id", string(p.RoomID)}, {"event_id", string(p.ID)},
	} {
		if size := len(field.value); size > MaxField {
			// In older rooms servers let such events pass, and others build on them.
			if lenient && (field.name == "type" || field.name == "state_key") && utf8.RuneCountInString(field.value) <= MaxField {
				continue
			}
			return fmt.Errorf("%w: %s of %d bytes", ErrTooLarge, field.name, size)
		}
	}
	// No database of ours or of other servers can hold these as text.
	if strings.IndexByte(p.Type, 0) >= 0 || strings.IndexByte(stateKey, 0) >= 0 {
		return malformed("NUL in type or state_key")
	}
	if _, err := id.ParseUserID(string(p.Sender)); err != nil {
		return fmt.Errorf("%w: sender: %w", ErrMalformed, err)
	}
	if err := checkRoomID(p.RoomID, p.Version); err != nil {
		return err
	}
	if err := checkEventID(p.ID, p.Version); err != nil {
		return err
	}
	if p.Depth < 0 || p.Depth > MaxDepth(p.Version) {
		return malformed("depth out of range")
	}
	return p.checkParents()
}

// checkParents bounds prev_events and auth_events. In versions 1 and 2 there are events from before these limits, which
// a join must be able to read; who takes part in a room now is held to them by the caller. A11, A12
func (p *PDU) checkParents() error {
	if p.Version.HashedEventIDs() && len(p.PrevEvents) > MaxPrevEvents {
		return fmt.Errorf("%w: %d prev_events", ErrTooLarge, len(p.PrevEvents))
	}
	if p.Version.HashedEventIDs() && len(p.AuthEvents) > MaxAuthEvents {
		return fmt.Errorf("%w: %d auth_events", ErrTooLarge, len(p.AuthEvents))
	}
	for _, list := range [][]id.EventID{p.PrevEvents, p.AuthEvents} {
		for _, e := range list {
			if _, err := id.ParseEventID(string(e)); err != nil {
				return fmt.Errorf("%w: prev_events or auth_events: %w", ErrMalformed, err)
			}
		}
	}
	return nil
}

// checkRoomID holds the ID to the grammar of its version: a server name, or a hash and none. RV 12 #event-format
func checkRoomID(room id.RoomID, v *roomver.Version) error {
	if _, err := id.ParseRoomID(string(room)); err != nil {
		return fmt.Errorf("%w: room_id: %w", ErrMalformed, err)
	}
	if v.HashedRoomID != (room.Server() == "") {
		return malformed("room_id of another room version")
	}
	if v.HashedRoomID && !isHash(string(room[1:])) {
		return malformed("room_id is no hash")
	}
	return nil
}

// checkEventID holds the chosen IDs of versions 1 and 2 to their grammar; the others are hashes we computed.
func checkEventID(e id.EventID, v *roomver.Version) error {
	if v.HashedEventIDs() {
		return nil
	}
	if _, err := id.ParseEventID(string(e)); err != nil {
		return fmt.Errorf("%w: event_id: %w", ErrMalformed, err)
	}
	if _, err := id.ParseServerName(string(e.Server())); err != nil {
		return fmt.Errorf("%w: event_id: %w", ErrMalformed, err)
	}
	return nil
}

// isHash reports whether s is a SHA-256 in URL-safe unpadded base64.
func isHash(s string) bool {
	if len(s) != 43 {
		return false
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
		default:
			return false
		}
	}
	return true
}

// Stored reads back what a PDU's JSON was, without checking it again. json is kept and must not change.
func Stored(json []byte, v *roomver.Version, eventID id.EventID) (*PDU, error) {
	p := &PDU{Version: v, ID: eventID, JSON: json}
	if err := p.fill(); err != nil {
		return nil, fmt.Errorf("stored event: %w", err)
	}
	if v.HashedRoomID && p.IsCreate() && len(eventID) > 1 {
		p.RoomID = id.RoomID("!" + string(eventID[1:]))
	}
	return p, nil
}

// PeekRoomID reads which room raw belongs to, for its version must be known before it can be parsed. It trusts the
// first room_id it sees; the caller compares with RoomID of the parsed event. Create events of rooms whose ID is their
// hash have none. SS v1.16 #checks-performed-on-receipt-of-a-pdu step 1
func PeekRoomID(raw []byte) (id.RoomID, bool) {
	s, ok := canonical.GetString(raw, "room_id")
	if !ok {
		return "", false
	}
	room, err := id.ParseRoomID(s)
	return room, err == nil
}
