package e2ee

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"konsil/client/ssclient"
	"konsil/homeserver/store"
	"konsil/kit/clock"
	"konsil/matrix/canonical"
	"konsil/matrix/id"
)

// fetchedKeys is what other servers answered just now.
type fetchedKeys struct {
	passing map[id.UserID]bool // users who share no room with us: their keys are in devices and keys, and nowhere else
	devices []store.DeviceKeys
	keys    []store.CrossSigningKey
	failed  map[id.ServerName]bool
}

// fetchMissing brings the device lists of remote users up to date, as far as they are not: lists of users who share a room
// with us are stored and kept up to date from then on, others are asked for each time, since nobody would tell us of changes.
func (k *Keeper) fetchMissing(ctx context.Context, users []id.UserID, timeout time.Duration) (fetchedKeys, error) {
	f := fetchedKeys{passing: map[id.UserID]bool{}, failed: map[id.ServerName]bool{}}
	var tracked, sharing []id.UserID
	err := k.Store.Read(ctx, func(tx *store.Tx) (err error) {
		if tracked, err = tx.TrackedLists(ctx, k.Server, users); err == nil && len(tracked) < len(users) {
			sharing, err = tx.SharingUsers(ctx, users)
		}
		return err
	})
	if err != nil {
		return f, fmt.Errorf("look up remote device lists: %w", err)
	}
	if len(tracked) == len(users) {
		return f, nil
	}
	upToDate, shared := setOf(tracked), setOf(sharing)
	byServer := map[id.ServerName]*wantedOf{}
	for _, user := range users {
		if upToDate[user] {
			continue
		}
		w := byServer[user.Server()]
		if w == nil {
			w = &wantedOf{}
			byServer[user.Server()] = w
		}
		if shared[user] {
			w.keep = append(w.keep, user)
		} else {
			w.pass = append(w.pass, user)
			f.passing[user] = true
		}
	}

	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var mu sync.Mutex // guards f
	var group errgroup.Group
	group.SetLimit(maxServersAtOnce)
	for server, w := range byServer {
		group.Go(func() error {
			passing, err := k.fetchFrom(ctx, server, w)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				f.failed[server] = true
			}
			for _, list := range passing {
				f.devices = append(f.devices, list.devices...)
				f.keys = append(f.keys, list.keys...)
			}
			return nil
		})
	}
	return f, group.Wait()
}

// wantedOf are the users of one server whose keys have to be fetched: to keep, and to pass on only.
type wantedOf struct{ keep, pass []id.UserID }

const (
	maxServersAtOnce = 64  // one query never holds more connections
	maxSingly        = 8   // lists fetched one by one, with their stream_id; more are fetched together, without
	maxDevices       = 500 // of one remote user; the rest is ignored (A25)
	maxDisplayName   = 255 // bytes, of a device
)

func setOf(users []id.UserID) map[id.UserID]bool {
	set := make(map[id.UserID]bool, len(users))
	for _, user := range users {
		set[user] = true
	}
	return set
}

// fetchFrom asks one server. The error is that of the server; what came before it counts.
func (k *Keeper) fetchFrom(ctx context.Context, server id.ServerName, w *wantedOf) (map[id.UserID]remoteList, error) {
	if k.Remote == nil || !k.origins.mayAsk(server) {
		return nil, errNotNow
	}
	together := w.pass
	if len(w.keep) > maxSingly {
		together = append(together, w.keep...)
	} else {
		for _, user := range w.keep {
			err := k.fetchList(ctx, user)
			if status := statusOf(err); status >= 400 && status < 500 {
				together = append(together, user) // a server without this endpoint may have the other
				continue
			}
			if err != nil {
				k.origins.failed(ctx, server)
				return nil, err
			}
		}
	}
	if len(together) == 0 {
		k.origins.Heard(server)
		return nil, nil
	}
	lists, err := k.queryFrom(ctx, server, together, setOf(w.keep))
	if err != nil {
		k.origins.failed(ctx, server)
		return nil, err
	}
	k.origins.Heard(server)
	return lists, nil
}

var errNotNow = errors.New("the server is not asked now")

