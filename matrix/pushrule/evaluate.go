package pushrule

import (
	"bytes"
	"encoding/json"
	"strings"

	"konsil/matrix/canonical"
)

// Rules is a user's set, compiled. It is immutable and may be asked by many goroutines.
type Rules struct {
	user      string
	name      *glob // the local part, for contains_user_name
	own       bool  // there is more than the untouched defaults
	override  []ownRule
	content   []ownRule
	room      map[string]*Outcome
	sender    map[string]*Outcome
	underride []ownRule
	changed   map[int]*Outcome // default rules by index: other actions, or nil for disabled
	master    *Outcome         // not nil when the master rule is switched on
}

// ownRule is a rule the user made.
type ownRule struct {
	conditions []condition
	outcome    *Outcome
}

// Compile makes a set ready to be asked. Disabled rules are left out.
func (s *Set) Compile(user string) *Rules {
	name := compileGlob(escapeGlob(localpart(user)))
	r := &Rules{user: user, name: &name}
	r.override = compileOwn(s.Own[Override])
	r.underride = compileOwn(s.Own[Underride])
	for _, rule := range s.Own[Content] {
		if rule.Enabled && rule.Pattern != nil {
			body := condition{op: opMatch, key: "content.body", path: []string{"content", "body"}, glob: compileGlob(*rule.Pattern)}
			r.content = append(r.content, ownRule{[]condition{body}, outcome(rule.Actions)})
		}
	}
	r.room, r.sender = compileListed(s.Own[Room]), compileListed(s.Own[Sender])
	for i, d := range defaultRules {
		if _, ok := s.Changed[d.rule.ID]; !ok {
			continue
		}
		rule := s.changed(d.rule)
		var o *Outcome
		if rule.Enabled {
			o = outcome(rule.Actions)
		}
		if i == masterRule {
			r.master = o
			continue
		}
		if r.changed == nil {
			r.changed = make(map[int]*Outcome)
		}
		r.changed[i] = o
	}
	r.own = len(r.override)+len(r.content)+len(r.room)+len(r.sender)+len(r.underride)+len(r.changed) > 0
	return r
}

// escapeGlob: a local part of old may hold * or ?, which stand for themselves there; ? also matches itself and a star
// is no worse than a wildcard for the user's own name.
func escapeGlob(name string) string { return strings.ReplaceAll(name, "*", "?") }

func compileOwn(rules []Rule) []ownRule {
	var compiled []ownRule
	for _, rule := range rules {
		if !rule.Enabled {
			continue
		}
		own := ownRule{outcome: outcome(rule.Actions)}
		for _, raw := range rule.Conditions {
			own.conditions = append(own.conditions, compileCondition(raw))
		}
		compiled = append(compiled, own)
	}
	return compiled
}

func compileListed(rules []Rule) map[string]*Outcome {
	if len(rules) == 0 {
		return nil
	}
	listed := make(map[string]*Outcome, len(rules))
	for _, rule := range rules {
		if rule.Enabled {
			listed[rule.ID] = outcome(rule.Actions)
		}
	}
	return listed
}

// Facts are what the rules ask about an event and its room.
type Facts struct {
	JSON     []byte // the event, canonical
	Type     string
	RoomID   string
	Sender   string
	StateKey *string
	Members  int // joined members
	// SenderMay says whether the sender's power suffices for a kind of notification, as "room".
	SenderMay func(kind string) bool
}

// An Event is one event on its way past many users' rules. What does not depend on the user is answered once, and each
// property is looked up once. It is not safe for several goroutines.
type Event struct {
	facts    Facts
	content  []byte
	body     string // in lower case
	hasBody  bool
	stated   bool     // it says whom it mentions (m.mentions), so the legacy rules are not asked. MSC3952
	mentions []string // user ids
	props    map[string]property
	plan     []planned // the default rules that may match, up to the first that matches everybody
}

type planned struct {
	index   int  // in defaultRules
	certain bool // matches every user
}

