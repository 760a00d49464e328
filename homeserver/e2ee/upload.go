package e2ee

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"konsil/homeserver/store"
	"konsil/matrix/canonical"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
)

// Upload is the body of /keys/upload. CS v1.16 #post_matrixclientv3keysupload
type Upload struct {
	DeviceKeys   json.RawMessage `json:"device_keys"`
	OneTimeKeys  json.RawMessage `json:"one_time_keys"`
	FallbackKeys json.RawMessage `json:"fallback_keys"`
}

// algorithmKeys are the keys of one algorithm, in the order of the upload.
type algorithmKeys struct {
	algorithm string
	keys      []store.OneTimeKey
}

// Upload publishes keys of a device and gives the counts of its one-time keys then.
func (k *Keeper) Upload(ctx context.Context, user id.UserID, device id.DeviceID, up Upload) (map[string]int64, error) {
	if device == "" {
		return nil, mxerr.InvalidParam("Keys belong to a device, and this token has none")
	}
	deviceKeys, err := k.checkDeviceKeys(up.DeviceKeys, user, device)
	if err != nil {
		return nil, err
	}
	oneTime, err := parseOneTimeKeys(up.OneTimeKeys)
	if err != nil {
		return nil, err
	}
	fallback, err := parseOneTimeKeys(up.FallbackKeys)
	if err != nil {
		return nil, err
	}

	owner := store.OwnerOf(user, device)
	var counts map[string]int64
	var changed int64 // position of a change of the device list
	err = k.Store.Write(ctx, func(tx *store.Tx) error {
		changed = 0
		if deviceKeys != nil {
			pos, err := setDeviceKeys(ctx, tx, user, device, deviceKeys)
			if err != nil {
				return err
			}
			changed = pos
		}
		if len(oneTime) > 0 {
			if err := addOneTimeKeys(ctx, tx, owner, oneTime); err != nil {
				return err
			}
		}
		for _, of := range fallback {
			if err := tx.SetFallbackKey(ctx, owner, of.algorithm, of.keys[len(of.keys)-1]); err != nil {
				return err
			}
		}
		var err error
		counts, err = tx.OneTimeKeyCounts(ctx, owner)
		return err
	})
	if err != nil {
		if _, refused := mxerr.As(err); refused {
			return nil, err
		}
		return nil, fmt.Errorf("store uploaded keys: %w", err)
	}
	withZero(counts)
	k.counts.drop(owner)
	if changed > 0 {
		return counts, k.wakeDevices(ctx, user, changed)
	}
	return counts, nil
}

func (k *Keeper) checkDeviceKeys(raw []byte, user id.UserID, device id.DeviceID) ([]byte, error) {
	if absent(raw) {
		return nil, nil
	}
	keys, err := parseDeviceKeys(raw, user, device)
	if err != nil {
		return nil, err
	}
	return keys, checkSelfSigned(keys, user, device)
}

func absent(raw []byte) bool { return len(raw) == 0 || bytes.Equal(raw, []byte("null")) }

// setDeviceKeys stores identity keys, and gives the position of the change: 0 where there was none.
func setDeviceKeys(ctx context.Context, tx *store.Tx, user id.UserID, device id.DeviceID, keys []byte) (int64, error) {
	older, err := tx.DeviceKey(ctx, user, device)
	switch {
	case errors.Is(err, store.ErrNotFound):
	case err != nil:
		return 0, err
	default:
		merged, _, err := merge(older, keys)
		if err != nil {
			return 0, err
		}
		if bytes.Equal(merged, older) {
			return 0, nil
		}
		keys = merged
	}
	if err := tx.SetDeviceKey(ctx, user, device, keys, ""); err != nil {
		return 0, err
	}
	return tx.DeviceListChanged(ctx, user, device)
}

// parseOneTimeKeys reads a map from "algorithm:id" to key.
func parseOneTimeKeys(raw []byte) ([]algorithmKeys, error) {
	if absent(raw) {
		return nil, nil
	}
	if canonical.Check(raw, canonical.Lenient) != nil {
		return nil, mxerr.BadJSON("one-time keys are no JSON object")
	}
	var all []algorithmKeys
	n := 0
	seen := map[string]bool{}
	err := canonical.Object(raw, func(keyID string, value []byte) error {
		algorithm, name, err := splitKeyID(keyID)
		if err != nil {
			return err
		}
		if n++; n > maxOneTimeKeys {
			return mxerr.BadJSON("more than %d one-time keys", maxOneTimeKeys)
		}
		if seen[keyID] {
			return mxerr.BadJSON("a one-time key is there twice")
		}
		seen[keyID] = true
		key, err := parseOneTimeKey(value)
		if err != nil {
			return err
		}
		for i := range all {
			if all[i].algorithm == algorithm {
				all[i].keys = append(all[i].keys, store.OneTimeKey{ID: name, JSON: key})
				return nil
			}
		}
		all = append(all, algorithmKeys{algorithm, []store.OneTimeKey{{ID: name, JSON: key}}})
		return nil
	})
	if err != nil {
		if _, ok := mxerr.As(err); ok {
			return nil, err
		}
		return nil, mxerr.BadJSON("one-time keys are no JSON object")
	}
	return all, nil
}

// addOneTimeKeys stores those keys that are new. A repeated upload changes nothing; another key under a name that waits to be
// claimed is refused, for nobody could tell which of the two was given out.
func addOneTimeKeys(ctx context.Context, tx *store.Tx, owner store.Owner, all []algorithmKeys) error {
	existing, err := tx.OneTimeKeys(ctx, owner)
	if err != nil {
		return err
	}
	for _, of := range all {
		had := existing[of.algorithm]
		fresh := make([]store.OneTimeKey, 0, len(of.keys))
		for _, key := range of.keys {
			older, ok := had[key.ID]
			if ok && !bytes.Equal(older, key.JSON) {
				return mxerr.Unknown("One-time key %s:%s is there already and differs", of.algorithm, key.ID)
			}
			if !ok {
				fresh = append(fresh, key)
			}
		}
		if len(had)+len(fresh) > maxKeysOfDevice {
			return mxerr.InvalidParam("This device has %d one-time keys, more make no sense", len(had))
		}
		if err := tx.AddOneTimeKeys(ctx, owner, of.algorithm, fresh); err != nil {
			return err
		}
	}
	return nil
}