// fetchList fetches and stores the device list of one user. Calls at the same time share one request.
func (k *Keeper) fetchList(ctx context.Context, user id.UserID) error {
	result := k.fetches.DoChan(string(user), func() (any, error) {
		// The one who came first may go away; the others still want it.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), maxTimeout)
		defer cancel()
		at := k.Store.Fence()
		raw, err := k.Remote.UserDevices(ctx, user)
		if err != nil {
			return nil, err
		}
		list, err := parseUserDevices(raw, user)
		if err != nil {
			return nil, err
		}
		return nil, k.storeList(ctx, user, list, at)
	})
	select {
	case r := <-result:
		return r.Err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (k *Keeper) storeList(ctx context.Context, user id.UserID, list remoteList, at store.Fence) error {
	return k.Store.Write(ctx, func(tx *store.Tx) error {
		return tx.SetRemoteList(ctx, user, list.streamID, at, list.devices, list.keys)
	})
}

// queryFrom asks a server for the keys of several users at once, stores those to keep and gives the others.
func (k *Keeper) queryFrom(ctx context.Context, server id.ServerName, users []id.UserID, keep map[id.UserID]bool) (map[id.UserID]remoteList, error) {
	at := k.Store.Fence()
	wanted := make(map[id.UserID][]id.DeviceID, len(users))
	for _, user := range users {
		wanted[user] = []id.DeviceID{}
	}
	raw, err := k.Remote.QueryKeys(ctx, server, wanted)
	if err != nil {
		return nil, err
	}
	lists, err := parseQueryAnswer(raw, users)
	if err != nil {
		return nil, err
	}
	passing := map[id.UserID]remoteList{}
	for _, user := range users {
		if !keep[user] {
			passing[user] = lists[user]
			continue
		}
		if err := k.storeList(ctx, user, lists[user], at); err != nil {
			return nil, err
		}
	}
	return passing, nil
}

// remoteList is a remote user's device list as their server gives it.
type remoteList struct {
	streamID int64
	devices  []store.DeviceKeys
	keys     []store.CrossSigningKey
}

var errRemoteAnswer = errors.New("the other server's answer makes no sense")

// parseUserDevices reads the answer of /user/devices. Devices that are not as they should be are left out: a broken one
// must not hide the others (A26). SS v1.16 #get_matrixfederationv1userdevicesuserid
func parseUserDevices(raw []byte, user id.UserID) (remoteList, error) {
	list := remoteList{streamID: -1}
	raw, err := canonicalObject(raw)
	if err != nil {
		return list, errRemoteAnswer
	}
	if who, ok := canonical.GetString(raw, "user_id"); ok && id.UserID(who) != user {
		return list, errRemoteAnswer
	}
	if n, ok := canonical.GetInt(raw, "stream_id"); ok && n >= 0 {
		list.streamID = n
	}
	devices, ok := canonical.Get(raw, "devices")
	if !ok {
		return list, errRemoteAnswer
	}
	err = canonical.Array(devices, func(value []byte) error {
		name, _ := canonical.GetString(value, "device_id")
		device, err := id.ParseDeviceID(name)
		if err != nil || device == "" || len(list.devices) >= maxDevices {
			return nil
		}
		d := store.DeviceKeys{User: user, Device: device}
		d.DisplayName = displayName(value, "device_display_name")
		if keys, ok := canonical.Get(value, "keys"); ok && canonical.IsObject(keys) {
			if d.Keys, err = parseDeviceKeys(keys, user, device); err != nil {
				return nil
			}
		}
		list.devices = append(list.devices, d)
		return nil
	})
	if err != nil {
		return list, errRemoteAnswer
	}
	list.addKey(raw, "master_key", user, store.UsageMaster)
	list.addKey(raw, "self_signing_key", user, store.UsageSelfSigning)
	list.distinct()
	return list, nil
}

// displayName reads the display name of a device. One that is no name is none.
func displayName(value []byte, path ...string) string {
	name, _ := canonical.GetString(value, path...)
	if len(name) > maxDisplayName || !storable(name) {
		return ""
	}
	return name
}

// addKey takes a cross-signing key from an answer, if there is a good one.
func (l *remoteList) addKey(obj []byte, field string, user id.UserID, usage string) {
	raw, ok := canonical.Get(obj, field)
	if !ok {
		return
	}
	if key, err := parseCrossSigningKey(raw, user, usage); err == nil {
		l.keys = append(l.keys, key)
	}
}

// distinct drops devices that are there twice; the first counts.
func (l *remoteList) distinct() {
	seen := make(map[id.DeviceID]bool, len(l.devices))
	l.devices = slices.DeleteFunc(l.devices, func(d store.DeviceKeys) bool {
		again := seen[d.Device]
		seen[d.Device] = true
		return again
	})
}

// parseQueryAnswer reads the answer of another server's /user/keys/query. Users it was not asked for are left out.
// SS v1.16 #post_matrixfederationv1userkeysquery
func parseQueryAnswer(raw []byte, users []id.UserID) (map[id.UserID]remoteList, error) {
	raw, err := canonicalObject(raw)
	if err != nil {
		return nil, errRemoteAnswer
	}
	lists := make(map[id.UserID]remoteList, len(users))
	for _, user := range users {
		list := remoteList{streamID: -1}
		if devices, ok := canonical.Get(raw, "device_keys", string(user)); ok {
			_ = canonical.Object(devices, func(name string, value []byte) error {
				device, err := id.ParseDeviceID(name)
				if err != nil || device == "" || len(list.devices) >= maxDevices {
					return nil
				}
				d := store.DeviceKeys{User: user, Device: device}
				if d.Keys, err = parseDeviceKeys(value, user, device); err != nil {
					return nil
				}
				d.DisplayName = displayName(value, "unsigned", "device_display_name")
				list.devices = append(list.devices, d)
				return nil
			})
		}
		for usage, field := range map[string]string{store.UsageMaster: "master_keys", store.UsageSelfSigning: "self_signing_keys"} {
			if byUser, ok := canonical.Get(raw, field); ok {
				list.addKey(byUser, string(user), user, usage)
			}
		}
		lists[user] = list
	}
	return lists, nil
}

// origins remembers which servers did not answer lately, so that a query does not wait for each of them again (B15).
// The zero value with a clock is ready.
type origins struct {
	clock clock.Clock
	mu    sync.Mutex
	down  map[id.ServerName]outage // guarded by mu
}

type outage struct {
	failures int
	until    time.Time
}

const (
	firstPause = 2 * time.Second
	longPause  = 5 * time.Minute
	maxOutages = 10_000
)

func (o *origins) mayAsk(server id.ServerName) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	down, ok := o.down[server]
	return !ok || !o.clock.Now().Before(down.until)
}

// failed notes that a server gave no answer, unless it was us who gave up: the caller's time was over.
func (o *origins) failed(ctx context.Context, server id.ServerName) {
	if errors.Is(ctx.Err(), context.Canceled) {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.down == nil || len(o.down) >= maxOutages {
		o.down = map[id.ServerName]outage{}
	}
	down := o.down[server]
	pause := min(longPause, firstPause<<min(down.failures, 10))
	o.down[server] = outage{failures: down.failures + 1, until: o.clock.Now().Add(pause)}
}

// Heard notes that a server is there again.
func (o *origins) Heard(server id.ServerName) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.down, server)
}

// statusOf is the HTTP status another server answered with, 0 for no answer.
func statusOf(err error) int {
	var refused *ssclient.Error
	if errors.As(err, &refused) {
		return refused.Status
	}
	return 0
}

// claimAnswer reads the answer of another server's /user/keys/claim: only what was asked for, only what looks like a key.
// SS v1.16 #post_matrixfederationv1userkeysclaim
func claimAnswer(raw json.RawMessage, wanted ClaimWanted) (claimed, error) {
	obj, err := canonicalObject(raw)
	if err != nil {
		return nil, errRemoteAnswer
	}
	got := claimed{}
	for user, devices := range wanted {
		for device, algorithm := range devices {
			keys, ok := canonical.Get(obj, "one_time_keys", string(user), string(device))
			if !ok {
				continue
			}
			_ = canonical.Object(keys, func(keyID string, value []byte) error {
				name, _, err := splitKeyID(keyID)
				if err != nil || name != algorithm {
					return nil
				}
				if key, err := parseOneTimeKey(value); err == nil {
					got.add(user, device, keyID, key)
				}
				return nil
			})
		}
	}
	return got, nil
}
