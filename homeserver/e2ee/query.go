package e2ee

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"konsil/homeserver/store"
	"konsil/matrix/canonical"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
)

// Wanted says whose keys somebody asks for: user → devices, none for all.
type Wanted map[id.UserID][]id.DeviceID

// Limits of /keys/query: how many users one request may name, and how long it may wait for other servers (B15).
const (
	maxQueried     = 10_000
	defaultTimeout = 10 * time.Second
	maxTimeout     = 30 * time.Second
)

// Query answers /keys/query for one of our users, as JSON: our own users' keys, those of other servers from what we keep of
// them, the rest by asking. What does not come in time is listed under failures. CS v1.16 #post_matrixclientv3keysquery
func (k *Keeper) Query(ctx context.Context, asker id.UserID, wanted Wanted, timeout time.Duration) ([]byte, error) {
	if len(wanted) > maxQueried {
		return nil, mxerr.TooLarge("More than %d users in one query", maxQueried)
	}
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	var remote, known []id.UserID
	for user := range wanted {
		known = append(known, user)
		if !k.local(user) {
			remote = append(remote, user)
		}
	}
	// Sorted, so that the answer is the same each time and the index is read in its order.
	slices.Sort(known)

	var fetched fetchedKeys
	if len(remote) > 0 {
		var err error
		if fetched, err = k.fetchMissing(ctx, remote, min(timeout, maxTimeout)); err != nil {
			return nil, err
		}
		known = slices.DeleteFunc(known, func(user id.UserID) bool { return fetched.passing[user] })
	}

	devices, crossSigning := fetched.devices, fetched.keys
	var mine []store.UserSignature
	err := k.Store.Read(ctx, func(tx *store.Tx) error {
		stored, err := tx.DeviceKeys(ctx, known)
		if err != nil {
			return err
		}
		keys, err := tx.CrossSigningKeys(ctx, known)
		if err != nil {
			return err
		}
		mine, err = tx.UserSignatures(ctx, asker, known)
		devices, crossSigning = append(stored, devices...), append(keys, crossSigning...)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read queried keys: %w", err)
	}
	a := answer{wanted: wanted, devices: devices, keys: crossSigning, asker: asker, signatures: mine, failures: fetched.failed}
	return a.json(), nil
}

// answer is what /keys/query says, before it is written.
type answer struct {
	wanted     Wanted
	devices    []store.DeviceKeys      // those of one user together
	keys       []store.CrossSigningKey // of any usage
	asker      id.UserID               // "" for another server: it sees no user-signing keys and no one's private signatures
	signatures []store.UserSignature   // the asker's
	failures   map[id.ServerName]bool
	hideNames  bool
}

// json writes the answer by copying the stored keys; nothing of them is decoded.
func (a *answer) json() []byte {
	b := make([]byte, 0, 256+1024*len(a.devices)+512*len(a.keys))
	b = append(b, `{"device_keys":{`...)
	b = a.appendDevices(b)
	b = append(b, '}')
	b = append(b, `,"failures":{`...)
	for i, name := range slices.Sorted(maps.Keys(a.failures)) {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(canonical.AppendString(b, name), `:{}`...)
	}
	b = append(b, `},"master_keys":`...)
	b = a.appendKeys(b, store.UsageMaster)
	b = append(b, `,"self_signing_keys":`...)
	b = a.appendKeys(b, store.UsageSelfSigning)
	if a.asker != "" {
		b = append(b, `,"user_signing_keys":`...)
		b = a.appendKeys(b, store.UsageUserSigning)
	}
	return append(b, '}')
}

func (a *answer) appendDevices(b []byte) []byte {
	var user id.UserID
	seen := make(map[id.UserID]bool, len(a.wanted))
	first := true
	for _, d := range a.devices {
		only := a.wanted[d.User]
		if len(only) > 0 && !slices.Contains(only, d.Device) {
			continue
		}
		if d.User != user {
			if user != "" {
				b = append(b, `},`...)
			}
			user, first = d.User, true
			seen[user] = true
			b = append(canonical.AppendString(b, user), `:{`...)
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b = append(canonical.AppendString(b, d.Device), ':')
		b = appendWithName(b, d, a.hideNames)
	}
	if user != "" {
		b = append(b, '}')
	}
	// A user without keys has an empty map: the same for those who do not exist (B10).
	for _, none := range slices.Sorted(maps.Keys(a.wanted)) {
		if seen[none] || a.failures[none.Server()] {
			continue
		}
		if user != "" {
			b = append(b, ',')
		}
		user = none
		b = append(canonical.AppendString(b, none), `:{}`...)
	}
	return b
}

// appendWithName writes a device's keys with its display name, which is no part of what the device signed.
func appendWithName(b []byte, d store.DeviceKeys, hideName bool) []byte {
	if d.DisplayName == "" || hideName {
		return append(b, d.Keys...)
	}
	b = append(b, d.Keys[:len(d.Keys)-1]...)
	b = append(b, `,"unsigned":{"device_display_name":`...)
	b = canonical.AppendString(b, d.DisplayName)
	return append(b, `}}`...)
}

func (a *answer) appendKeys(b []byte, usage string) []byte {
	b = append(b, '{')
	first := true
	for _, key := range a.keys {
		if key.Usage != usage || usage == store.UsageUserSigning && key.User != a.asker {
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b = append(canonical.AppendString(b, key.User), ':')
		b = append(b, a.visible(key)...)
	}
	return append(b, '}')
}

// visible gives a key with the signatures the asker may see: those of its user, which are stored in it, and the asker's own.
func (a *answer) visible(key store.CrossSigningKey) []byte {
	var more signatures
	for _, s := range a.signatures {
		if key.Usage == store.UsageMaster && s.Target == key.User && s.Public == key.Public {
			if more == nil {
				more = signatures{}
			}
			more.add(signatures{string(a.asker): {string(s.KeyID): s.Signature}})
		}
	}
	if more == nil {
		return key.JSON
	}
	sigs, err := parseSignatures(key.JSON, false)
	if err != nil {
		return key.JSON
	}
	sigs.add(more)
	return withSignatures(key.JSON, sigs)
}
