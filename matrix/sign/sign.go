// Package sign makes and checks Ed25519 signatures the way Matrix wants them: on JSON objects, on federation requests
// and on the documents by which servers publish their keys. It fetches nothing and knows no time; keys and the hour are
// handed in. Values are not changed once made, except a Batch, which belongs to one goroutine.
//
// Appendices v1.16 #signing-json
package sign

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"filippo.io/edwards25519"
	"github.com/hdevalence/ed25519consensus"

	"konsil/matrix/canonical"
	"konsil/matrix/id"
)

// Algorithm is the one signature algorithm Matrix knows.
const Algorithm = "ed25519"

var (
	// ErrUnsigned says that the signature asked for is not there.
	ErrUnsigned = errors.New("no such signature")
	// ErrForged says that a signature does not fit.
	ErrForged = errors.New("signature does not match")
	// ErrKey is wrapped by errors about keys that are none.
	ErrKey = errors.New("not a usable key")
)

// Verify is the one rule for signatures in Konsil: ZIP 215, which single and batched checks can both keep. A server
// that checked one event alone and again in a batch, by another rule, could contradict itself.
func Verify(pub ed25519.PublicKey, message, sig []byte) bool {
	return len(pub) == ed25519.PublicKeySize && ed25519consensus.Verify(pub, message, sig)
}

// JSON signs an object for an entity (a server name or a user ID) and returns it in canonical form with the signature
// added. Appendices v1.16 #signing-details
func JSON(obj []byte, entity string, key Key) ([]byte, error) {
	doc, err := canonicalObject(obj)
	if err != nil {
		return nil, fmt.Errorf("sign JSON: %w", err)
	}
	signatures, _ := canonical.Get(doc, "signatures")
	signed := appendSigned(nil, doc)
	signatures = AppendSignature(nil, signatures, entity, key.ID, ed25519.Sign(key.Private, signed))

	out := make([]byte, 0, len(doc)+len(signatures)+16)
	out = append(out, `{"signatures":`...)
	out = append(out, signatures...)
	members := canonical.Members(doc)
	for name, value, ok := members.Next(); ok; name, value, ok = members.Next() {
		if !canonical.KeyIs(name, "signatures") {
			out = appendMember(out, name, value)
		}
	}
	out = append(out, '}')
	return canonical.Append(nil, out, canonical.Lenient)
}

// VerifyJSON checks one signature of an object. Appendices v1.16 #checking-for-a-signature
func VerifyJSON(obj []byte, entity string, keyID id.KeyID, pub ed25519.PublicKey) error {
	doc, err := canonicalObject(obj)
	if err != nil {
		return fmt.Errorf("verify JSON: %w", err)
	}
	return verifyCanonical(doc, entity, keyID, pub)
}

func verifyCanonical(doc []byte, entity string, keyID id.KeyID, pub ed25519.PublicKey) error {
	sig, ok := Signature(doc, entity, keyID)
	if !ok {
		return ErrUnsigned
	}
	if !Verify(pub, appendSigned(nil, doc), sig) {
		return ErrForged
	}
	return nil
}

// Signature finds the bytes of a signature of an object, which has passed canonical.Append.
func Signature(obj []byte, entity string, keyID id.KeyID) ([]byte, bool) {
	if keyID.Algorithm() != Algorithm {
		return nil, false
	}
	text, ok := canonical.GetString(obj, "signatures", entity, string(keyID))
	if !ok {
		return nil, false
	}
	sig, err := DecodeBase64(text)
	return sig, err == nil && len(sig) == ed25519.SignatureSize
}

// KeyIDs lists the keys with which an entity has signed an object, as far as their algorithm is known here.
func KeyIDs(obj []byte, entity string) []id.KeyID {
	of, ok := canonical.Get(obj, "signatures", entity)
	if !ok {
		return nil
	}
	var keys []id.KeyID
	_ = canonical.Object(of, func(key string, _ []byte) error {
		if keyID, err := id.ParseKeyID(key); err == nil && keyID.Algorithm() == Algorithm {
			keys = append(keys, keyID)
		}
		return nil
	})
	return keys
}

// Entities lists who has signed an object.
func Entities(obj []byte) []string {
	all, ok := canonical.Get(obj, "signatures")
	if !ok {
		return nil
	}
	var names []string
	_ = canonical.Object(all, func(name string, _ []byte) error {
		names = append(names, name)
		return nil
	})
	return names
}

