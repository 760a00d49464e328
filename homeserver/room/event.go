package room

import (
	"sync/atomic"

	"konsil/homeserver/room/auth"
	"konsil/homeserver/store"
	"konsil/matrix/event"
	"konsil/matrix/roomver"
)

// Event is an event as we hold it: the signed part, and what we know about it. Immutable; a later change of status or a
// redaction makes a new value.
type Event struct {
	*event.PDU
	store.EventMeta

	levels atomic.Pointer[auth.PowerLevels] // parsed when first asked for
	acl    atomic.Pointer[auth.ServerACL]
}

// InTimeline reports whether clients may ever see the event in a timeline.
func (ev *Event) InTimeline() bool { return ev.Pos != 0 }

// Redacted reports whether the event was redacted; its JSON then is the redacted copy.
func (ev *Event) Redacted() bool { return ev.RedactedBy != 0 }

// fromRow makes an event of what the store holds.
func fromRow(row *store.EventRow) (*Event, error) {
	v, ok := roomver.Get(row.Version)
	if !ok {
		return nil, errVersion
	}
	pdu, err := event.Stored(row.JSON, v, row.ID)
	if err != nil {
		return nil, err
	}
	return &Event{PDU: pdu, EventMeta: row.EventMeta}, nil
}

// row is the inverse of fromRow.
func (ev *Event) row() store.EventRow {
	return store.EventRow{EventMeta: ev.EventMeta, ID: ev.ID, TS: ev.OriginServerTS, Version: ev.Version.ID, JSON: ev.JSON}
}

// withPDU is the event with another signed part.
func (ev *Event) withPDU(pdu *event.PDU) *Event { return &Event{PDU: pdu, EventMeta: ev.EventMeta} }

// usable reports whether the event may be part of a state.
func (ev *Event) usable() bool { return ev.Status != store.Rejected }

// powerLevels parses the event's levels, once.
func (ev *Event) powerLevels(create *auth.Create) *auth.PowerLevels {
	if pl := ev.levels.Load(); pl != nil {
		return pl
	}
	pl := auth.LevelsFrom(ev.PDU, create)
	ev.levels.Store(pl)
	return pl
}

// serverACL compiles the event, once.
func (ev *Event) serverACL() *auth.ServerACL {
	if acl := ev.acl.Load(); acl != nil {
		return acl
	}
	acl := auth.ParseServerACL(ev.Content)
	ev.acl.Store(acl)
	return acl
}

// weight is about what the event costs in memory.
func (ev *Event) weight() int64 { return int64(len(ev.JSON)) + 600 }
