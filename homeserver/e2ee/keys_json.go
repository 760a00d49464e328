package e2ee

import (
	"bytes"
	"crypto/ed25519"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"konsil/matrix/canonical"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
	"konsil/matrix/sign"
)

// Limits on what is kept for others to fetch. A device's keys are about 600 bytes, a one-time key 250.
const (
	maxDeviceKeys   = 16 << 10
	maxOneTimeKey   = 4 << 10
	maxOneTimeKeys  = 500 // in one upload
	maxKeysOfDevice = 2000
)

// signatures are the signatures of an object: user → key → signature.
type signatures map[string]map[string]string

// parseDeviceKeys checks the identity keys of a device and gives them in canonical form, without "unsigned". It takes any
// algorithms and keys that have the right shape: what they are good for is the clients' affair. CS v1.16 #device-keys
func parseDeviceKeys(raw []byte, user id.UserID, device id.DeviceID) ([]byte, error) {
	if len(raw) > maxDeviceKeys {
		return nil, mxerr.BadJSON("device_keys are larger than %d bytes", maxDeviceKeys)
	}
	keys, err := canonicalObject(raw)
	if err != nil {
		return nil, mxerr.BadJSON("device_keys are no JSON object")
	}
	if who, ok := canonical.GetString(keys, "user_id"); !ok || id.UserID(who) != user {
		return nil, mxerr.InvalidParam("device_keys name another user")
	}
	if which, ok := canonical.GetString(keys, "device_id"); !ok || id.DeviceID(which) != device {
		return nil, mxerr.InvalidParam("device_keys name another device")
	}
	algorithms, ok := canonical.Get(keys, "algorithms")
	if !ok || canonical.Array(algorithms, isString) != nil {
		return nil, mxerr.BadJSON("algorithms are no list of strings")
	}
	public, ok := canonical.Get(keys, "keys")
	if !ok || canonical.Object(public, func(_ string, value []byte) error { return isString(value) }) != nil {
		return nil, mxerr.BadJSON("keys are no map of strings")
	}
	if _, err := parseSignatures(keys, true); err != nil {
		return nil, err
	}
	return without(keys, "unsigned"), nil
}

// canonicalObject gives a JSON object in canonical form.
func canonicalObject(raw []byte) ([]byte, error) {
	obj, err := canonical.Append(nil, raw, canonical.Lenient)
	if err == nil && !canonical.IsObject(obj) {
		err = canonical.ErrValue
	}
	return obj, err
}

func isString(value []byte) error {
	if !canonical.IsString(value) {
		return canonical.ErrValue
	}
	return nil
}

// parseSignatures reads the signatures of a canonical object.
func parseSignatures(obj []byte, required bool) (signatures, error) {
	sigs := signatures{}
	raw, ok := canonical.Get(obj, "signatures")
	if !ok {
		if required {
			return nil, mxerr.BadJSON("signatures are missing")
		}
		return sigs, nil
	}
	err := canonical.Object(raw, func(user string, byKey []byte) error {
		sigs[user] = map[string]string{}
		return canonical.Object(byKey, func(key string, value []byte) error {
			sig, ok := canonical.String(value)
			if !ok {
				return canonical.ErrValue
			}
			sigs[user][key] = sig
			return nil
		})
	})
	if err != nil {
		return nil, mxerr.BadJSON("signatures are no map of maps of strings")
	}
	return sigs, nil
}

// member is a key of an object with its value, as the raw text.
type member struct{ key, value []byte }

// members takes a canonical object apart, without the keys given.
func members(obj []byte, drop ...string) []member {
	var all []member
	for c := canonical.Members(obj); ; {
		key, value, ok := c.Next()
		if !ok {
			return all
		}
		if !slices.ContainsFunc(drop, func(d string) bool { return canonical.KeyIs(key, d) }) {
			all = append(all, member{key, value})
		}
	}
}

func object(all []member) []byte {
	b := []byte{'{'}
	for i, m := range all {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(append(append(b, '"'), m.key...), `":`...), m.value...)
	}
	return append(b, '}')
}

// without gives a canonical object without some of its keys.
func without(obj []byte, drop ...string) []byte { return object(members(obj, drop...)) }

