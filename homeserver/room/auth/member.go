package auth

import (
	"bytes"

	"konsil/matrix/canonical"
	"konsil/matrix/event"
	"konsil/matrix/id"
	"konsil/matrix/roomver"
)

// Membership is a user's relation to a room. The zero value is that of a user without m.room.member event.
type Membership uint8

// CS v1.16 #mroommember
const (
	NotMember Membership = iota
	Left
	Invited
	Joined
	Knocked
	Banned
	UnknownMembership // a word this server does not know; never in an accepted event
)

// ParseMembership reads the word of an m.room.member event; "" is NotMember.
func ParseMembership(word string) Membership {
	switch word {
	case event.Join:
		return Joined
	case event.Leave:
		return Left
	case event.Invite:
		return Invited
	case event.Ban:
		return Banned
	case event.Knock:
		return Knocked
	case "":
		return NotMember
	}
	return UnknownMembership
}

// Member is what the rules read of an m.room.member event's content.
type Member struct {
	Membership Membership // NotMember if the content has none, or no string
	// Via is the user who vouches for a restricted join. HasVia says that the field is there, even if it is no user ID.
	// RV 8 rule 4.2
	Via    id.UserID
	HasVia bool
	// ThirdParty is third_party_invite as it stands there, nil if there is none.
	ThirdParty []byte
}

// ParseMember reads the content of an m.room.member event in one pass and without allocating what is mostly not there. It
// never fails: fields of a wrong type read as the rules treat them.
func ParseMember(content []byte) Member {
	var m Member
	for c := canonical.Members(content); ; {
		key, value, ok := c.Next()
		switch {
		case !ok:
			return m
		case canonical.KeyIs(key, "membership"):
			m.Membership = membershipIn(value)
		case canonical.KeyIs(key, "join_authorised_via_users_server"):
			word, _ := canonical.String(value)
			m.Via, m.HasVia = id.UserID(word), true
		case canonical.KeyIs(key, "third_party_invite"):
			m.ThirdParty = value
		}
	}
}

// memberOf is ParseMember for an event. Its membership is known already, and the other fields are rare: where their names
// do not occur there is nothing to parse.
func memberOf(ev *event.PDU) Member {
	if bytes.Contains(ev.Content, []byte("join_authorised_via_users_server")) || bytes.Contains(ev.Content, []byte("third_party_invite")) {
		return ParseMember(ev.Content)
	}
	return Member{Membership: ParseMembership(ev.Membership())}
}

// membershipIn is ParseMembership for the value as it stands in the event.
func membershipIn(value []byte) Membership {
	switch string(value) {
	case `"join"`:
		return Joined
	case `"leave"`:
		return Left
	case `"invite"`:
		return Invited
	case `"ban"`:
		return Banned
	case `"knock"`:
		return Knocked
	}
	word, ok := canonical.String(value)
	if !ok {
		return NotMember
	}
	return ParseMembership(word)
}

// member applies the rules for m.room.member. RV 1 rule 5, RV 6 to 11 rule 4, RV 12 rule 5
func member(ev *event.PDU, m *Member, create *Create, st State) *Refusal {
	v, n := ev.Version, numbersOf(ev.Version)
	if ev.StateKey == nil || m.Membership == NotMember {
		return refuse(n.member+".1", "no state key or no membership")
	}
	target := id.UserID(*ev.StateKey)
	if target != ev.Sender { // senders are user IDs, or the event would not have been parsed
		if _, err := id.ParseUserID(*ev.StateKey); err != nil {
			// The rules take it for granted that the target is a user. Others who look for the server in it fail as well.
			return refuse(n.member+".1", "the state key is no user ID")
		}
	}
	if v.Restricted && m.HasVia { // RV 8 rule 4.2
		if via, err := id.ParseUserID(string(m.Via)); err != nil || len(ev.SignatureKeys(via.Server())) == 0 {
			return refuse(n.via+".1", "not signed by the server of the authorising user")
		}
	}
	switch {
	case m.Membership == Joined:
		return join(ev, target, m, create, st)
	case m.Membership == Invited:
		return invite(ev, target, m, create, st)
	case m.Membership == Left:
		return leave(ev, target, create, st)
	case m.Membership == Banned:
		return ban(ev, target, create, st)
	case m.Membership == Knocked && v.Knock:
		return knock(ev, target, st)
	}
	return refuse(n.unknown, "unknown membership")
}

