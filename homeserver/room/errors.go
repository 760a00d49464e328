package room

import (
	"errors"

	"konsil/matrix/canonical"
	"konsil/matrix/mxerr"
	"konsil/matrix/roomver"
)

// ErrNotHere says that the room can not be changed by us alone: no local user is joined, or none may authorise. The way leads
// through another server, see federation.
var ErrNotHere = errors.New("no local user is in the room")

// ErrUnknownRoom and ErrUnknownEvent are refusals with M_NOT_FOUND.
var (
	ErrUnknownRoom  error = mxerr.NotFound("Unknown room")
	ErrUnknownEvent error = mxerr.NotFound("Event not found")
)

// modeOf is how strict the JSON of a room version is.
func modeOf(v *roomver.Version) canonical.Mode {
	if v.StrictJSON {
		return canonical.Strict
	}
	return canonical.Lenient
}
