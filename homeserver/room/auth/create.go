package auth

import (
	"slices"

	"konsil/matrix/canonical"
	"konsil/matrix/event"
	"konsil/matrix/id"
	"konsil/matrix/roomver"
)

// Create is what the rules read of a room's create event.
type Create struct {
	Version *roomver.Version
	EventID id.EventID
	RoomID  id.RoomID
	Sender  id.UserID
	// Creators have the power of creators: a level of 100 while there is no m.room.power_levels event, and from version 12
	// on more than any level. The first is the sender, or before version 11 the user named as creator ("" for none).
	Creators []id.UserID
	Federate bool // false if servers other than the sender's are kept out

	defaults *PowerLevels // of the room without an m.room.power_levels event
}

// ParseCreate reads a create event that has been accepted. It never fails: what is missing has its default.
// CS v1.16 #mroomcreate
func ParseCreate(ev *event.PDU) *Create {
	c := &Create{Version: ev.Version, EventID: ev.ID, RoomID: ev.RoomID, Sender: ev.Sender, Federate: true}
	creator := ev.Sender
	if ev.Version.CreatorField { // RV 11 #event-format
		s, _ := canonical.GetString(ev.Content, "creator")
		creator = id.UserID(s)
	}
	c.Creators = []id.UserID{creator}
	if federate, found := canonical.GetBool(ev.Content, "m.federate"); found {
		c.Federate = federate
	}
	if !ev.Version.PrivilegedCreators {
		c.defaults = defaultLevels(c)
		return c
	}
	if list, found := canonical.Get(ev.Content, "additional_creators"); found { // RV 12 rule 1.4
		_ = canonical.Array(list, func(value []byte) error {
			if s, ok := canonical.String(value); ok && !slices.Contains(c.Creators, id.UserID(s)) {
				c.Creators = append(c.Creators, id.UserID(s))
			}
			return nil
		})
	}
	c.defaults = defaultLevels(c)
	return c
}

// IsCreator reports whether a user is above all power levels, which no one is before version 12.
func (c *Create) IsCreator(user id.UserID) bool {
	return c.Version.PrivilegedCreators && slices.Contains(c.Creators, user)
}

// checkCreate applies the rules for m.room.create. RV 1 to 12 rule 1
func checkCreate(ev *event.PDU) *Refusal {
	v := ev.Version
	if len(ev.PrevEvents) > 0 {
		return refuse("1.1", "a create event follows nothing")
	}
	if v.HashedRoomID {
		if _, found := canonical.Get(ev.JSON, "room_id"); found { // RV 12 rule 1.2
			return refuse("1.2", "the create event names a room")
		}
		if ev.RoomID.Create() != ev.ID {
			return refuse("1.2", "the room ID is not the hash of the create event")
		}
	} else if ev.RoomID.Server() != ev.Sender.Server() {
		return refuse("1.2", "the room ID is of another server than the sender")
	}
	if value, found := canonical.Get(ev.Content, "room_version"); found {
		name, ok := canonical.String(value)
		if _, known := roomver.Get(name); !ok || !known {
			return refuse("1.3", "unknown room version")
		}
	}
	if v.CreatorField { // RV 1 to 10 rule 1.4
		if _, found := canonical.Get(ev.Content, "creator"); !found {
			return refuse("1.4", "no creator")
		}
	}
	if v.PrivilegedCreators {
		return additionalCreators(ev)
	}
	return nil
}

// additionalCreators checks who shall be creator beside the sender. RV 12 rule 1.4
func additionalCreators(ev *event.PDU) *Refusal {
	list, found := canonical.Get(ev.Content, "additional_creators")
	if !found {
		return nil
	}
	err := canonical.Array(list, func(value []byte) error {
		s, ok := canonical.String(value)
		if !ok {
			return id.ErrInvalid
		}
		_, err := id.ParseUserID(s)
		return err
	})
	if err != nil {
		return refuse("1.4", "additional_creators is no list of user IDs")
	}
	return nil
}
