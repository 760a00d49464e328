package sign

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"io"
	"strings"

	"konsil/matrix/id"
)

// Key is a private signing key and the ID under which its public half is published.
type Key struct {
	ID      id.KeyID
	Private ed25519.PrivateKey
}

// NewKey draws a key and a version for it. A version is never used twice, for others keep what they saw under it.
func NewKey(rand io.Reader) (Key, error) {
	var b [ed25519.SeedSize + 6]byte
	if _, err := io.ReadFull(rand, b[:]); err != nil {
		return Key{}, fmt.Errorf("new signing key: %w", err)
	}
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_a" // 64, so that no bit is lost
	version := []byte("k_")
	for _, c := range b[ed25519.SeedSize:] {
		version = append(version, letters[c&63])
	}
	return Key{
		ID:      id.KeyID(Algorithm + ":" + string(version)),
		Private: ed25519.NewKeyFromSeed(b[:ed25519.SeedSize]),
	}, nil
}

// ParseKey reads a key file: one line "ed25519 version seed", the seed in base64. Other homeservers keep theirs in the
// same form, so that a server name can move to Konsil with its key.
func ParseKey(file []byte) (Key, error) {
	lines := bytes.Split(bytes.TrimSpace(file), []byte("\n"))
	fields := strings.Fields(string(lines[0]))
	if len(lines) != 1 || len(fields) != 3 || fields[0] != Algorithm {
		return Key{}, fmt.Errorf("key file is not one line of ed25519, version and seed: %w", ErrKey)
	}
	if !validVersion(fields[1]) {
		return Key{}, fmt.Errorf("key version: %w", ErrKey)
	}
	seed, err := DecodeBase64(fields[2])
	if err != nil || len(seed) != ed25519.SeedSize {
		return Key{}, fmt.Errorf("seed is not 32 bytes in base64: %w", ErrKey)
	}
	keyID, err := id.ParseKeyID(Algorithm + ":" + fields[1])
	if err != nil {
		return Key{}, fmt.Errorf("key version: %w: %w", ErrKey, err)
	}
	return Key{ID: keyID, Private: ed25519.NewKeyFromSeed(seed)}, nil
}

// validVersion keeps to the letters that servers may use for their keys. SS v1.16 #publishing-keys
func validVersion(s string) bool {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_':
		default:
			return false
		}
	}
	return s != ""
}

// Format writes the key file that ParseKey reads.
func (k Key) Format() []byte {
	return []byte(Algorithm + " " + k.ID.Identifier() + " " + EncodeBase64(k.Private.Seed()) + "\n")
}

// Public is the half to publish.
func (k Key) Public() ed25519.PublicKey { return k.Private.Public().(ed25519.PublicKey) }

// String names the key and keeps the private half out of logs.
func (k Key) String() string { return string(k.ID) }

// GoString is String: %#v must not show the private half either.
func (k Key) GoString() string { return string(k.ID) }
