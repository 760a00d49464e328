// Package auth holds the authorisation rules of the room versions: whether an event is allowed by a given state of its
// room. It is pure: verdicts are functions of the event and of values that the caller has at hand (State), parsed once
// and shared. It checks no signature of events (the keyring does) but names the servers whose signatures must be there.
// Nothing here keeps state of its own; all types are immutable once made and may be shared between goroutines, except
// EventState.
//
// RV 12 #authorisation-rules, SS v1.16 #authorisation-rules
package auth

import (
	"fmt"
	"strings"

	"konsil/matrix/event"
	"konsil/matrix/id"
	"konsil/matrix/roomver"
)

// Refusal says which rule of the event's room version forbids it. RV 12 #authorisation-rules
type Refusal struct {
	Rule   string // number in the version's list, like "4.3.3"
	Reason string // in English, without identifiers of persons
}

// Error names rule and reason.
func (r *Refusal) Error() string { return "auth rule " + r.Rule + ": " + r.Reason }

func refuse(rule, reason string) *Refusal { return &Refusal{Rule: rule, Reason: reason} }

// State answers what the rules ask about a room at one point. Values are parsed already, for most are asked again and
// again. A state that must read to answer keeps its read errors for the caller.
type State interface {
	// Create is the room's create event, nil if the state has none.
	Create() *Create
	// PowerLevels are the levels of the m.room.power_levels event, nil if the state has none.
	PowerLevels() *PowerLevels
	// JoinRule is Invite where the state has no m.room.join_rules event. CS v1.16 #mroomjoin_rules
	JoinRule() JoinRule
	// Membership is NotMember where the state has no m.room.member event for the user.
	Membership(user id.UserID) Membership
	// ThirdPartyInvite is the m.room.third_party_invite event with this state key, nil if there is none.
	ThirdPartyInvite(token string) *ThirdPartyInvite
}

// Authorize decides if an event is allowed in a state of its room: all rules but those about auth_events, which
// CheckAuthEvents holds. A nil error allows; a refusal is a *Refusal.
// RV 1 rules 1 and 3 to 12, RV 3 to 5 rules 1 and 3 to 11, RV 6 to 11 rules 1 and 3 to 10, RV 12 rules 1 and 4 to 11
func Authorize(ev *event.PDU, st State) error {
	var m *Member
	if ev.Type == event.TypeMember {
		member := memberOf(ev)
		m = &member
	}
	if r := authorize(ev, m, st); r != nil {
		return r
	}
	return nil
}

// authorize walks the version's rules in their order. m is the content of an m.room.member event, else nil.
func authorize(ev *event.PDU, m *Member, st State) *Refusal {
	v, n := ev.Version, numbersOf(ev.Version)
	if ev.Type == event.TypeCreate {
		return checkCreate(ev) // RV 11 rule 1
	}
	create := st.Create()
	if create == nil {
		// The rules presume one: RV 11 rule 2.4, RV 12 rule 2.
		return refuse(n.noCreate, "the room has no create event")
	}
	if !create.Federate && ev.Sender.Server() != create.Sender.Server() { // RV 11 rule 3
		return refuse(n.federate, "the room is closed to other servers")
	}
	if v.AliasesAuth && ev.Type == event.TypeAliases { // RV 1 rule 4
		return aliases(ev)
	}
	if m != nil { // RV 11 rule 4
		return member(ev, m, create, st)
	}
	if st.Membership(ev.Sender) != Joined { // RV 11 rule 5
		return refuse(n.joined, "sender is not in the room")
	}
	levels := LevelsOf(create, st.PowerLevels())
	sender := levels.UserLevel(ev.Sender)
	if ev.Type == event.TypeThirdPartyInvite { // RV 11 rule 6
		if sender < levels.Invite() {
			return refuse(n.thirdParty+".1", "sender may not invite")
		}
		return nil
	}
	required := levels.EventLevel(ev.Type)
	if ev.IsState() {
		required = levels.StateLevel(ev.Type)
	}
	if sender < required { // RV 11 rule 7
		return refuse(n.required, "sender's power level is too low for the event type")
	}
	if ev.StateKey != nil && strings.HasPrefix(*ev.StateKey, "@") && *ev.StateKey != string(ev.Sender) { // RV 11 rule 8
		if owner := StateKeyOwner(*ev.StateKey); !v.OwnedState || owner == "" || owner != ev.Sender && sender <= levels.UserLevel(owner) { // MSC3757
			return refuse(n.ownKey, "the state key is another user")
		}
	}
	switch {
	case ev.Type == event.TypePowerLevels: // RV 11 rule 9
		return changeLevels(ev, create, st.PowerLevels(), sender)
	case v.RedactionAuth && ev.Type == event.TypeRedaction: // RV 1 rule 11
		return redactionV1(ev, levels, sender)
	}
	return nil
}

