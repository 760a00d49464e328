// Package pushrule is the push rules of the Matrix specification: the rules every user starts with, what a user may
// make of them, and which rule an event meets. It is pure: no store, no clock, no network. Rule sets are values that
// never change (each change gives a new one), so they may be shared freely; an Event under evaluation belongs to one
// goroutine.
package pushrule

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"konsil/matrix/mxerr"
)

// Kind is one of the lists of rules, in the order in which they are asked. CS v1.16 #push-rules
type Kind string

const (
	Override  Kind = "override"
	Content   Kind = "content"
	Room      Kind = "room"
	Sender    Kind = "sender"
	Underride Kind = "underride"
)

// Kinds lists all kinds by priority.
func Kinds() []Kind { return []Kind{Override, Content, Room, Sender, Underride} }

// Limits of a user's own rules, so that neither storing nor evaluating them costs much (B5).
const (
	maxMatchingRules = 200       // override, content, underride: each may have to be tried for an event
	maxListedRules   = 2000      // room, sender: found by a map look-up
	maxConditions    = 16        // of one rule
	maxActions       = 16        // of one rule
	maxPattern       = 1024      // bytes of a glob
	maxRuleID        = 512       // bytes; for content rules it is often the pattern itself
	maxRule          = 8 << 10   // bytes of one rule as JSON
	maxSet           = 256 << 10 // bytes of all of them as JSON
)

// A Rule as the API shows it.
type Rule struct {
	ID         string            `json:"rule_id"`
	Default    bool              `json:"default"`
	Enabled    bool              `json:"enabled"`
	Pattern    *string           `json:"pattern,omitempty"`   // content rules only
	Conditions []json.RawMessage `json:"conditions,omitzero"` // override and underride rules only
	Actions    []json.RawMessage `json:"actions"`             // as the client gave them, historical ones too
}

// A Set is what a user has of their own: rules, and changes to the server's rules. The zero value is a new user's.
type Set struct {
	Own     map[Kind][]Rule   `json:"own,omitempty"`     // the most important first
	Changed map[string]Change `json:"changed,omitempty"` // by the id of a default rule
}

// A Change says what a user made of a default rule.
type Change struct {
	Enabled *bool             `json:"enabled,omitempty"`
	Actions []json.RawMessage `json:"actions,omitzero"`
}

// Parse reads what Encode wrote.
func Parse(raw []byte) (*Set, error) {
	s := &Set{}
	if len(raw) == 0 {
		return s, nil
	}
	if err := json.Unmarshal(raw, s); err != nil {
		return nil, fmt.Errorf("parse push rules: %w", err)
	}
	return s, nil
}

// Encode writes the set for the store.
func (s *Set) Encode() ([]byte, error) { return json.Marshal(s) }

func (k Kind) known() bool { return slices.Contains(Kinds(), k) }

func noRule() error { return mxerr.NotFound("There is no such push rule") }

// Get finds a rule, the user's own or a default one as this user has it.
func (s *Set) Get(user string, kind Kind, ruleID string) (Rule, error) {
	if i := s.own(kind, ruleID); i >= 0 {
		return s.Own[kind][i], nil
	}
	for _, d := range defaultRules {
		if d.kind == kind && d.rule.ID == ruleID {
			return s.changed(d.rule.forUser(user)), nil
		}
	}
	return Rule{}, noRule()
}

// List gives all rules of a kind as a client sees them: the master rule first, then the user's own, then the
// server's. CS v1.16 #predefined-rules
func (s *Set) List(user string, kind Kind) []Rule {
	rules := make([]Rule, 0, len(s.Own[kind])+16)
	if kind == Override {
		rules = append(rules, s.changed(defaultRules[masterRule].rule))
	}
	rules = append(rules, s.Own[kind]...)
	for i, d := range defaultRules {
		if d.kind == kind && i != masterRule {
			rules = append(rules, s.changed(d.rule.forUser(user)))
		}
	}
	return rules
}

