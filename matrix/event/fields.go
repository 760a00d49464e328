package event

import (
	"bytes"
	"fmt"
	"strings"

	"konsil/matrix/canonical"
	"konsil/matrix/id"
	"konsil/matrix/roomver"
)

// fields are the members of an event's JSON that have a meaning here, as slices of it; nil where there is none.
type fields struct {
	authEvents, content, depth, eventID, originServerTS, prevEvents []byte
	redacts, roomID, sender, stateKey, typ                          []byte
}

// find walks an event once. Keys are compared raw: none of these has a canonical form with escapes.
func find(json []byte) (f fields) {
	members := canonical.Members(json)
	for key, value, ok := members.Next(); ok; key, value, ok = members.Next() {
		switch string(key) {
		case "auth_events":
			f.authEvents = value
		case "content":
			f.content = value
		case "depth":
			f.depth = value
		case "event_id":
			f.eventID = value
		case "origin_server_ts":
			f.originServerTS = value
		case "prev_events":
			f.prevEvents = value
		case "redacts":
			f.redacts = value
		case "room_id":
			f.roomID = value
		case "sender":
			f.sender = value
		case "state_key":
			f.stateKey = value
		case "type":
			f.typ = value
		}
	}
	return f
}

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
}

// fill sets the fields of p from its JSON, all but ID. It checks shapes, not limits and grammar.
func (p *PDU) fill() error {
	f := find(p.JSON)
	var ok bool
	if p.Type, ok = typeName(f.typ); !ok {
		return malformed("type is no string")
	}
	if f.stateKey != nil {
		stateKey, ok := canonical.String(f.stateKey)
		if !ok {
			return malformed("state_key is no string")
		}
		p.StateKey = &stateKey
	}
	sender, ok := canonical.String(f.sender)
	if !ok {
		return malformed("sender is no string")
	}
	p.Sender = id.UserID(sender)
	if f.roomID != nil {
		room, ok := canonical.String(f.roomID)
		if !ok {
			return malformed("room_id is no string")
		}
		p.RoomID = id.RoomID(room)
	}
	if p.Depth, ok = canonical.Int(f.depth); !ok {
		return malformed("depth is no integer")
	}
	if p.OriginServerTS, ok = canonical.Int(f.originServerTS); !ok {
		return malformed("origin_server_ts is no integer")
	}
	if !canonical.IsObject(f.content) {
		return malformed("content is no object")
	}
	p.Content = f.content
	var err error
	if p.PrevEvents, err = eventIDs(f.prevEvents, p.Version); err != nil {
		return fmt.Errorf("prev_events: %w", err)
	}
	if p.AuthEvents, err = eventIDs(f.authEvents, p.Version); err != nil {
		return fmt.Errorf("auth_events: %w", err)
	}
	p.readContent(f)
	return nil
}

// readContent keeps what is asked for often. Nothing in content can make an event malformed: that is for the rules.
func (p *PDU) readContent(f fields) {
	switch p.Type {
	case TypeMember:
		value, _ := canonical.Get(p.Content, "membership")
		p.membership = membershipName(value)
	case TypeRedaction:
		target := f.redacts
		if p.Version.RedactsInContent {
			target, _ = canonical.Get(p.Content, "redacts")
		}
		if s, ok := canonical.String(target); ok {
			p.Redacts, _ = id.ParseEventID(s)
		}
	}
}

// typeName decodes a type; the common ones cost no memory.
func typeName(value []byte) (string, bool) {
	switch string(value) {
	case `"m.room.message"`:
		return TypeMessage, true
	case `"m.room.encrypted"`:
		return TypeEncrypted, true
	case `"m.room.member"`:
		return TypeMember, true
	case `"m.reaction"`:
		return TypeReaction, true
	case `"m.room.redaction"`:
		return TypeRedaction, true
	case `"m.room.power_levels"`:
		return TypePowerLevels, true
	}
	return canonical.String(value)
}

func membershipName(value []byte) string {
	switch string(value) {
	case `"join"`:
		return Join
	case `"leave"`:
		return Leave
	case `"invite"`:
		return Invite
	}
	s, _ := canonical.String(value)
	return s
}

// eventIDs reads prev_events or auth_events: IDs, or in versions 1 and 2 pairs of ID and hashes. RV 3 #event-format
func eventIDs(list []byte, v *roomver.Version) ([]id.EventID, error) {
	n := 0
	elements := canonical.Elements(list)
	for _, _, ok := elements.Next(); ok; _, _, ok = elements.Next() {
		n++
	}
	if !elements.Complete() {
		return nil, malformed("no array")
	}
	ids := make([]id.EventID, 0, n)
	var all strings.Builder // the IDs of a list share one string
	all.Grow(len(list))
	elements = canonical.Elements(list)
	for _, value, ok := elements.Next(); ok; _, value, ok = elements.Next() {
		if !v.HashedEventIDs() {
			var err error
			if value, err = firstOfPair(value); err != nil {
				return nil, err
			}
		}
		from := all.Len()
		if canonical.IsString(value) && bytes.IndexByte(value, '\\') < 0 {
			all.Write(value[1 : len(value)-1])
		} else if s, ok := canonical.String(value); ok {
			all.WriteString(s)
		} else {
			return nil, malformed("element is no string")
		}
		ids = append(ids, id.EventID(all.String()[from:]))
	}
	return ids, nil
}

func firstOfPair(value []byte) ([]byte, error) {
	pair := canonical.Elements(value)
	_, first, ok := pair.Next()
	if !ok {
		return nil, malformed("element is no pair")
	}
	return first, nil
}
