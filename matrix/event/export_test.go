package event

import (
	"konsil/matrix/canonical"
	"konsil/matrix/id"
	"konsil/matrix/roomver"
	"konsil/matrix/sign"
)

// HashAndSign does for the specification's vectors, which lack fields an event needs, what Build does.
func HashAndSign(json []byte, v *roomver.Version, server id.ServerName, key sign.Key) []byte {
	hash := contentHash(json, v)
	json = canonical.AppendSet(nil, json, "hashes", []byte(`{"sha256":"`+sign.EncodeBase64(hash[:])+`"}`))
	typ, _ := canonical.GetString(json, "type")
	p := &PDU{Version: v, Type: typ, JSON: json}
	return p.Sign(server, key).JSON
}

// RedactJSON redacts any object.
func RedactJSON(json []byte, v *roomver.Version) []byte {
	typ, _ := canonical.GetString(json, "type")
	return appendRedacted(nil, json, typ, v, true)
}
