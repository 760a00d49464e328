package event

import (
	"strconv"

	"konsil/matrix/canonical"
)

// ClientFormat says what a client gets to see of an event.
type ClientFormat struct {
	RoomID   bool   // with room_id: everywhere but in /sync
	Unsigned []byte // ready JSON object; nil for none
}

// AppendClient appends the event as clients get it. CS v1.16 #room-event-format
func (p *PDU) AppendClient(dst []byte, f ClientFormat) []byte {
	dst = append(dst, `{"content":`...)
	dst = p.appendClientContent(dst)
	dst = append(dst, `,"event_id":`...)
	dst = canonical.AppendString(dst, p.ID)
	dst = append(dst, `,"origin_server_ts":`...)
	dst = strconv.AppendInt(dst, p.OriginServerTS, 10)
	if p.Redacts != "" { // in all versions at the old place, for old clients. RV 11 #moving-the-redacts-property-of-mroomredaction-events-to-a-content-property
		dst = append(dst, `,"redacts":`...)
		dst = canonical.AppendString(dst, p.Redacts)
	}
	if f.RoomID {
		dst = append(dst, `,"room_id":`...)
		dst = canonical.AppendString(dst, p.RoomID)
	}
	dst = append(dst, `,"sender":`...)
	dst = canonical.AppendString(dst, p.Sender)
	if p.StateKey != nil {
		dst = append(dst, `,"state_key":`...)
		dst = canonical.AppendString(dst, *p.StateKey)
	}
	dst = append(dst, `,"type":`...)
	dst = canonical.AppendString(dst, p.Type)
	if f.Unsigned != nil {
		dst = append(dst, `,"unsigned":`...)
		dst = append(dst, f.Unsigned...)
	}
	return append(dst, '}')
}

// appendClientContent appends the content; for redactions in all versions with the target at the new place.
func (p *PDU) appendClientContent(dst []byte) []byte {
	if p.Redacts == "" || p.Version.RedactsInContent {
		return append(dst, p.Content...)
	}
	return canonical.AppendSet(dst, p.Content, "redacts", canonical.AppendString(nil, p.Redacts))
}

// AppendStripped appends the stripped state event. Of the create event clients get all, for it names the room from version 12
// on. CS v1.16 #stripped-state, MSC4311
func (p *PDU) AppendStripped(dst []byte) []byte {
	if p.IsCreate() {
		return p.AppendClient(dst, ClientFormat{})
	}
	dst = p.appendStripped(dst)
	return append(dst, '}')
}

// AppendSpaceChild appends the stripped state event with its time, as hierarchies list the children of a space.
// CS v1.16 #get_matrixclientv1roomsroomidhierarchy
func (p *PDU) AppendSpaceChild(dst []byte) []byte {
	dst = p.appendStripped(dst)
	dst = append(dst, `,"origin_server_ts":`...)
	dst = strconv.AppendInt(dst, p.OriginServerTS, 10)
	return append(dst, '}')
}

func (p *PDU) appendStripped(dst []byte) []byte {
	dst = append(dst, `{"content":`...)
	dst = append(dst, p.Content...)
	dst = append(dst, `,"sender":`...)
	dst = canonical.AppendString(dst, p.Sender)
	if p.StateKey != nil {
		dst = append(dst, `,"state_key":`...)
		dst = canonical.AppendString(dst, *p.StateKey)
	}
	dst = append(dst, `,"type":`...)
	return canonical.AppendString(dst, p.Type)
}

// Stripped is the stripped state event.
func (p *PDU) Stripped() []byte { return p.AppendStripped(nil) }
