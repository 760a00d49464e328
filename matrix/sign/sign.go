// Package sign makes and checks Ed25519 signatures the way Matrix wants them: on JSON objects, on federation requests
// and in the documents by which servers publish their keys. It fetches nothing and knows no time; keys and the hour are
// handed in. Values are not changed once made, except a Batch, which belongs to one goroutine.
//
// Appendices v1.16 #signing-json
package sign

import (
	"crypto/ed25519"
	"errors"
	"io"

	"konsil/matrix/id"
)

// Key is a private signing key and the ID under which its public half is published.
type Key struct {
	ID      id.KeyID
	Private ed25519.PrivateKey
}

var (
	// ErrUnsigned says that the signature asked for is not there.
	ErrUnsigned = errors.New("no such signature")
	// ErrForged says that a signature does not fit.
	ErrForged = errors.New("signature does not match")
)

// NewKey draws a key and a version for it.
func NewKey(rand io.Reader) (Key, error) { return Key{}, errors.New("coming") }

// ParseKey reads a key file: one line "ed25519 version base64seed", the format that other homeservers use as well.
func ParseKey(file []byte) (Key, error) { return Key{}, errors.New("coming") }

// Format writes the key file that ParseKey reads.
func (k Key) Format() []byte { return nil }

// Public is the half to publish.
func (k Key) Public() ed25519.PublicKey { return k.Private.Public().(ed25519.PublicKey) }

// Verify is the one rule for signatures in Konsil: what a Batch accepts, it accepts, and the other way round.
func Verify(pub ed25519.PublicKey, message, sig []byte) bool { return false }

// JSON signs an object for an entity (a server name or a user ID) and returns it in canonical form with the signature added.
func JSON(obj []byte, entity string, key Key) ([]byte, error) { return nil, errors.New("coming") }

// VerifyJSON checks one signature of an object. Appendices v1.16 #checking-for-a-signature
func VerifyJSON(obj []byte, entity string, keyID id.KeyID, pub ed25519.PublicKey) error {
	return ErrUnsigned
}

// Signature finds the bytes of a signature of an object.
func Signature(obj []byte, entity string, keyID id.KeyID) ([]byte, bool) { return nil, false }

// KeyIDs lists the keys with which an entity has signed an object.
func KeyIDs(obj []byte, entity string) []id.KeyID { return nil }

// ParsePublic decodes an unpadded (or padded) base64 public key, and refuses those that sign anything.
func ParsePublic(b64 string) (ed25519.PublicKey, error) { return nil, errors.New("coming") }
