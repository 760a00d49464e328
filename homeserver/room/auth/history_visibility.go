package auth

import "konsil/matrix/canonical"

// HistoryVisibility says from when on users may see events.
// CS v1.16 #room-history-visibility
type HistoryVisibility uint8

// The zero value is the default of a room without the event.
const (
	VisibleShared        HistoryVisibility = iota // to members, also what was before they joined
	VisibleWorldReadable                          // to everybody
	VisibleInvited                                // to members, from their invite on
	VisibleJoined                                 // to members, from their join on
)

// String is the word of the event.
func (h HistoryVisibility) String() string {
	switch h {
	case VisibleWorldReadable:
		return "world_readable"
	case VisibleInvited:
		return "invited"
	case VisibleJoined:
		return "joined"
	}
	return "shared"
}

// ParseHistoryVisibility reads the content of an m.room.history_visibility event. Words it does not know count as shared,
// like a missing event. CS v1.16 #mroomhistory_visibility
func ParseHistoryVisibility(content []byte) HistoryVisibility {
	word, _ := canonical.GetString(content, "history_visibility")
	switch word {
	case "world_readable":
		return VisibleWorldReadable
	case "invited":
		return VisibleInvited
	case "joined":
		return VisibleJoined
	}
	return VisibleShared
}
