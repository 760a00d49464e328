package sign

import (
	"crypto/ed25519"
	"errors"
	"time"

	"konsil/matrix/id"
)

// ServerKeys is what a server publishes about its keys. SS v1.16 #publishing-keys
type ServerKeys struct {
	Server     id.ServerName
	Verify     map[id.KeyID]ed25519.PublicKey // may sign requests and events
	Old        map[id.KeyID]OldKey            // have signed events
	ValidUntil int64                          // ms; as published, not yet cut to seven days
	JSON       []byte                         // the signed document in canonical form
}

// OldKey is a key no longer used.
type OldKey struct {
	Public  ed25519.PublicKey
	Expired int64 // ms
}

// BuildServerKeys makes our document, signed with each of the keys in use.
func BuildServerKeys(server id.ServerName, keys []Key, old map[id.KeyID]OldKey, validUntil time.Time) (*ServerKeys, error) {
	return nil, errors.New("coming")
}

// ParseServerKeys reads a document of another server and checks that it has signed it itself.
func ParseServerKeys(raw []byte) (*ServerKeys, error) { return nil, errors.New("coming") }

// CoSign adds a notary's signature and returns the document. SS v1.16 #querying-keys-through-another-server
func (k *ServerKeys) CoSign(notary id.ServerName, key Key) ([]byte, error) {
	return JSON(k.JSON, string(notary), key)
}

// ForEvent finds the key for an event of that time; enforce is the room version's EnforceKeyValidity. fetched is when
// the document came from its server: validity ends seven days after it at the latest. RV 5 #signing-key-validity-period
func (k *ServerKeys) ForEvent(key id.KeyID, originServerTS int64, fetched time.Time, enforce bool) (ed25519.PublicKey, bool) {
	return nil, false
}

// ForRequest finds the key for a request that arrives now.
func (k *ServerKeys) ForRequest(key id.KeyID, now, fetched time.Time) (ed25519.PublicKey, bool) {
	return nil, false
}