// AppendSignature appends a signatures object in canonical form: what signatures holds (an object in canonical form, or
// nothing) and one signature more. Members that are no objects are dropped.
func AppendSignature(dst, signatures []byte, entity string, keyID id.KeyID, sig []byte) []byte {
	rest := []byte{'{'}
	own := []byte{'{'}
	all := canonical.Members(signatures)
	for name, value, ok := all.Next(); ok; name, value, ok = all.Next() {
		switch {
		case !canonical.IsObject(value):
		case canonical.KeyIs(name, entity):
			own = append(own, value[1:len(value)-1]...)
		default:
			if len(rest) > 1 {
				rest = append(rest, ',')
			}
			rest = append(rest, '"')
			rest = append(rest, name...)
			rest = append(rest, `":`...)
			rest = append(rest, value...)
		}
	}
	if len(own) > 1 {
		own = append(own, ',')
	}
	own = canonical.AppendString(own, keyID)
	own = append(own, ':', '"')
	own = base64.RawStdEncoding.AppendEncode(own, sig)
	own = append(own, '"', '}')
	if len(rest) > 1 {
		rest = append(rest, ',')
	}
	rest = canonical.AppendString(rest, entity)
	rest = append(rest, ':')
	rest = append(rest, own...)
	rest = append(rest, '}')
	out, err := canonical.Append(dst, rest, canonical.Lenient) // sorts, and the new signature wins over an old one of its name
	if err != nil {
		panic(err) // it was put together from canonical parts
	}
	return out
}

// canonicalObject brings an object into canonical form. It is lenient: requests carry events of old room versions, with
// numbers that canonical JSON does not know. Who signs and who reads both take the last of duplicate keys. MSC4458
func canonicalObject(obj []byte) ([]byte, error) {
	doc, err := canonical.Append(nil, obj, canonical.Lenient)
	if err != nil {
		return nil, err
	}
	if !canonical.IsObject(doc) {
		return nil, fmt.Errorf("no object: %w", canonical.ErrSyntax)
	}
	return doc, nil
}

// appendSigned appends what a signature of doc is made over: doc without signatures and unsigned.
func appendSigned(dst, doc []byte) []byte {
	dst = append(dst, '{')
	members := canonical.Members(doc)
	empty := true
	for name, value, ok := members.Next(); ok; name, value, ok = members.Next() {
		if string(name) == "signatures" || string(name) == "unsigned" {
			continue
		}
		if empty {
			dst = append(dst, '"')
			dst = append(dst, name...)
			dst = append(dst, `":`...)
			dst = append(dst, value...)
			empty = false
			continue
		}
		dst = appendMember(dst, name, value)
	}
	return append(dst, '}')
}

// appendMember appends ,"name":value with a name that is escaped already.
func appendMember(dst, name, value []byte) []byte {
	dst = append(dst, ',', '"')
	dst = append(dst, name...)
	dst = append(dst, `":`...)
	return append(dst, value...)
}

// EncodeBase64 writes unpadded base64. Appendices v1.16 #unpadded-base64
func EncodeBase64(b []byte) string { return base64.RawStdEncoding.EncodeToString(b) }

// DecodeBase64 reads base64 with or without padding.
func DecodeBase64(s string) ([]byte, error) {
	if strings.ContainsAny(s, "\r\n") { // the decoder would skip them
		return nil, base64.CorruptInputError(0)
	}
	return base64.RawStdEncoding.DecodeString(strings.TrimRight(s, "="))
}

// ParsePublic decodes a public key in base64. It refuses bytes that are no point of the curve, and the few keys of small
// order, for which anybody can make signatures that fit any message. A7
func ParsePublic(b64 string) (ed25519.PublicKey, error) {
	pub, err := DecodeBase64(b64)
	if err != nil || len(pub) != ed25519.PublicKeySize {
		return nil, fmt.Errorf("public key is not 32 bytes in base64: %w", ErrKey)
	}
	point, err := new(edwards25519.Point).SetBytes(pub)
	if err != nil {
		return nil, fmt.Errorf("public key is not on the curve: %w", ErrKey)
	}
	if new(edwards25519.Point).MultByCofactor(point).Equal(edwards25519.NewIdentityPoint()) == 1 {
		return nil, fmt.Errorf("public key has small order: %w", ErrKey)
	}
	return bytes.Clone(pub), nil
}