// join: RV 1 rule 5.2, RV 6 rule 4.2, RV 8 to 11 rule 4.3, RV 12 rule 5.3
func join(ev *event.PDU, target id.UserID, m *Member, create *Create, st State) *Refusal {
	v, n := ev.Version, numbersOf(ev.Version)
	if target == create.Creators[0] && len(ev.PrevEvents) == 1 && ev.PrevEvents[0] == create.EventID {
		return nil // .1: the creator's first step
	}
	if ev.Sender != target {
		return refuse(n.join+".2", "a user joins only for themselves")
	}
	current := st.Membership(target)
	if current == Banned {
		return refuse(n.join+".3", "sender is banned")
	}
	rule := st.JoinRule()
	member := current == Invited || current == Joined
	switch {
	case rule == RuleInvite, rule == RuleKnock && v.Knock:
		if member {
			return nil
		}
		return refuse(n.join+".4", "sender is not invited")
	case rule == RuleRestricted && v.Restricted, rule == RuleKnockRestricted && v.KnockRestricted:
		if member {
			return nil
		}
		return restrictedJoin(v, m, create, st)
	case rule == RulePublic:
		return nil
	}
	return refuse(n.joinElse, "the join rule admits nobody")
}

// restrictedJoin checks the user who vouches for a join; that they know the conditions of the join rule to be met is for
// their server to say. RV 8 rule 4.3.5.2
func restrictedJoin(v *roomver.Version, m *Member, create *Create, st State) *Refusal {
	n := numbersOf(v)
	levels := LevelsOf(create, st.PowerLevels())
	if !m.HasVia || st.Membership(m.Via) != Joined || levels.UserLevel(m.Via) < levels.Invite() {
		return refuse(n.joinRestricted+".2", "no member who may invite vouches for the join")
	}
	return nil
}

// invite: RV 1 rule 5.3, RV 6 rule 4.3, RV 8 to 11 rule 4.4, RV 12 rule 5.4
func invite(ev *event.PDU, target id.UserID, m *Member, create *Create, st State) *Refusal {
	n := numbersOf(ev.Version)
	if m.ThirdParty != nil {
		return thirdPartyInvite(ev, target, m, st)
	}
	if st.Membership(ev.Sender) != Joined {
		return refuse(n.invite+".2", "sender is not in the room")
	}
	if current := st.Membership(target); current == Joined || current == Banned {
		return refuse(n.invite+".3", "the user is in the room or banned")
	}
	if levels := LevelsOf(create, st.PowerLevels()); levels.UserLevel(ev.Sender) < levels.Invite() {
		return refuse(n.invite+".5", "sender may not invite")
	}
	return nil
}

// leave: RV 1 rule 5.4, RV 6 rule 4.4, RV 8 to 11 rule 4.5, RV 12 rule 5.5
func leave(ev *event.PDU, target id.UserID, create *Create, st State) *Refusal {
	v, n := ev.Version, numbersOf(ev.Version)
	current := st.Membership(target)
	if ev.Sender == target {
		if current == Invited || current == Joined || current == Knocked && v.Knock {
			return nil
		}
		return refuse(n.leave+".1", "sender has nothing to leave")
	}
	if st.Membership(ev.Sender) != Joined {
		return refuse(n.leave+".2", "sender is not in the room")
	}
	levels := LevelsOf(create, st.PowerLevels())
	sender := levels.UserLevel(ev.Sender)
	if current == Banned && sender < levels.Ban() {
		return refuse(n.leave+".3", "sender may not lift the ban")
	}
	if sender >= levels.Kick() && levels.UserLevel(target) < sender {
		return nil
	}
	return refuse(n.leave+".5", "sender may not remove the user")
}

// ban: RV 1 rule 5.5, RV 6 rule 4.5, RV 8 to 11 rule 4.6, RV 12 rule 5.6
func ban(ev *event.PDU, target id.UserID, create *Create, st State) *Refusal {
	n := numbersOf(ev.Version)
	if st.Membership(ev.Sender) != Joined {
		return refuse(n.ban+".1", "sender is not in the room")
	}
	levels := LevelsOf(create, st.PowerLevels())
	if sender := levels.UserLevel(ev.Sender); sender >= levels.Ban() && levels.UserLevel(target) < sender {
		return nil
	}
	return refuse(n.ban+".3", "sender may not ban the user")
}

// knock: RV 7 rule 4.6, RV 8 to 11 rule 4.7, RV 12 rule 5.7
func knock(ev *event.PDU, target id.UserID, st State) *Refusal {
	v, n := ev.Version, numbersOf(ev.Version)
	if rule := st.JoinRule(); rule != RuleKnock && !(rule == RuleKnockRestricted && v.KnockRestricted) {
		return refuse(n.knock+".1", "the join rule lets nobody knock")
	}
	if ev.Sender != target {
		return refuse(n.knock+".2", "a user knocks only for themselves")
	}
	switch st.Membership(target) {
	case Banned, Invited, Joined:
		return refuse(n.knock+".4", "sender is banned, invited or in the room")
	}
	return nil
}