// StateKeyOwner is the user whose a state key is where users own state: one that is their ID, or begins with it and an underscore
// behind the server name. "" means that it is nobody's. MSC3757
func StateKeyOwner(key string) id.UserID {
	if _, server, ok := strings.Cut(key, ":"); ok {
		if name, _, suffixed := strings.Cut(server, "_"); suffixed {
			key = key[:len(key)-len(server)+len(name)]
		}
	}
	owner, err := id.ParseUserID(key)
	if err != nil {
		return ""
	}
	return owner
}

// aliases keeps servers to their own alias lists. RV 1 rule 4
func aliases(ev *event.PDU) *Refusal {
	if ev.StateKey == nil {
		return refuse("4.1", "aliases without a state key")
	}
	if *ev.StateKey != string(ev.Sender.Server()) {
		return refuse("4.2", "aliases of another server")
	}
	return nil
}

// numbers are the numbers that rules have in a version: the same rule moves when others come and go before it.
type numbers struct {
	roomID, authEvents, noCreate, federate, member   string
	joined, thirdParty, required, ownKey, powerLevel string

	via, join, invite, leave, ban, knock, unknown string // under member
	joinRestricted, joinPublic, joinElse          string // under join

	plIntegers, plMaps, plUsers, plCreators     string // under powerLevel
	plNamed, plOld, plNew, plUserOld, plUserNew string
}

// The four shapes the list has had since version 1.
var (
	numbersV1 = shape{authEvents: 2, federate: 3, member: 5}.numbers()
	numbersV6 = shape{authEvents: 2, federate: 3, member: 4}.numbers()
	numbersV7 = shape{authEvents: 2, federate: 3, member: 4, knock: true}.numbers()
	numbersV8 = shape{authEvents: 2, federate: 3, member: 4, knock: true, via: true}.numbers()
	numbersVA = shape{authEvents: 2, federate: 3, member: 4, knock: true, via: true, integers: true}.numbers()
	numbersVC = shape{authEvents: 3, federate: 4, member: 5, knock: true, via: true, integers: true, creators: true}.numbers()
)

func numbersOf(v *roomver.Version) *numbers {
	switch {
	case v.PrivilegedCreators:
		return &numbersVC
	case v.IntegerPowerLevels:
		return &numbersVA
	case v.Restricted:
		return &numbersV8
	case v.Knock:
		return &numbersV7
	case v.AliasesAuth:
		return &numbersV1
	}
	return &numbersV6
}

// shape is what tells one numbering from another.
type shape struct {
	authEvents, federate, member   int
	knock, via, integers, creators bool
}

func (s shape) numbers() numbers {
	var n numbers
	top := func(i int) string { return fmt.Sprint(i) }
	n.authEvents, n.federate, n.member = top(s.authEvents), top(s.federate), top(s.member)
	n.noCreate = n.authEvents + ".4"
	if s.creators {
		n.roomID, n.noCreate = "2", "2"
	}
	n.joined, n.thirdParty = top(s.member+1), top(s.member+2)
	n.required, n.ownKey, n.powerLevel = top(s.member+3), top(s.member+4), top(s.member+5)

	sub := counter(n.member, 2)
	if s.via {
		n.via = sub()
	}
	n.join, n.invite, n.leave, n.ban = sub(), sub(), sub(), sub()
	if s.knock {
		n.knock = sub()
	}
	n.unknown = sub()

	sub = counter(n.join, 5)
	if s.via {
		n.joinRestricted = sub()
	}
	n.joinPublic, n.joinElse = sub(), sub()

	sub = counter(n.powerLevel, 1)
	if s.integers {
		n.plIntegers, n.plMaps = sub(), sub()
	}
	n.plUsers = sub()
	if !s.integers {
		// Before version 10 only the users' levels have a rule about their form. The levels beside them have none, but what
		// is no number can not be compared, so it is refused under the same number.
		n.plIntegers, n.plMaps = n.plUsers, n.plUsers
	}
	if s.creators {
		n.plCreators = sub()
	}
	_ = sub() // the rule that allows the first levels of a room
	n.plNamed, n.plOld, n.plNew, n.plUserOld, n.plUserNew = sub(), sub(), sub(), sub(), sub()
	return n
}

// counter numbers the rules under a rule, from a first one on.
func counter(under string, first int) func() string {
	return func() string {
		s := fmt.Sprintf("%s.%d", under, first)
		first++
		return s
	}
}
