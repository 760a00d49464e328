package pushrule

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"

	"konsil/matrix/mxerr"
)

// op is what a condition does. CS v1.16 #conditions-1
type op uint8

const (
	opNever           op = iota // unknown conditions match nothing
	opMatch                     // event_match
	opIs                        // event_property_is
	opContains                  // event_property_contains
	opDisplayName               // contains_display_name
	opMemberCount               // room_member_count
	opPermission                // sender_notification_permission
	opTypeIs                    // event_match of the type with a literal pattern, the most frequent of all
	opUserInMentions            // is_user_mention's condition, for the user at hand
	opUserIsStateKey            // invite_for_me's condition, for the user at hand
	opUserNamedInBody           // contains_user_name's pattern, for the user at hand
)

// aboutUser says whether the condition asks for the user, so that its answer differs from user to user.
func (o op) aboutUser() bool {
	return o == opDisplayName || o == opUserInMentions || o == opUserIsStateKey || o == opUserNamedInBody
}

// condition is one condition, compiled.
type condition struct {
	op      op
	key     string   // the dot-separated path, which names the property in the event's cache
	path    []string // the same, split
	glob    glob     // opMatch
	text    string   // opTypeIs; opIs and opContains where the value is a string
	value   []byte   // opIs, opContains: the value as canonical JSON where it is not a string
	isText  bool     // text holds the value
	compare string   // opMemberCount: ==, <, >, <=, >=
	count   int64    // opMemberCount
}

// wireCondition is a condition as clients write it.
type wireCondition struct {
	Kind    string           `json:"kind"`
	Key     *string          `json:"key"`
	Pattern *string          `json:"pattern"`
	Is      *string          `json:"is"`
	Value   *json.RawMessage `json:"value"`
}

// checkCondition refuses what could never be meant. Unknown kinds are kept: another client may know them, and the
// specification says that they match nothing.
func checkCondition(raw json.RawMessage) error {
	if raw = bytes.TrimSpace(raw); len(raw) == 0 || raw[0] != '{' {
		return mxerr.InvalidParam("A condition is not an object")
	}
	var w wireCondition
	if err := json.Unmarshal(raw, &w); err != nil || w.Kind == "" {
		return mxerr.InvalidParam("Bad condition")
	}
	if w.Pattern != nil && len(*w.Pattern) > maxPattern {
		return mxerr.InvalidParam("The pattern is too long")
	}
	known := map[string]bool{"event_match": true, "event_property_is": true, "event_property_contains": true,
		"contains_display_name": true, "room_member_count": true, "sender_notification_permission": true}
	if known[w.Kind] && compileWire(w).op == opNever {
		return mxerr.InvalidParam("A %s condition is incomplete", w.Kind)
	}
	return nil
}

// compileCondition turns what is not understood into a condition that never matches.
func compileCondition(raw json.RawMessage) condition {
	var w wireCondition
	if json.Unmarshal(raw, &w) != nil {
		return condition{}
	}
	return compileWire(w)
}

func compileWire(w wireCondition) condition {
	var c condition
	if w.Key != nil {
		c.key, c.path = *w.Key, splitPath(*w.Key)
	}
	switch {
	case w.Kind == "event_match" && w.Key != nil && w.Pattern != nil:
		c.op, c.glob = opMatch, compileGlob(*w.Pattern)
		if c.key == "type" && c.glob.plain {
			c.op, c.text = opTypeIs, c.glob.exact
		}
	case w.Kind == "event_property_is" && w.Key != nil && c.literal(w.Value):
		c.op = opIs
	case w.Kind == "event_property_contains" && w.Key != nil && c.literal(w.Value):
		c.op = opContains
	case w.Kind == "contains_display_name":
		c.op = opDisplayName
	case w.Kind == "room_member_count" && w.Is != nil && c.comparison(*w.Is):
		c.op = opMemberCount
	case w.Kind == "sender_notification_permission" && w.Key != nil:
		c.op = opPermission
	}
	return c
}

// literal takes a value to compare with: a string, an integer, a boolean or null.
func (c *condition) literal(value *json.RawMessage) bool {
	if value == nil {
		c.value = []byte("null") // encoding/json gives no pointer for a null
		return true
	}
	raw := bytes.TrimSpace(*value)
	switch {
	case len(raw) == 0 || raw[0] == '{' || raw[0] == '[':
		return false
	case raw[0] == '"':
		c.isText = true
		return json.Unmarshal(raw, &c.text) == nil
	case raw[0] == '-' || '0' <= raw[0] && raw[0] <= '9':
		n, err := strconv.ParseInt(string(raw), 10, 64)
		c.value = strconv.AppendInt(nil, n, 10)
		return err == nil
	}
	c.value = raw
	return true
}

// comparison reads "2", "==2", "<10", ">=3".
func (c *condition) comparison(is string) bool {
	digits := strings.TrimLeft(is, "=<>")
	c.compare = is[:len(is)-len(digits)]
	if c.compare == "" {
		c.compare = "=="
	}
	n, err := strconv.ParseUint(digits, 10, 31)
	c.count = int64(n)
	switch c.compare {
	case "==", "<", ">", "<=", ">=":
		return err == nil
	}
	return false
}

// splitPath takes a dot-separated property path apart. Appendices #dot-separated-property-paths
func splitPath(key string) []string {
	var path []string
	var part strings.Builder
	for i := 0; i < len(key); i++ {
		switch {
		case key[i] == '\\' && i+1 < len(key) && (key[i+1] == '.' || key[i+1] == '\\'):
			i++
			part.WriteByte(key[i])
		case key[i] == '.':
			path = append(path, part.String())
			part.Reset()
		default:
			part.WriteByte(key[i])
		}
	}
	return append(path, part.String())
}