// All gives the rules of all kinds, as in {"global": …}.
func (s *Set) All(user string) map[Kind][]Rule {
	all := make(map[Kind][]Rule, 5)
	for _, kind := range Kinds() {
		all[kind] = s.List(user, kind)
	}
	return all
}

// Put adds a rule of the user's own or replaces it. before and after name a rule of the same kind next to which it is
// to stand; a new rule without them becomes the most important. CS v1.16 #put_matrixclientv3pushrulesglobalkindruleid
func (s *Set) Put(kind Kind, rule Rule, before, after string) (*Set, error) {
	if err := check(kind, rule); err != nil {
		return nil, err
	}
	rules := slices.Clone(s.Own[kind])
	rule.Default, rule.Enabled = false, true
	at := 0
	if i := s.own(kind, rule.ID); i >= 0 {
		at = i
		rule.Enabled = rules[i].Enabled
		rules = slices.Delete(rules, i, i+1)
	}
	index := func(id string) (int, error) {
		i := slices.IndexFunc(rules, func(r Rule) bool { return r.ID == id })
		if i < 0 {
			return 0, mxerr.New(400, "M_UNKNOWN", "before/after rule not found: %s", id)
		}
		return i, nil
	}
	// Both given: the rule comes between them, so the place after `after` satisfies both or nothing does.
	if before != "" {
		i, err := index(before)
		if err != nil {
			return nil, err
		}
		at = i
	}
	if after != "" {
		i, err := index(after)
		if err != nil {
			return nil, err
		}
		if before != "" && i > at {
			return nil, mxerr.InvalidParam("%s does not come before %s", after, before)
		}
		at = i + 1
	}
	return s.with(kind, slices.Insert(rules, at, rule))
}

// Delete removes one of the user's own rules.
func (s *Set) Delete(kind Kind, ruleID string) (*Set, error) {
	i := s.own(kind, ruleID)
	if i < 0 {
		if isDefault(kind, ruleID) {
			return nil, mxerr.InvalidParam("%s is a rule of the server", ruleID)
		}
		return nil, noRule()
	}
	return s.with(kind, slices.Delete(slices.Clone(s.Own[kind]), i, i+1))
}

// SetEnabled switches a rule on or off.
func (s *Set) SetEnabled(kind Kind, ruleID string, enabled bool) (*Set, error) {
	return s.change(kind, ruleID,
		func(r *Rule) { r.Enabled = enabled },
		func(c *Change) { c.Enabled = &enabled })
}

// SetActions gives a rule other actions.
func (s *Set) SetActions(kind Kind, ruleID string, actions []json.RawMessage) (*Set, error) {
	if err := checkActions(actions); err != nil {
		return nil, err
	}
	return s.change(kind, ruleID,
		func(r *Rule) { r.Actions = actions },
		func(c *Change) { c.Actions = actions })
}

func (s *Set) change(kind Kind, ruleID string, own func(*Rule), changed func(*Change)) (*Set, error) {
	if i := s.own(kind, ruleID); i >= 0 {
		rules := slices.Clone(s.Own[kind])
		own(&rules[i])
		return s.with(kind, rules)
	}
	if !isDefault(kind, ruleID) {
		return nil, noRule()
	}
	next := &Set{Own: s.Own, Changed: make(map[string]Change, len(s.Changed)+1)}
	for id, c := range s.Changed {
		next.Changed[id] = c
	}
	c := next.Changed[ruleID]
	changed(&c)
	next.Changed[ruleID] = c
	return next, nil
}

// CopyRoom takes over the room rules of one room for another, as a room upgrade wants it. It gives the set itself
// where there is nothing to take over. CS v1.16 #server-behaviour-19
func (s *Set) CopyRoom(from, to string) *Set {
	rules := s.Own[Room]
	i := s.own(Room, from)
	if i < 0 || s.own(Room, to) >= 0 || len(rules) >= maxListedRules {
		return s
	}
	rule := rules[i]
	rule.ID = to
	next, err := s.with(Room, slices.Insert(slices.Clone(rules), 0, rule))
	if err != nil {
		return s
	}
	return next
}

