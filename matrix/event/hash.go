package event

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"

	"konsil/matrix/canonical"
	"konsil/matrix/id"
	"konsil/matrix/roomver"
	"konsil/matrix/sign"
)

// HashMatches reports whether the content hash is that of the event; if not, someone has redacted or changed it.
// SS v1.16 #calculating-the-content-hash-for-an-event
func (p *PDU) HashMatches() bool {
	text, ok := canonical.GetString(p.JSON, "hashes", "sha256")
	if !ok {
		return false
	}
	claimed, err := sign.DecodeBase64(text)
	if err != nil {
		return false
	}
	actual := contentHash(p.JSON, p.Version)
	return bytes.Equal(claimed, actual[:])
}

// contentHash covers all of an event but hashes, signatures and unsigned. Events of the first years may carry three more
// keys that servers noted for themselves and did not hash.
func contentHash(json []byte, v *roomver.Version) (sum [sha256.Size]byte) {
	withScratch(func(buf []byte) []byte {
		if v.HashedEventIDs() {
			buf = canonical.AppendWithout(buf, json, "hashes", "signatures", "unsigned")
		} else {
			buf = canonical.AppendWithout(buf, json, "hashes", "signatures", "unsigned", "age_ts", "outlier", "destinations")
		}
		sum = sha256.Sum256(buf)
		return buf
	})
	return sum
}

// referenceHash covers what signatures cover: the redacted event without them.
// SS v1.16 #calculating-the-reference-hash-for-an-event
func (p *PDU) referenceHash() (sum [sha256.Size]byte) {
	withScratch(func(buf []byte) []byte {
		buf = p.AppendSigned(buf)
		sum = sha256.Sum256(buf)
		return buf
	})
	return sum
}

// ReferenceHash is the hash of the redacted event in unpadded base64, as prev_events of versions 1 and 2 carry it.
func (p *PDU) ReferenceHash() string {
	sum := p.referenceHash()
	return sign.EncodeBase64(sum[:])
}

// hashedID is the ID of an event from version 3 on. RV 3 #event-ids, RV 4 #event-ids
func (p *PDU) hashedID() id.EventID {
	encoding := base64.RawURLEncoding
	if p.Version.EventIDs == roomver.EventIDBase64 {
		encoding = base64.RawStdEncoding
	}
	sum := p.referenceHash()
	var text [1 + 43]byte
	text[0] = '$'
	encoding.Encode(text[1:], sum[:])
	return id.EventID(text[:])
}