// withSignatures gives a canonical object with these signatures in place of its own.
func withSignatures(obj []byte, sigs signatures) []byte {
	all := append(members(obj, "signatures"), member{[]byte("signatures"), sigs.json()})
	slices.SortFunc(all, func(a, b member) int { return bytes.Compare(a.key, b.key) })
	return object(all)
}

func (s signatures) json() []byte {
	b := []byte{'{'}
	for i, user := range slices.Sorted(maps.Keys(s)) {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(canonical.AppendString(b, user), `:{`...)
		for j, key := range slices.Sorted(maps.Keys(s[user])) {
			if j > 0 {
				b = append(b, ',')
			}
			b = append(canonical.AppendString(b, key), ':')
			b = canonical.AppendString(b, s[user][key])
		}
		b = append(b, '}')
	}
	return append(b, '}')
}

// add puts more signatures to these, in the place of older ones by the same keys.
func (s signatures) add(more signatures) {
	for user, byKey := range more {
		for key, sig := range byKey {
			if s[user] == nil {
				s[user] = map[string]string{}
			}
			s[user][key] = sig
		}
	}
}

// merge gives the newer of two forms of the same keys with the signatures of both, and reports whether anything but
// signatures differs. What other keys have signed since the first upload must outlive a repetition of it.
func merge(older, newer []byte) (merged []byte, differs bool, err error) {
	if !bytes.Equal(without(older, "signatures"), without(newer, "signatures")) {
		return newer, true, nil
	}
	sigs, err := parseSignatures(older, false)
	if err != nil {
		return nil, false, err
	}
	more, err := parseSignatures(newer, false)
	if err != nil {
		return nil, false, err
	}
	sigs.add(more)
	return withSignatures(newer, sigs), false, nil
}

// deviceEd25519 finds the signing key of a device in its identity keys.
func deviceEd25519(keys []byte, device id.DeviceID) (id.KeyID, ed25519.PublicKey, bool) {
	keyID := id.KeyID("ed25519:" + string(device))
	b64, ok := canonical.GetString(keys, "keys", string(keyID))
	if !ok {
		return "", nil, false
	}
	public, err := sign.ParsePublic(b64)
	return keyID, public, err == nil
}

// checkSelfSigned checks the device's own signature of its identity keys. Some clients of test suites leave it out, and
// clients that receive keys without it ignore them; but a wrong one is refused.
func checkSelfSigned(keys []byte, user id.UserID, device id.DeviceID) error {
	keyID := id.KeyID("ed25519:" + string(device))
	if _, ok := canonical.GetString(keys, "signatures", string(user), string(keyID)); !ok {
		return nil
	}
	_, public, ok := deviceEd25519(keys, device)
	if !ok || sign.VerifyJSON(keys, string(user), keyID, public) != nil {
		return mxerr.InvalidSignature("the signature of the device's keys does not match")
	}
	return nil
}

// storable reports whether both engines keep a text as it is.
func storable(s string) bool { return utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 }

// splitKeyID takes "algorithm:id" of one-time and fallback keys apart.
func splitKeyID(s string) (algorithm, name string, err error) {
	algorithm, name, ok := strings.Cut(s, ":")
	if !ok || algorithm == "" || name == "" || len(s) > id.MaxLength || !storable(s) {
		return "", "", mxerr.BadJSON("a key's name is not algorithm:id")
	}
	return algorithm, name, nil
}

// parseOneTimeKey checks a one-time or fallback key, which is an object with a key, or the key itself.
// CS v1.16 #one-time-and-fallback-keys
func parseOneTimeKey(raw []byte) ([]byte, error) {
	if len(raw) > maxOneTimeKey {
		return nil, mxerr.BadJSON("a one-time key is larger than %d bytes", maxOneTimeKey)
	}
	key, err := canonical.Append(nil, raw, canonical.Lenient)
	if err != nil {
		return nil, mxerr.BadJSON("a one-time key is no JSON")
	}
	if canonical.IsString(key) {
		return key, nil
	}
	if _, ok := canonical.GetString(key, "key"); !ok {
		return nil, mxerr.BadJSON("a one-time key is neither a string nor an object with a key")
	}
	if _, err := parseSignatures(key, false); err != nil {
		return nil, err
	}
	return key, nil
}
