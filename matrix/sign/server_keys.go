package sign

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"konsil/matrix/canonical"
	"konsil/matrix/id"
)

// MaxValidity is how long a key document is believed after it was fetched, whatever it says of itself: a server must be
// able to take a key back. RV 5 #signing-key-validity-period
const MaxValidity = 7 * 24 * time.Hour

// maxKeys bounds the keys of one document, which costs a curve operation each.
const maxKeys = 64

// ServerKeys is what a server publishes about its keys. SS v1.16 #publishing-keys
type ServerKeys struct {
	Server     id.ServerName
	Verify     map[id.KeyID]ed25519.PublicKey // may sign requests and events
	Old        map[id.KeyID]OldKey            // have signed events
	ValidUntil int64                          // ms; as published, not yet cut by MaxValidity
	JSON       []byte                         // the signed document in canonical form
}

// OldKey is a key no longer used.
type OldKey struct {
	Public  ed25519.PublicKey
	Expired int64 // ms
}

// ErrServerKeys is wrapped by errors about key documents of the wrong shape.
var ErrServerKeys = errors.New("not a server key document")

// BuildServerKeys makes our document, signed with each of the keys in use.
func BuildServerKeys(server id.ServerName, keys []Key, old map[id.KeyID]OldKey, validUntil time.Time) (*ServerKeys, error) {
	k := &ServerKeys{Server: server, Verify: map[id.KeyID]ed25519.PublicKey{}, Old: maps.Clone(old), ValidUntil: validUntil.UnixMilli()}
	for _, key := range keys {
		k.Verify[key.ID] = key.Public()
	}
	doc := k.appendUnsigned(nil)
	for _, key := range keys {
		var err error
		if doc, err = JSON(doc, string(server), key); err != nil {
			return nil, fmt.Errorf("build server keys: %w", err)
		}
	}
	k.JSON = doc
	return k, nil
}

func (k *ServerKeys) appendUnsigned(dst []byte) []byte {
	dst = append(dst, `{"old_verify_keys":{`...)
	for i, keyID := range slices.Sorted(maps.Keys(k.Old)) {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = canonical.AppendString(dst, keyID)
		dst = append(dst, `:{"expired_ts":`...)
		dst = strconv.AppendInt(dst, k.Old[keyID].Expired, 10)
		dst = append(dst, `,"key":"`+EncodeBase64(k.Old[keyID].Public)+`"}`...)
	}
	dst = append(dst, `},"server_name":`...)
	dst = canonical.AppendString(dst, k.Server)
	dst = append(dst, `,"valid_until_ts":`...)
	dst = strconv.AppendInt(dst, k.ValidUntil, 10)
	dst = append(dst, `,"verify_keys":{`...)
	for i, keyID := range slices.Sorted(maps.Keys(k.Verify)) {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = canonical.AppendString(dst, keyID)
		dst = append(dst, `:{"key":"`+EncodeBase64(k.Verify[keyID])+`"}`...)
	}
	return append(dst, "}}"...)
}

// ParseServerKeys reads a document of another server and checks that the server has signed it, with at least one of its
// keys, and with none of them wrongly. Whether it is the server one asked about is for the caller to compare. A7
func ParseServerKeys(raw []byte) (*ServerKeys, error) {
	doc, err := canonicalObject(raw)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrServerKeys, err)
	}
	k := &ServerKeys{JSON: doc, Verify: map[id.KeyID]ed25519.PublicKey{}, Old: map[id.KeyID]OldKey{}}
	name, _ := canonical.GetString(doc, "server_name")
	if k.Server, err = id.ParseServerName(name); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrServerKeys, err)
	}
	var ok bool
	if k.ValidUntil, ok = canonical.GetInt(doc, "valid_until_ts"); !ok {
		return nil, fmt.Errorf("%w: no valid_until_ts", ErrServerKeys)
	}
	if err := k.readKeys(doc); err != nil {
		return nil, err
	}
	if err := k.verifySelf(); err != nil {
		return nil, err
	}
	return k, nil
}

