package pushrule

import (
	"encoding/json"
	"strings"
)

// A defaultRule is one of the server's rules, with what is needed to show and to ask it.
type defaultRule struct {
	kind       Kind
	rule       Rule // with the placeholders below in its conditions and pattern
	conditions []condition
	outcome    *Outcome
	legacy     bool // looks for mentions in the body: not asked when the event says whom it mentions
}

// The table below has a NUL and "user" where the specification says "the user's Matrix ID", and this for its local part.
const localpartPlaceholder = "\x00localpart"

const masterRule = 0 // its index in defaultRules

const (
	nothing        = `[]`
	justNotify     = `["notify"]`
	notifySound    = `["notify",{"set_tweak":"sound","value":"default"}]`
	notifyRing     = `["notify",{"set_tweak":"sound","value":"ring"}]`
	highlight      = `["notify",{"set_tweak":"highlight"}]`
	highlightSound = `["notify",{"set_tweak":"sound","value":"default"},{"set_tweak":"highlight"}]`
	twoMembers     = `{"kind":"room_member_count","is":"2"}`
	emptyStateKey  = `{"kind":"event_match","key":"state_key","pattern":""}`
)

func typeIs(name string) string {
	return `{"kind":"event_match","key":"type","pattern":"` + name + `"}`
}

// defaultRules is the table of the server's rules, in the order in which they are asked. It is never changed.
//
// The specification dropped the rules that look for names in the body (contains_display_name, roomnotif,
// contains_user_name) in 1.17. We keep them for messages that do not say whom they mention: bridges and small clients
// send those, and a highlight lost is worse than one too many. CS v1.16 #predefined-rules, MSC3952
var defaultRules = []defaultRule{
	disabled(describe(Override, ".m.rule.master", nothing)),
	describe(Override, ".m.rule.suppress_notices", nothing, `{"kind":"event_match","key":"content.msgtype","pattern":"m.notice"}`),
	asking(describe(Override, ".m.rule.invite_for_me", notifySound, typeIs("m.room.member"),
		`{"kind":"event_match","key":"content.membership","pattern":"invite"}`,
		`{"kind":"event_match","key":"state_key","pattern":"\u0000user"}`), 2, opUserIsStateKey),
	describe(Override, ".m.rule.member_event", nothing, typeIs("m.room.member")),
	asking(describe(Override, ".m.rule.is_user_mention", highlightSound,
		`{"kind":"event_property_contains","key":"content.m\\.mentions.user_ids","value":"\u0000user"}`), 0, opUserInMentions),
	legacy(describe(Override, ".m.rule.contains_display_name", highlightSound, `{"kind":"contains_display_name"}`)),
	describe(Override, ".m.rule.is_room_mention", highlight,
		`{"kind":"event_property_is","key":"content.m\\.mentions.room","value":true}`,
		`{"kind":"sender_notification_permission","key":"room"}`),
	legacy(describe(Override, ".m.rule.roomnotif", highlight,
		`{"kind":"event_match","key":"content.body","pattern":"@room"}`,
		`{"kind":"sender_notification_permission","key":"room"}`)),
	describe(Override, ".m.rule.tombstone", highlight, typeIs("m.room.tombstone"), emptyStateKey),
	describe(Override, ".m.rule.reaction", nothing, typeIs("m.reaction")),
	describe(Override, ".m.rule.room.server_acl", nothing, typeIs("m.room.server_acl"), emptyStateKey),
	describe(Override, ".m.rule.suppress_edits", nothing,
		`{"kind":"event_property_is","key":"content.m\\.relates_to.rel_type","value":"m.replace"}`),
	describe(Override, ".org.matrix.msc3930.rule.poll_response", nothing, typeIs("org.matrix.msc3381.poll.response")), // MSC3930

	legacy(asking(describe(Content, ".m.rule.contains_user_name", highlightSound), 0, opUserNamedInBody)),

	describe(Underride, ".m.rule.call", notifyRing, typeIs("m.call.invite")),
	describe(Underride, ".m.rule.encrypted_room_one_to_one", notifySound, twoMembers, typeIs("m.room.encrypted")),
	describe(Underride, ".m.rule.room_one_to_one", notifySound, twoMembers, typeIs("m.room.message")),
	describe(Underride, ".m.rule.message", justNotify, typeIs("m.room.message")),
	describe(Underride, ".m.rule.encrypted", justNotify, typeIs("m.room.encrypted")),
	describe(Underride, ".org.matrix.msc3930.rule.poll_start_one_to_one", notifySound, twoMembers, typeIs("org.matrix.msc3381.poll.start")),
	describe(Underride, ".org.matrix.msc3930.rule.poll_start", justNotify, typeIs("org.matrix.msc3381.poll.start")),
	describe(Underride, ".org.matrix.msc3930.rule.poll_end_one_to_one", notifySound, twoMembers, typeIs("org.matrix.msc3381.poll.end")),
	describe(Underride, ".org.matrix.msc3930.rule.poll_end", justNotify, typeIs("org.matrix.msc3381.poll.end")),
}

func describe(kind Kind, ruleID, actions string, conditions ...string) defaultRule {
	d := defaultRule{kind: kind, rule: Rule{ID: ruleID, Default: true, Enabled: true}}
	if kind != Content {
		d.rule.Conditions = []json.RawMessage{}
	}
	for _, c := range conditions {
		d.rule.Conditions = append(d.rule.Conditions, json.RawMessage(c))
		d.conditions = append(d.conditions, compileCondition(json.RawMessage(c)))
	}
	if err := json.Unmarshal([]byte(actions), &d.rule.Actions); err != nil {
		panic(err) // the table above is wrong
	}
	d.outcome = outcome(d.rule.Actions)
	return d
}

// asking replaces a condition that names the user by one that is compiled once for all users.
func asking(d defaultRule, index int, o op) defaultRule {
	if d.kind == Content {
		pattern := localpartPlaceholder
		d.rule.Pattern = &pattern
		d.conditions = []condition{{op: o}}
		return d
	}
	d.conditions[index] = condition{op: o}
	return d
}

func disabled(d defaultRule) defaultRule {
	d.rule.Enabled = false
	return d
}

func legacy(d defaultRule) defaultRule {
	d.legacy = true
	return d
}

// forUser fills in who asks.
func (r Rule) forUser(user string) Rule {
	if r.Pattern != nil && *r.Pattern == localpartPlaceholder {
		name := localpart(user)
		r.Pattern = &name
	}
	for i, c := range r.Conditions {
		if !strings.Contains(string(c), `\u0000user`) {
			continue
		}
		quoted, err := json.Marshal(user)
		if err != nil {
			continue // a string always has a JSON form
		}
		conditions := append([]json.RawMessage{}, r.Conditions...)
		conditions[i] = json.RawMessage(strings.Replace(string(c), `"\u0000user"`, string(quoted), 1))
		r.Conditions = conditions
	}
	return r
}

func localpart(user string) string {
	name, _, _ := strings.Cut(strings.TrimPrefix(user, "@"), ":")
	return name
}
