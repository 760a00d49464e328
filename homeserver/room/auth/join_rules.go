package auth

import (
	"konsil/matrix/canonical"
	"konsil/matrix/id"
)

// JoinRule is the word of an m.room.join_rules event; any other word admits nobody. CS v1.16 #mroomjoin_rules
type JoinRule string

// CS v1.16 #mroomjoin_rules
const (
	RulePublic          JoinRule = "public"
	RuleInvite          JoinRule = "invite"
	RuleKnock           JoinRule = "knock"
	RuleRestricted      JoinRule = "restricted"
	RuleKnockRestricted JoinRule = "knock_restricted"
	RulePrivate         JoinRule = "private"
)

// Restricted reports whether members of other rooms may be admitted.
func (r JoinRule) Restricted() bool { return r == RuleRestricted || r == RuleKnockRestricted }

// Knockable reports whether strangers may knock.
func (r JoinRule) Knockable() bool { return r == RuleKnock || r == RuleKnockRestricted }

// JoinRules is what an m.room.join_rules event says.
type JoinRules struct {
	Rule JoinRule
	// Allow lists the rooms whose members a restricted join admits. Conditions of other kinds are left out.
	Allow []id.RoomID
}

// maxAllow caps the rooms looked at for a restricted join; each costs a look-up.
const maxAllow = 256

// ParseJoinRules reads the content of an m.room.join_rules event. It never fails: a rule that is no string admits
// nobody, a missing one means invite, conditions that can not be read are not met.
func ParseJoinRules(content []byte) JoinRules {
	rules := JoinRules{Rule: RuleInvite}
	_ = canonical.Object(content, func(key string, value []byte) error {
		switch key {
		case "join_rule":
			word, _ := canonical.String(value)
			rules.Rule = JoinRule(word)
		case "allow":
			rules.Allow = parseAllow(value)
		}
		return nil
	})
	return rules
}

func parseAllow(list []byte) []id.RoomID {
	var rooms []id.RoomID
	_ = canonical.Array(list, func(value []byte) error {
		if len(rooms) == maxAllow {
			return nil
		}
		if kind, _ := canonical.GetString(value, "type"); kind != "m.room_membership" {
			return nil
		}
		name, _ := canonical.GetString(value, "room_id")
		if room, err := id.ParseRoomID(name); err == nil {
			rooms = append(rooms, room)
		}
		return nil
	})
	return rooms
}