// readKeys reads verify_keys and old_verify_keys. Keys of other algorithms and keys that are none are left out: one of
// them does not spoil the others.
func (k *ServerKeys) readKeys(doc []byte) error {
	count := 0
	read := func(field string, take func(keyID id.KeyID, pub ed25519.PublicKey, entry []byte)) error {
		list, found := canonical.Get(doc, field)
		if !found {
			return nil
		}
		return canonical.Object(list, func(name string, entry []byte) error {
			if count++; count > maxKeys {
				return fmt.Errorf("%w: more than %d keys", ErrServerKeys, maxKeys)
			}
			keyID, err := id.ParseKeyID(name)
			if err != nil || keyID.Algorithm() != Algorithm {
				return nil
			}
			text, _ := canonical.GetString(entry, "key")
			if pub, err := ParsePublic(text); err == nil {
				take(keyID, pub, entry)
			}
			return nil
		})
	}
	err := read("verify_keys", func(keyID id.KeyID, pub ed25519.PublicKey, _ []byte) { k.Verify[keyID] = pub })
	if err != nil {
		return fmt.Errorf("%w: %w", ErrServerKeys, err)
	}
	err = read("old_verify_keys", func(keyID id.KeyID, pub ed25519.PublicKey, entry []byte) {
		if expired, ok := canonical.GetInt(entry, "expired_ts"); ok {
			k.Old[keyID] = OldKey{pub, expired}
		}
	})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrServerKeys, err)
	}
	return nil
}

func (k *ServerKeys) verifySelf() error {
	signed := false
	for _, keyID := range KeyIDs(k.JSON, string(k.Server)) {
		pub, listed := k.Verify[keyID]
		if !listed {
			continue // signed with a key it does not use any more, or with one we do not understand
		}
		if err := verifyCanonical(k.JSON, string(k.Server), keyID, pub); err != nil {
			return fmt.Errorf("server keys: %w", err)
		}
		signed = true
	}
	if !signed {
		return fmt.Errorf("server keys: %w", ErrUnsigned)
	}
	return nil
}

// CoSign adds a notary's signature and returns the document. SS v1.16 #querying-keys-through-another-server
func (k *ServerKeys) CoSign(notary id.ServerName, key Key) ([]byte, error) {
	return JSON(k.JSON, string(notary), key)
}

// ValidTo is when the keys in use stop being believed. fetched is when their server handed the document out.
func (k *ServerKeys) ValidTo(fetched time.Time) time.Time {
	limit := fetched.Add(MaxValidity)
	if until := time.UnixMilli(k.ValidUntil); until.Before(limit) {
		return until
	}
	return limit
}

// ForEvent finds the key for an event of that time; enforce is the room version's EnforceKeyValidity. A key in use must
// have been valid at that time if the version asks for it; an old key must not have expired before, in any version.
// RV 5 #signing-key-validity-period, SS v1.16 #validating-hashes-and-signatures-on-received-events
func (k *ServerKeys) ForEvent(key id.KeyID, originServerTS int64, fetched time.Time, enforce bool) (ed25519.PublicKey, bool) {
	if pub, ok := k.Verify[key]; ok {
		return pub, !enforce || originServerTS <= k.ValidTo(fetched).UnixMilli()
	}
	if old, ok := k.Old[key]; ok {
		return old.Public, originServerTS <= old.Expired
	}
	return nil, false
}

// ForRequest finds the key for a request that arrives now. Old keys sign no requests. SS v1.16 #publishing-keys
func (k *ServerKeys) ForRequest(key id.KeyID, now, fetched time.Time) (ed25519.PublicKey, bool) {
	pub, ok := k.Verify[key]
	return pub, ok && !now.After(k.ValidTo(fetched))
}
