package auth

import (
	"slices"

	"konsil/matrix/event"
	"konsil/matrix/id"
	"konsil/matrix/roomver"
)

// Selection lists the slots whose events an event must name as its auth events, where the room has them.
// stateKey is nil for what is no state. SS v1.16 #auth-events-selection
func Selection(v *roomver.Version, eventType string, stateKey *string, sender id.UserID, content []byte) []id.Slot {
	if eventType == event.TypeCreate {
		return nil
	}
	slots := make([]id.Slot, 0, 6)
	if !v.HashedRoomID { // RV 12 rule 3.2
		slots = append(slots, id.Slot{Type: event.TypeCreate})
	}
	slots = append(slots, id.Slot{Type: event.TypePowerLevels}, id.Slot{Type: event.TypeMember, StateKey: string(sender)})
	if eventType != event.TypeMember || stateKey == nil {
		return slots
	}
	add := func(slot id.Slot) {
		if !slices.Contains(slots, slot) {
			slots = append(slots, slot)
		}
	}
	add(id.Slot{Type: event.TypeMember, StateKey: *stateKey})
	m := ParseMember(content)
	switch m.Membership {
	case Joined, Invited, Knocked:
		add(id.Slot{Type: event.TypeJoinRules})
	}
	if m.Membership == Invited && m.ThirdParty != nil {
		if token, ok := InviteToken(m.ThirdParty); ok {
			add(id.Slot{Type: event.TypeThirdPartyInvite, StateKey: token})
		}
	}
	if m.Membership == Joined && m.HasVia && v.Restricted {
		add(id.Slot{Type: event.TypeMember, StateKey: string(m.Via)})
	}
	return slots
}

// Cited is an event that another one names in its auth_events.
type Cited struct {
	*event.PDU
	Rejected bool // found not allowed when it came
}

// CheckAuthEvents applies the rules about auth_events to an event that is no create event. cited are the events that
// ev.AuthEvents names; the caller has fetched them all. create is the room's create event, nil if no accepted one is
// known. A nil error allows, a refusal is a *Refusal. What remains is Authorize against the state made of the cited
// events: AuthEventState. RV 1 to 11 rule 2, RV 12 rules 2 and 3
func CheckAuthEvents(ev *event.PDU, cited []Cited, create *Create) error {
	if ev.Type == event.TypeCreate {
		return nil // rule 1 says all about it
	}
	if r := checkAuthEvents(ev, cited, create); r != nil {
		return r
	}
	return nil
}

func checkAuthEvents(ev *event.PDU, cited []Cited, create *Create) *Refusal {
	v, n := ev.Version, numbersOf(ev.Version)
	if v.HashedRoomID && (create == nil || create.EventID != ev.RoomID.Create()) { // RV 12 rule 2
		return refuse(n.roomID, "the room ID is not that of an accepted create event")
	}
	// Events with more entries than the format allows come no further than parsing; this is for callers with other sources.
	if len(cited) > event.MaxAuthEvents {
		return refuse(n.authEvents+".2", "too many auth events")
	}
	if r := checkEntries(ev, cited); r != nil {
		return r
	}
	hasCreate := false
	for _, c := range cited {
		if c.Rejected {
			return refuse(n.authEvents+".3", "an auth event was rejected")
		}
		if c.IsCreate() {
			if create != nil && c.ID != create.EventID {
				return refuse(n.authEvents+".3", "an auth event is another create event than the room's")
			}
			hasCreate = true
		}
	}
	if !v.HashedRoomID && !hasCreate {
		return refuse(n.noCreate, "no create event among the auth events")
	}
	for _, c := range cited {
		if c.RoomID != ev.RoomID {
			return refuse(n.authEvents+".5", "an auth event is of another room")
		}
	}
	return nil
}

// checkEntries looks for slots that are there twice, and for slots that do not belong there. RV 11 rules 2.1 and 2.2
func checkEntries(ev *event.PDU, cited []Cited) *Refusal {
	n := numbersOf(ev.Version)
	for i, a := range cited {
		for _, b := range cited[:i] {
			if a.ID == b.ID || a.IsState() && b.IsState() && a.Slot() == b.Slot() {
				return refuse(n.authEvents+".1", "two auth events for the same piece of state")
			}
		}
	}
	wanted := Selection(ev.Version, ev.Type, ev.StateKey, ev.Sender, ev.Content)
	for _, c := range cited {
		switch {
		case !c.IsState():
			return refuse(n.authEvents+".2", "an auth event is no state event")
		case c.ID == ev.ID:
			return refuse(n.authEvents+".2", "the event names itself as an auth event")
		case !slices.Contains(wanted, c.Slot()):
			return refuse(n.authEvents+".2", "an auth event has nothing to do with the event")
		}
	}
	return nil
}

// RequiredSigners lists the servers whose valid signature an event must bear. SS v1.16 #validating-hashes-and-signatures-on-received-events
func RequiredSigners(ev *event.PDU) []id.ServerName {
	var m Member
	if ev.Type == event.TypeMember {
		m = ParseMember(ev.Content)
	}
	var signers []id.ServerName
	add := func(server id.ServerName) {
		if !slices.Contains(signers, server) {
			signers = append(signers, server)
		}
	}
	if m.Membership != Invited || m.ThirdParty == nil {
		// Who answers a third-party invite need not be of the inviter's server: what counts is signed inside.
		add(ev.Sender.Server())
	}
	if !ev.Version.HashedEventIDs() { // RV 1 #event-ids
		add(ev.ID.Server())
	}
	if ev.Version.Restricted && m.HasVia { // RV 8 rule 4.2
		add(m.Via.Server())
	}
	return signers
}
