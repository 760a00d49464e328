package account

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"konsil/homeserver/store"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
)

// Caller is who makes a request.
type Caller struct {
	User      id.UserID
	Device    id.DeviceID
	Admin     bool // of this domain
	Locked    bool // CS v1.16 #account-locking
	Suspended bool // CS v1.16 #account-suspension

	AppService *AppService // that acts for the user, nil for people; then Device may be ""

	session *session
}

// session is an access token in use.
type session struct {
	caller   Caller
	hash     tokenHash
	expires  int64       // ms; 0 means never
	unproven atomic.Bool // came from a refresh, was not used yet

	seen    atomic.Int64           // ms, last request
	written atomic.Int64           // the value of seen that the store knows
	from    atomic.Pointer[origin] // where the last request came from
}

type tokenHash = [sha256.Size]byte

// Authenticate says whose an access token is. A token that is unknown, ended or expired is refused with M_UNKNOWN_TOKEN; an
// expired one softly: the client keeps its device. CS v1.16 #soft-logout
func (k *Keeper) Authenticate(ctx context.Context, token string) (Caller, error) {
	hash := sha256.Sum256([]byte(token))
	s, ok := k.tokens.get(hash)
	if !ok {
		var err error
		if s, err = k.loadToken(ctx, hash); err != nil {
			return Caller{}, err
		}
	}
	if s.expires != 0 && k.now() >= s.expires {
		return Caller{}, mxerr.UnknownToken(true)
	}
	if s.unproven.Load() {
		if err := k.proveToken(ctx, s); err != nil {
			return Caller{}, err
		}
	}
	return s.caller, nil
}

func (k *Keeper) loadToken(ctx context.Context, hash tokenHash) (*session, error) {
	seen := k.tokens.ended()
	var t store.AccessToken
	var a store.Account
	err := k.Store.ReadOne(ctx, func(tx *store.Tx) (err error) {
		t, a, err = tx.TokenOwner(ctx, hash[:])
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		return nil, mxerr.UnknownToken(false)
	}
	if err != nil {
		return nil, fmt.Errorf("look up an access token: %w", err)
	}
	s := &session{
		caller: Caller{User: t.User, Device: t.Device, Admin: a.Admin, Locked: a.Locked, Suspended: a.Suspended},
		hash:   hash, expires: t.Expires,
	}
	s.caller.session = s
	s.unproven.Store(t.Unproven)
	return k.tokens.put(s, seen), nil
}

// proveToken ends what a refreshed token replaced: the client has the new pair. CS v1.16 #refreshing-access-tokens
func (k *Keeper) proveToken(ctx context.Context, s *session) error {
	var ended [][]byte
	err := k.Store.Write(ctx, func(tx *store.Tx) (err error) {
		ended, err = tx.ProveToken(ctx, store.AccessToken{Hash: s.hash[:], User: s.caller.User, Device: s.caller.Device})
		return err
	})
	if err != nil {
		return fmt.Errorf("prove an access token: %w", err)
	}
	k.tokens.drop(ended)
	s.unproven.Store(false)
	return nil
}

// maxTokens bounds the tokens in memory, some 300 bytes each. The others cost a read.
const maxTokens = 50_000

// tokenCache holds the access tokens in use.
type tokenCache struct {
	mu     sync.RWMutex
	live   map[tokenHash]*session // guarded by mu
	drops  int64                  // guarded by mu; counts calls of drop
	parked []*session             // guarded by mu; made room for others, not written yet
}

func newTokenCache() *tokenCache { return &tokenCache{live: map[tokenHash]*session{}} }

func (c *tokenCache) get(hash tokenHash) (*session, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	s, ok := c.live[hash]
	return s, ok
}

// ended counts the calls of drop. Who reads a token from the store asks before, and tells put.
func (c *tokenCache) ended() int64 {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.drops
}

// put keeps a session unless tokens ended since it was read: it may be one of them, and would live on in memory.
func (c *tokenCache) put(s *session, ended int64) *session {
	c.mu.Lock()
	defer c.mu.Unlock()
	if other, ok := c.live[s.hash]; ok {
		return other
	}
	if c.drops != ended {
		return s
	}
	for hash, victim := range c.live { // any will do: who comes back costs one read
		if len(c.live) < maxTokens {
			break
		}
		delete(c.live, hash)
		if victim.seen.Load() > victim.written.Load() && len(c.parked) < maxTokens {
			c.parked = append(c.parked, victim)
		}
	}
	c.live[s.hash] = s
	return s
}

// drop forgets tokens that ended, or whose account changed.
func (c *tokenCache) drop(hashes [][]byte) {
	if len(hashes) == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drops++
	for _, hash := range hashes {
		delete(c.live, tokenHash(hash))
	}
}

// unwritten lists the sessions that were seen since they were last written.
func (c *tokenCache) unwritten() []*session {
	c.mu.Lock()
	parked := c.parked
	c.parked = nil
	c.mu.Unlock()
	c.mu.RLock()
	defer c.mu.RUnlock()
	for _, s := range c.live {
		if s.seen.Load() > s.written.Load() {
			parked = append(parked, s)
		}
	}
	return parked
}
