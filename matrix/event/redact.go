package event

import (
	"konsil/matrix/canonical"
	"konsil/matrix/roomver"
)

// Redact returns the event without all that its version's redaction rules do not keep. Its ID and signatures stay good.
// CS v1.16 #redactions, RV 11 #redactions
func (p *PDU) Redact() *PDU {
	json := appendRedacted(make([]byte, 0, len(p.JSON)), p.JSON, p.Type, p.Version, true)
	r := *p
	r.JSON = json
	r.refresh()
	return &r
}

// refresh finds again what lies inside of JSON, after that was replaced by a form of the same event.
func (p *PDU) refresh() {
	f := find(p.JSON)
	p.Content = f.content
	p.membership, p.Redacts = "", ""
	p.readContent(f)
}

// appendRedacted appends the redacted form of an event. Order is kept, so canonical JSON stays canonical.
func appendRedacted(dst, json []byte, typ string, v *roomver.Version, signatures bool) []byte {
	dst = append(dst, '{')
	from := len(dst)
	members := canonical.Members(json)
	for key, value, ok := members.Next(); ok; key, value, ok = members.Next() {
		if !keepsTopLevel(key, v) || !signatures && string(key) == "signatures" {
			continue
		}
		dst = appendKey(dst, from, key)
		if string(key) == "content" {
			dst = appendRedactedContent(dst, value, typ, v)
		} else {
			dst = append(dst, value...)
		}
	}
	return append(dst, '}')
}

// appendKey appends a raw key with its colon, and a comma unless it is the first since from.
func appendKey(dst []byte, from int, key []byte) []byte {
	if len(dst) > from {
		dst = append(dst, ',')
	}
	dst = append(dst, '"')
	dst = append(dst, key...)
	return append(dst, '"', ':')
}

// keepsTopLevel is the first list of the redaction algorithm. RV 1 #redactions, RV 11 #redactions
func keepsTopLevel(key []byte, v *roomver.Version) bool {
	switch string(key) {
	case "event_id", "type", "room_id", "sender", "state_key", "content", "hashes", "signatures", "depth",
		"prev_events", "auth_events", "origin_server_ts":
		return true
	case "origin", "membership", "prev_state":
		return v.KeepOrigin
	}
	return false
}

// appendRedactedContent is the second list.
func appendRedactedContent(dst, content []byte, typ string, v *roomver.Version) []byte {
	if !canonical.IsObject(content) {
		return append(dst, "{}"...)
	}
	if typ == TypeCreate && v.KeepCreateContent {
		return append(dst, content...)
	}
	dst = append(dst, '{')
	from := len(dst)
	members := canonical.Members(content)
	for key, value, ok := members.Next(); ok; key, value, ok = members.Next() {
		switch {
		case keepsContent(key, typ, v):
			dst = appendKey(dst, from, key)
			dst = append(dst, value...)
		case typ == TypeMember && v.KeepThirdPartySigned && string(key) == "third_party_invite" && canonical.IsObject(value):
			dst = appendKey(dst, from, key)
			dst = appendSigned(dst, value)
		}
	}
	return append(dst, '}')
}

// appendSigned keeps of a third_party_invite what proves it. RV 11 #redactions
func appendSigned(dst, invite []byte) []byte {
	signed, found := canonical.Get(invite, "signed")
	if !found {
		return append(dst, "{}"...)
	}
	dst = append(dst, `{"signed":`...)
	dst = append(dst, signed...)
	return append(dst, '}')
}

// keepsContent says which keys of content stay, by type and version. RV 1, 6, 8, 9, 11 #redactions
func keepsContent(key []byte, typ string, v *roomver.Version) bool {
	switch typ {
	case TypeMember:
		switch string(key) {
		case "membership":
			return true
		case "join_authorised_via_users_server":
			return v.KeepAuthorisedVia
		}
	case TypeCreate:
		return string(key) == "creator"
	case TypeJoinRules:
		switch string(key) {
		case "join_rule":
			return true
		case "allow":
			return v.KeepAllow
		}
	case TypePowerLevels:
		switch string(key) {
		case "ban", "events", "events_default", "kick", "redact", "state_default", "users", "users_default":
			return true
		case "invite":
			return v.KeepInviteLevel
		}
	case TypeAliases:
		return v.KeepAliases && string(key) == "aliases"
	case TypeHistoryVisibility:
		return string(key) == "history_visibility"
	case TypeRedaction:
		return v.KeepRedacts && string(key) == "redacts"
	}
	return false
}
