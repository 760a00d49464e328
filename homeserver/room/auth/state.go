package auth

import (
	"konsil/matrix/event"
	"konsil/matrix/id"
)

// EventState is a State over events, for callers that have no parsed values at hand. Each event is parsed when it is
// first asked for and then kept. Not for concurrent use.
type EventState struct {
	create *Create
	lookup func(id.Slot) *event.PDU

	levels     *PowerLevels
	rule       JoinRule
	haveLevels bool
	haveRule   bool
}

// NewEventState makes a State of a look-up, which gives nil for slots without an event. create is the room's create
// event, parsed; nil looks it up.
func NewEventState(create *Create, lookup func(id.Slot) *event.PDU) *EventState {
	if create == nil {
		if ev := lookup(id.Slot{Type: event.TypeCreate}); ev != nil {
			create = ParseCreate(ev)
		}
	}
	return &EventState{create: create, lookup: lookup}
}

// AuthEventState is the state that an event's auth events make. From room version 12 on the create event is not among
// them: the caller gives it. SS v1.16 #checks-performed-on-receipt-of-a-pdu step 4
func AuthEventState(cited []Cited, create *Create) *EventState {
	return NewEventState(create, func(slot id.Slot) *event.PDU {
		for _, c := range cited {
			if c.IsState() && c.Slot() == slot {
				return c.PDU
			}
		}
		return nil
	})
}

// Create implements State.
func (s *EventState) Create() *Create { return s.create }

// PowerLevels implements State.
func (s *EventState) PowerLevels() *PowerLevels {
	if !s.haveLevels {
		s.haveLevels = true
		if ev := s.lookup(id.Slot{Type: event.TypePowerLevels}); ev != nil && s.create != nil {
			s.levels = LevelsFrom(ev, s.create)
		}
	}
	return s.levels
}

// LevelsFrom parses the levels of an accepted event. If that can not be read, nobody but creators has any power.
func LevelsFrom(ev *event.PDU, create *Create) *PowerLevels {
	if pl, err := ParsePowerLevels(ev.Version, ev.Content, create); err == nil {
		return pl
	}
	return closedLevels(create)
}

// JoinRule implements State.
func (s *EventState) JoinRule() JoinRule {
	if !s.haveRule {
		s.haveRule, s.rule = true, RuleInvite
		if ev := s.lookup(id.Slot{Type: event.TypeJoinRules}); ev != nil {
			s.rule = ParseJoinRules(ev.Content).Rule
		}
	}
	return s.rule
}

// Membership implements State.
func (s *EventState) Membership(user id.UserID) Membership {
	if ev := s.lookup(id.Slot{Type: event.TypeMember, StateKey: string(user)}); ev != nil {
		return ParseMembership(ev.Membership())
	}
	return NotMember
}

// ThirdPartyInvite implements State.
func (s *EventState) ThirdPartyInvite(token string) *ThirdPartyInvite {
	if ev := s.lookup(id.Slot{Type: event.TypeThirdPartyInvite, StateKey: token}); ev != nil {
		return ParseThirdPartyInvite(ev)
	}
	return nil
}