// property is one looked-up property, as JSON and in lower case where it is a string.
type property struct {
	raw   []byte
	text  string
	lower string
}

// NewEvent prepares an event. It costs about as much as asking one user's rules.
func NewEvent(f Facts) *Event {
	e := &Event{facts: f}
	e.content, _ = canonical.Get(f.JSON, "content")
	if body, ok := canonical.GetString(e.content, "body"); ok {
		e.body, e.hasBody = strings.ToLower(body), true
	}
	if mentions, ok := canonical.Get(e.content, "m.mentions"); ok {
		e.stated = true
		if ids, ok := canonical.Get(mentions, "user_ids"); ok {
			// Not a list of strings: nobody is mentioned.
			if json.Unmarshal(ids, &e.mentions) != nil {
				e.mentions = nil
			}
		}
	}
	for i := range defaultRules {
		if i == masterRule {
			continue
		}
		possible, certain := e.shared(&defaultRules[i])
		if possible {
			e.plan = append(e.plan, planned{i, certain})
		}
	}
	return e
}

// shared asks what of a default rule does not depend on the user.
func (e *Event) shared(d *defaultRule) (possible, certain bool) {
	if d.legacy && (e.stated || !e.hasBody) {
		return false, false
	}
	certain = true
	for i := range d.conditions {
		c := &d.conditions[i]
		if c.op.aboutUser() {
			certain = false
			if c.op == opUserInMentions && len(e.mentions) == 0 || c.op == opUserIsStateKey && e.facts.StateKey == nil {
				return false, false
			}
			continue
		}
		if !e.holds(c, nil, "") {
			return false, false
		}
	}
	return true, certain
}

// AsksForName says whether evaluation wants to know the users' display names; if not, Evaluate needs none.
func (e *Event) AsksForName() bool { return e.hasBody }

// Evaluate gives the outcome of the first rule that matches, nil where none does. displayName is the user's name in
// this room. The sender's own rules are not to be asked: nobody is notified of what they did themselves.
func (r *Rules) Evaluate(e *Event, displayName string) *Outcome {
	if r.master != nil {
		return r.master
	}
	if !r.own {
		return r.defaults(e, displayName, 0, len(defaultRules))
	}
	if o := r.first(r.override, e, displayName); o != nil {
		return o
	}
	if o := r.defaults(e, displayName, 0, firstContentRule); o != nil {
		return o
	}
	if o := r.first(r.content, e, displayName); o != nil {
		return o
	}
	if o := r.defaults(e, displayName, firstContentRule, firstUnderrideRule); o != nil {
		return o
	}
	if o := r.room[e.facts.RoomID]; o != nil {
		return o
	}
	if o := r.sender[e.facts.Sender]; o != nil {
		return o
	}
	if o := r.first(r.underride, e, displayName); o != nil {
		return o
	}
	return r.defaults(e, displayName, firstUnderrideRule, len(defaultRules))
}

// Where the kinds begin in defaultRules.
var firstContentRule, firstUnderrideRule = firstOf(Content), firstOf(Underride)

func firstOf(kind Kind) int {
	for i, d := range defaultRules {
		if d.kind == kind {
			return i
		}
	}
	panic("no default rules of kind " + kind)
}

func (r *Rules) first(rules []ownRule, e *Event, displayName string) *Outcome {
	for i := range rules {
		if r.all(rules[i].conditions, e, displayName) {
			return rules[i].outcome
		}
	}
	return nil
}

func (r *Rules) all(conditions []condition, e *Event, displayName string) bool {
	for i := range conditions {
		if !e.holds(&conditions[i], r, displayName) {
			return false
		}
	}
	return true
}

// defaults asks the default rules with an index in [from, to).
func (r *Rules) defaults(e *Event, displayName string, from, to int) *Outcome {
	for _, p := range e.plan {
		if p.index < from || p.index >= to {
			continue
		}
		o := defaultRules[p.index].outcome
		if changed, ok := r.changed[p.index]; ok {
			if changed == nil {
				continue // disabled
			}
			o = changed
		}
		if p.certain || r.aboutMe(&defaultRules[p.index], e, displayName) {
			return o
		}
	}
	return nil
}

