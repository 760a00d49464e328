package account

import (
	"context"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"io"
	"runtime"
	"strings"

	"golang.org/x/crypto/argon2"
)

// Cost is what one argon2id hash costs. RFC 9106 4
type Cost struct {
	Time   uint32 // passes
	Memory uint32 // KiB
}

// DefaultCost takes some 30 ms and 19 MiB; CheapCost next to nothing, for tests and test suites.
var (
	DefaultCost = Cost{Time: 2, Memory: 19 << 10}
	CheapCost   = Cost{Time: 1, Memory: 8}
)

const (
	saltLength = 16
	keyLength  = 32
)

// Hasher makes and checks password hashes. It runs few at a time: hashing is the one thing a stranger can make the server
// do at great cost, and it must not starve the rest.
type Hasher struct {
	cost  Cost
	slots chan struct{}
	decoy string // hash of nothing, for accounts that have none
}

// NewHasher makes a Hasher that uses at most half of the cores.
func NewHasher(cost Cost) *Hasher {
	return &Hasher{
		cost:  cost,
		slots: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2)),
		decoy: encodeHash(cost, make([]byte, saltLength), make([]byte, keyLength)),
	}
}

// Hash makes the hash of a password, in PHC form.
func (h *Hasher) Hash(ctx context.Context, rand io.Reader, password string) (string, error) {
	salt := make([]byte, saltLength)
	if _, err := io.ReadFull(rand, salt); err != nil {
		return "", fmt.Errorf("draw a salt: %w", err)
	}
	key, err := h.derive(ctx, password, h.cost, salt)
	if err != nil {
		return "", err
	}
	return encodeHash(h.cost, salt, key), nil
}

// Verify says whether a hash is that of the password. Without a hash it works as long and says no, so that nobody can
// tell from the time whether there is an account (B10).
func (h *Hasher) Verify(ctx context.Context, hash, password string) (bool, error) {
	known := hash != ""
	if !known {
		hash = h.decoy
	}
	cost, salt, want, err := decodeHash(hash)
	if err != nil {
		return false, err
	}
	got, err := h.derive(ctx, password, cost, salt)
	if err != nil {
		return false, err
	}
	return subtle.ConstantTimeCompare(got, want) == 1 && known, nil
}

func (h *Hasher) derive(ctx context.Context, password string, cost Cost, salt []byte) ([]byte, error) {
	select {
	case h.slots <- struct{}{}:
		defer func() { <-h.slots }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return argon2.IDKey([]byte(password), salt, cost.Time, cost.Memory, 1, keyLength), nil
}

func encodeHash(cost Cost, salt, key []byte) string {
	b64 := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=1$%s$%s",
		argon2.Version, cost.Memory, cost.Time, b64.EncodeToString(salt), b64.EncodeToString(key))
}

func decodeHash(s string) (cost Cost, salt, key []byte, err error) {
	parts := strings.Split(s, "$")
	if len(parts) != 6 || parts[1] != "argon2id" || parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return cost, nil, nil, fmt.Errorf("password hash of an unknown form")
	}
	if _, err = fmt.Sscanf(parts[3], "m=%d,t=%d,p=1", &cost.Memory, &cost.Time); err != nil {
		return cost, nil, nil, fmt.Errorf("read the cost of a password hash: %w", err)
	}
	if salt, err = base64.RawStdEncoding.DecodeString(parts[4]); err != nil {
		return cost, nil, nil, fmt.Errorf("read the salt of a password hash: %w", err)
	}
	if key, err = base64.RawStdEncoding.DecodeString(parts[5]); err != nil {
		return cost, nil, nil, fmt.Errorf("read a password hash: %w", err)
	}
	return cost, salt, key, nil
}
