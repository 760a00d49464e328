package room

import (
	"konsil/homeserver/store"
	"konsil/matrix/event"
)

// Event is an event as we hold it: the signed part, and what we know about it. Immutable; a later change of status or a
// redaction makes a new value.
type Event struct {
	*event.PDU
	store.EventMeta
}

// InTimeline reports whether clients may ever see the event in a timeline.
func (ev *Event) InTimeline() bool { return ev.Pos != 0 }

// Redacted reports whether the event was redacted; its JSON then is the redacted copy.
func (ev *Event) Redacted() bool { return ev.RedactedBy != 0 }