// aboutMe asks the conditions of a default rule that depend on the user.
func (r *Rules) aboutMe(d *defaultRule, e *Event, displayName string) bool {
	for i := range d.conditions {
		if c := &d.conditions[i]; c.op.aboutUser() && !e.holds(c, r, displayName) {
			return false
		}
	}
	return true
}

// holds answers one condition. r is nil for conditions that do not ask for the user.
func (e *Event) holds(c *condition, r *Rules, displayName string) bool {
	switch c.op {
	case opTypeIs:
		return strings.EqualFold(e.facts.Type, c.text)
	case opMatch:
		if c.key == "content.body" {
			return e.hasBody && c.glob.matchWords(e.body)
		}
		p := e.property(c)
		return p.isText() && c.glob.match(p.lower)
	case opIs:
		p := e.property(c)
		if c.isText {
			return p.isText() && p.text == c.text
		}
		return bytes.Equal(p.raw, c.value)
	case opContains:
		return c.within(e.property(c).raw)
	case opDisplayName:
		return e.hasBody && displayName != "" && containsWords(e.body, strings.ToLower(displayName))
	case opMemberCount:
		return c.counts(int64(e.facts.Members))
	case opPermission:
		return e.facts.SenderMay != nil && e.facts.SenderMay(c.key)
	case opUserInMentions:
		for _, user := range e.mentions {
			if user == r.user {
				return true
			}
		}
	case opUserIsStateKey:
		return e.facts.StateKey != nil && *e.facts.StateKey == r.user
	case opUserNamedInBody:
		return e.hasBody && r.name.matchWords(e.body)
	}
	return false
}

// property looks a property up, once per event.
func (e *Event) property(c *condition) property {
	switch c.key { // the frequent ones, which need no cache
	case "type":
		return property{raw: []byte(`"`), text: e.facts.Type, lower: strings.ToLower(e.facts.Type)}
	case "room_id":
		return property{raw: []byte(`"`), text: e.facts.RoomID, lower: strings.ToLower(e.facts.RoomID)}
	case "state_key":
		if e.facts.StateKey == nil {
			return property{}
		}
		return property{raw: []byte(`"`), text: *e.facts.StateKey, lower: strings.ToLower(*e.facts.StateKey)}
	}
	if p, ok := e.props[c.key]; ok {
		return p
	}
	var p property
	if raw, ok := canonical.Get(e.facts.JSON, c.path...); ok {
		p.raw = raw
		if text, ok := canonical.String(raw); ok {
			p.text, p.lower = text, strings.ToLower(text)
		}
	}
	if e.props == nil {
		e.props = make(map[string]property, 8)
	}
	e.props[c.key] = p
	return p
}

func (p *property) isText() bool { return len(p.raw) > 0 && p.raw[0] == '"' }

// within says whether a JSON array holds the condition's value.
func (c *condition) within(array []byte) bool {
	if len(array) == 0 || array[0] != '[' {
		return false
	}
	var values []json.RawMessage
	if json.Unmarshal(array, &values) != nil {
		return false
	}
	for _, v := range values {
		if !c.isText {
			if bytes.Equal(v, c.value) {
				return true
			}
			continue
		}
		if text, ok := canonical.String(v); ok && text == c.text {
			return true
		}
	}
	return false
}

func (c *condition) counts(members int64) bool {
	switch c.compare {
	case "<":
		return members < c.count
	case ">":
		return members > c.count
	case "<=":
		return members <= c.count
	case ">=":
		return members >= c.count
	}
	return members == c.count
}

// containsWords says whether text has the words, standing alone.
func containsWords(text, words string) bool {
	for from := 0; ; {
		at := strings.Index(text[from:], words)
		if at < 0 {
			return false
		}
		start := from + at
		if boundaryBefore(text, start) && boundaryAfter(text, start+len(words)) {
			return true
		}
		if from = start + 1; from > len(text) {
			return false
		}
	}
}