// own gives the index of one of the user's own rules, -1 if there is none.
func (s *Set) own(kind Kind, ruleID string) int {
	return slices.IndexFunc(s.Own[kind], func(r Rule) bool { return r.ID == ruleID })
}

// changed applies what the user made of a default rule.
func (s *Set) changed(r Rule) Rule {
	c, ok := s.Changed[r.ID]
	if !ok {
		return r
	}
	if c.Enabled != nil {
		r.Enabled = *c.Enabled
	}
	if c.Actions != nil {
		r.Actions = c.Actions
	}
	return r
}

// with gives the set with other rules of one kind, if that is not too much.
func (s *Set) with(kind Kind, rules []Rule) (*Set, error) {
	next := &Set{Changed: s.Changed, Own: make(map[Kind][]Rule, len(Kinds()))}
	for k, r := range s.Own {
		next.Own[k] = r
	}
	next.Own[kind] = rules
	size, matching, listed := 0, 0, 0
	for k, rules := range next.Own {
		if k == Room || k == Sender {
			listed += len(rules)
		} else {
			matching += len(rules)
		}
		for i := range rules {
			size += rules[i].size()
		}
	}
	if matching > maxMatchingRules || listed > maxListedRules || size > maxSet {
		return nil, mxerr.TooLarge("Too many push rules")
	}
	return next, nil
}

// size is about what the rule takes as JSON.
func (r *Rule) size() int {
	size := len(r.ID) + 64
	if r.Pattern != nil {
		size += len(*r.Pattern)
	}
	for _, c := range r.Conditions {
		size += len(c)
	}
	for _, a := range r.Actions {
		size += len(a)
	}
	return size
}

// check says whether a user may have this rule.
func check(kind Kind, r Rule) error {
	switch {
	case !kind.known():
		return mxerr.InvalidParam("Unknown kind of push rule")
	case r.ID == "" || len(r.ID) > maxRuleID:
		return mxerr.InvalidParam("rule_id is empty or too long")
	case strings.HasPrefix(r.ID, "."):
		return mxerr.InvalidParam("Rules that start with a dot are the server's")
	case strings.ContainsAny(r.ID, `/\`):
		return mxerr.InvalidParam("rule_id contains a slash")
	case r.size() > maxRule:
		return mxerr.TooLarge("The push rule is too large")
	}
	if kind == Content {
		if r.Pattern == nil {
			return mxerr.MissingParam("Content rules need a pattern")
		}
		if len(*r.Pattern) > maxPattern {
			return mxerr.InvalidParam("The pattern is too long")
		}
	}
	if len(r.Conditions) > maxConditions {
		return mxerr.InvalidParam("Too many conditions")
	}
	for _, raw := range r.Conditions {
		if err := checkCondition(raw); err != nil {
			return err
		}
	}
	return checkActions(r.Actions)
}

// NewRule makes a user's rule of what a client sends, keeping just what its kind has.
func NewRule(kind Kind, ruleID string, pattern *string, conditions, actions []json.RawMessage) Rule {
	r := Rule{ID: ruleID, Actions: actions}
	switch kind {
	case Content:
		r.Pattern = pattern
	case Override, Underride:
		r.Conditions = conditions
		if r.Conditions == nil {
			r.Conditions = []json.RawMessage{}
		}
	}
	return r
}

func isDefault(kind Kind, ruleID string) bool {
	return slices.ContainsFunc(defaultRules, func(d defaultRule) bool { return d.kind == kind && d.rule.ID == ruleID })
}

// HasRooms says whether the user has rules for rooms, HasRoom whether there is one for a room.
func (s *Set) HasRooms() bool { return len(s.Own[Room]) > 0 }

// HasRoom says whether the user has a rule for a room.
func (s *Set) HasRoom(roomID string) bool { return s.own(Room, roomID) >= 0 }

// Content is the content of m.push_rules. CS v1.16 #mpush_rules
func (s *Set) Content(user string) ([]byte, error) {
	return json.Marshal(map[string]any{"global": s.All(user)})
}
