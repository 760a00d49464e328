// Package e2ee is the key directory and the letterbox of end-to-end encryption: identity keys of devices, one-time and
// fallback keys, cross-signing keys and signatures, key backups, to-device messages, and the lists of devices that servers
// tell each other of. It can read no message and holds no private key; signatures it checks are those that decide what it
// publishes. It knows nothing of HTTP, tokens or rooms beyond "who shares a room with whom".
//
// A Keeper is safe for concurrent use. All that matters is in the store; in memory are only counts of keys and how long not
// to bother a server that does not answer.
package e2ee

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"konsil/client/ssclient"
	"konsil/homeserver/notify"
	"konsil/homeserver/store"
	"konsil/kit/clock"
	"konsil/kit/obs"
	"konsil/matrix/id"
)

// Config is what a Keeper stands on.
type Config struct {
	Server id.ServerName
	Store  *store.DB
	Notify *notify.Notifier
	Remote *ssclient.Client // asks other servers; nil means that there are none
	Clock  clock.Clock      // nil means the system's
	Rand   io.Reader        // nil means the system's
	Log    *slog.Logger     // nil means slog.Default()

	// HideDeviceNames keeps the display names of our users' devices from other servers: they often hold a person's name.
	HideDeviceNames bool
}

// Keeper keeps the keys of one domain's users.
type Keeper struct {
	Config
	counts  countCache
	origins origins
	fetches singleflight.Group // device lists under way, by user
}

// New assembles a Keeper. It starts nothing.
func New(cfg Config) *Keeper {
	if cfg.Clock == nil {
		cfg.Clock = clock.System()
	}
	if cfg.Rand == nil {
		cfg.Rand = rand.Reader
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	return &Keeper{Config: cfg, origins: origins{clock: cfg.Clock}}
}

// seenLifetime is how long transaction and message IDs are remembered. Clients and servers give up repeating long before.
const seenLifetime = 48 * time.Hour

// Run forgets what is no longer needed, until the context ends.
func (k *Keeper) Run(ctx context.Context) error {
	timer := k.Clock.NewTimer(time.Minute)
	defer timer.Stop()
	for {
		select {
		case <-timer.C():
			before := k.Clock.Now().Add(-seenLifetime).UnixMilli()
			err := k.Store.Write(ctx, func(tx *store.Tx) error { return tx.ForgetSeenToDevice(ctx, before) })
			if err != nil && ctx.Err() == nil {
				k.Log.Warn("forget transaction ids of to-device messages", obs.KeyError, err) // the next round does it
			}
			timer.Reset(time.Hour)
		case <-ctx.Done():
			return nil
		}
	}
}

func (k *Keeper) local(user id.UserID) bool { return user.Server() == k.Server }

// wakeDevices tells the clients that share a room with a user, the user's own, and federation of a committed change of the
// user's devices.
func (k *Keeper) wakeDevices(ctx context.Context, user id.UserID, pos int64) error {
	var rooms []id.RoomID
	err := k.Store.ReadOne(ctx, func(tx *store.Tx) (err error) {
		rooms, err = tx.RoomsOf(ctx, user)
		return err
	})
	if err != nil {
		return fmt.Errorf("rooms whose members see a device list: %w", err)
	}
	kind := notify.Devices
	if k.local(user) {
		kind |= notify.Outgoing
	}
	k.Notify.Wake(notify.Change{Pos: pos, Rooms: rooms, Users: []id.UserID{user}, Kind: kind})
	return nil
}

// wakeSelf tells a user's own clients of a committed change that nobody else sees.
func (k *Keeper) wakeSelf(user id.UserID) {
	k.Notify.Wake(notify.Change{Pos: k.Store.Position(), Users: []id.UserID{user}, Kind: notify.Devices})
}

// DevicesChanged tells everybody concerned that devices of a user of ours were added, renamed or deleted. The change itself
// (store.Tx.DeviceListChanged) belongs into the transaction that changed the devices; pos is what it gave.
func (k *Keeper) DevicesChanged(ctx context.Context, user id.UserID, devices []id.DeviceID, pos int64) error {
	for _, device := range devices {
		k.counts.drop(store.OwnerOf(user, device))
	}
	return k.wakeDevices(ctx, user, pos)
}

// messageID draws an ID for an EDU.
func (k *Keeper) messageID() (string, error) {
	var b [12]byte
	if _, err := io.ReadFull(k.Rand, b[:]); err != nil {
		return "", fmt.Errorf("draw a message id: %w", err)
	}
	return hex.EncodeToString(b[:]), nil
}

// KeyCounts is what /sync tells a device about its keys.
type KeyCounts struct {
	OneTime        map[string]int64 // unclaimed keys by algorithm; signed_curve25519 is always there
	UnusedFallback []string         // algorithms whose fallback key nobody has got
}

// KeyCounts gives the counts for a device, mostly from memory. The result is shared: nobody changes it.
func (k *Keeper) KeyCounts(ctx context.Context, user id.UserID, device id.DeviceID) (KeyCounts, error) {
	owner := store.OwnerOf(user, device)
	counts, generation, ok := k.counts.get(owner)
	if ok {
		return counts, nil
	}
	err := k.Store.Read(ctx, func(tx *store.Tx) error {
		var err error
		if counts.OneTime, err = tx.OneTimeKeyCounts(ctx, owner); err != nil {
			return err
		}
		counts.UnusedFallback, err = tx.UnusedFallbackKeys(ctx, owner)
		return err
	})
	if err != nil {
		return KeyCounts{}, fmt.Errorf("count one-time keys: %w", err)
	}
	withZero(counts.OneTime)
	if counts.UnusedFallback == nil {
		counts.UnusedFallback = []string{}
	}
	k.counts.put(owner, counts, generation)
	return counts, nil
}

// withZero makes sure that a client hears when it has run out: some make new keys only then. MSC4225
func withZero(counts map[string]int64) {
	if _, ok := counts[signedCurve25519]; !ok {
		counts[signedCurve25519] = 0
	}
}

const signedCurve25519 = "signed_curve25519"

// countCache remembers the counts of devices that sync. The zero value is ready.
type countCache struct {
	mu         sync.Mutex
	counts     map[store.Owner]KeyCounts // guarded by mu
	generation int64                     // guarded by mu; counts every drop
}

const maxCounts = 8192 // devices; about 300 bytes each

// get also gives the generation to put with: what was read before a drop must not be put after it.
func (c *countCache) get(owner store.Owner) (KeyCounts, int64, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	counts, ok := c.counts[owner]
	return counts, c.generation, ok
}

func (c *countCache) put(owner store.Owner, counts KeyCounts, generation int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if generation != c.generation {
		return
	}
	if c.counts == nil || len(c.counts) >= maxCounts {
		c.counts = map[store.Owner]KeyCounts{}
	}
	c.counts[owner] = counts
}

// drop is called after the commit of a change.
func (c *countCache) drop(owners ...store.Owner) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.generation++
	for _, owner := range owners {
		delete(c.counts, owner)
	}
}
