package e2ee

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"konsil/homeserver/store"
	"konsil/matrix/canonical"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
)

// ClaimWanted says of which devices somebody claims a one-time key, and of which algorithm.
type ClaimWanted map[id.UserID]map[id.DeviceID]string

// claimed are keys given out: user → device → key ID → key.
type claimed map[id.UserID]map[id.DeviceID]map[string][]byte

func (c claimed) add(user id.UserID, device id.DeviceID, keyID string, key []byte) {
	if c[user] == nil {
		c[user] = map[id.DeviceID]map[string][]byte{}
	}
	if c[user][device] == nil {
		c[user][device] = map[string][]byte{}
	}
	c[user][device][keyID] = key
}

const maxClaimed = 10_000 // devices in one request

// Claim answers /keys/claim for one of our users, as JSON. CS v1.16 #post_matrixclientv3keysclaim
func (k *Keeper) Claim(ctx context.Context, wanted ClaimWanted, timeout time.Duration) ([]byte, error) {
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	ours := ClaimWanted{}
	byServer := map[id.ServerName]ClaimWanted{}
	n := 0
	for user, devices := range wanted {
		n += len(devices)
		if k.local(user) {
			ours[user] = devices
			continue
		}
		server := user.Server()
		if byServer[server] == nil {
			byServer[server] = ClaimWanted{}
		}
		byServer[server][user] = devices
	}
	if n > maxClaimed {
		return nil, mxerr.TooLarge("More than %d devices in one claim", maxClaimed)
	}
	got, err := k.claimLocal(ctx, ours)
	if err != nil {
		return nil, err
	}
	failed := k.claimRemote(ctx, byServer, min(timeout, maxTimeout), got)
	return claimJSON(got, failed), nil
}

// claimRemote adds what other servers give to got, and says which gave nothing.
func (k *Keeper) claimRemote(ctx context.Context, byServer map[id.ServerName]ClaimWanted, timeout time.Duration, got claimed) map[id.ServerName]bool {
	failed := map[id.ServerName]bool{}
	if len(byServer) == 0 {
		return failed
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var mu sync.Mutex // guards got and failed
	var group errgroup.Group
	group.SetLimit(maxServersAtOnce)
	for server, wanted := range byServer {
		group.Go(func() error {
			keys, err := k.claimFrom(ctx, server, wanted)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed[server] = true
			}
			maps.Copy(got, keys)
			return nil
		})
	}
	_ = group.Wait() // the functions give no errors: a silent server is not one
	return failed
}

func (k *Keeper) claimFrom(ctx context.Context, server id.ServerName, wanted ClaimWanted) (claimed, error) {
	if k.Remote == nil || !k.origins.mayAsk(server) {
		return nil, errNotNow
	}
	raw, err := k.Remote.ClaimKeys(ctx, server, wanted)
	if err != nil {
		k.origins.failed(ctx, server)
		return nil, err
	}
	k.origins.Heard(server)
	return claimAnswer(raw, wanted)
}

// claimLocal gives out keys of our users' devices: the oldest one-time key, or the fallback key where there is none left. It
// returns after the keys are gone from the store for good, so none is given out twice, whatever happens then.
// CS v1.16 #one-time-and-fallback-keys
func (k *Keeper) claimLocal(ctx context.Context, wanted ClaimWanted) (claimed, error) {
	byAlgorithm := map[string][]store.Owner{}
	names := map[store.Owner]struct {
		user   id.UserID
		device id.DeviceID
	}{}
	for user, devices := range wanted {
		for device, algorithm := range devices {
			owner := store.OwnerOf(user, device)
			byAlgorithm[algorithm] = append(byAlgorithm[algorithm], owner)
			names[owner] = struct {
				user   id.UserID
				device id.DeviceID
			}{user, device}
		}
	}
	if len(names) == 0 {
		return claimed{}, nil
	}
	var got claimed
	err := k.Store.Write(ctx, func(tx *store.Tx) error {
		got = claimed{}
		for algorithm, owners := range byAlgorithm {
			keys, err := tx.ClaimOneTimeKeys(ctx, algorithm, owners)
			if err != nil {
				return err
			}
			if len(keys) < len(owners) {
				without := slices.DeleteFunc(slices.Clone(owners), func(o store.Owner) bool { _, ok := keys[o]; return ok })
				fallback, err := tx.UseFallbackKeys(ctx, algorithm, without)
				if err != nil {
					return err
				}
				maps.Copy(keys, fallback)
			}
			for owner, key := range keys {
				got.add(names[owner].user, names[owner].device, algorithm+":"+key.ID, key.JSON)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("claim one-time keys: %w", err)
	}
	k.counts.drop(slices.Collect(maps.Keys(names))...)
	return got, nil
}

func claimJSON(got claimed, failed map[id.ServerName]bool) []byte {
	b := []byte(`{"failures":{`)
	for i, server := range slices.Sorted(maps.Keys(failed)) {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(canonical.AppendString(b, server), `:{}`...)
	}
	b = append(b, `},"one_time_keys":{`...)
	for i, user := range slices.Sorted(maps.Keys(got)) {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(canonical.AppendString(b, user), `:{`...)
		for j, device := range slices.Sorted(maps.Keys(got[user])) {
			if j > 0 {
				b = append(b, ',')
			}
			b = append(canonical.AppendString(b, device), `:{`...)
			for l, keyID := range slices.Sorted(maps.Keys(got[user][device])) {
				if l > 0 {
					b = append(b, ',')
				}
				b = append(canonical.AppendString(b, keyID), ':')
				b = append(b, got[user][device][keyID]...)
			}
			b = append(b, '}')
		}
		b = append(b, '}')
	}
	return append(b, `}}`...)
}
