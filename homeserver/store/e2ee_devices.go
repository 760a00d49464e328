package store

import (
	"context"
	"strings"

	"konsil/kit/db"
	"konsil/matrix/id"
)

// Owner names a device in one word: what one-time keys and to-device messages belong to. It is the user's ID, a space and
// the device's ID; the server name that ends a user ID holds no space, so no two devices share a name.
type Owner string

// OwnerOf is the name of a device.
func OwnerOf(user id.UserID, device id.DeviceID) Owner {
	return Owner(string(user) + " " + string(device))
}

// DeviceKeys are the identity keys of one device.
type DeviceKeys struct {
	User        id.UserID
	Device      id.DeviceID
	Keys        []byte // JSON without "unsigned"; nil for a device without keys
	DisplayName string // "" for none
}

// DeviceKeys lists the identity keys of all devices of the users that have some, by user and device.
func (tx *Tx) DeviceKeys(ctx context.Context, users []id.UserID) ([]DeviceKeys, error) {
	var all []DeviceKeys
	err := db.Each(ctx, tx, `
		SELECT k.user_id, k.device_id, k.keys, COALESCE(d.display_name, k.display_name)
		FROM device_key k LEFT JOIN device d
			ON d.domain_id = $0 AND d.user_id = k.user_id AND d.device_id = k.device_id
		WHERE k.domain_id = $0 AND k.user_id in($1) AND k.keys IS NOT NULL
		ORDER BY k.user_id, k.device_id`, []any{users},
		func(row *db.Row) error {
			var d DeviceKeys
			if err := row.Scan(&d.User, &d.Device, &d.Keys, &d.DisplayName); err != nil {
				return err
			}
			all = append(all, d)
			return nil
		})
	return all, err
}

// LocalDevices lists all devices of a user of ours with their keys, those without keys too.
func (tx *Tx) LocalDevices(ctx context.Context, user id.UserID) ([]DeviceKeys, error) {
	var all []DeviceKeys
	err := db.Each(ctx, tx, `
		SELECT d.device_id, k.keys, d.display_name
		FROM device d LEFT JOIN device_key k
			ON k.domain_id = $0 AND k.user_id = d.user_id AND k.device_id = d.device_id
		WHERE d.domain_id = $0 AND d.user_id = $1
		ORDER BY d.device_id`, []any{user},
		func(row *db.Row) error {
			d := DeviceKeys{User: user}
			if err := row.Scan(&d.Device, &d.Keys, &d.DisplayName); err != nil {
				return err
			}
			all = append(all, d)
			return nil
		})
	return all, err
}

// LocalDevice reads one device of ours with its keys. ErrNotFound when the device is gone.
func (tx *Tx) LocalDevice(ctx context.Context, user id.UserID, device id.DeviceID) (DeviceKeys, error) {
	d := DeviceKeys{User: user, Device: device}
	err := db.One(ctx, tx, `
		SELECT k.keys, d.display_name
		FROM device d LEFT JOIN device_key k
			ON k.domain_id = $0 AND k.user_id = d.user_id AND k.device_id = d.device_id
		WHERE d.domain_id = $0 AND d.user_id = $1 AND d.device_id = $2`, []any{user, device}, &d.Keys, &d.DisplayName)
	return d, err
}

// LocalOwners lists the devices of our users among users, as owners of messages.
func (tx *Tx) LocalOwners(ctx context.Context, users []id.UserID) ([]Owner, error) {
	return db.List[Owner](ctx, tx, `
		SELECT user_id || ' ' || device_id FROM device WHERE domain_id = $0 AND user_id in($1)`, users)
}

// DeviceKey reads the identity keys of one device, ours or another server's. ErrNotFound when there are none.
func (tx *Tx) DeviceKey(ctx context.Context, user id.UserID, device id.DeviceID) ([]byte, error) {
	return db.Get[[]byte](ctx, tx, `
		SELECT keys FROM device_key
		WHERE domain_id = $0 AND user_id = $1 AND device_id = $2 AND keys IS NOT NULL`, user, device)
}

// SetDeviceKey stores the identity keys of a device. display is for remote devices; ours have theirs in the table device.
func (tx *Tx) SetDeviceKey(ctx context.Context, user id.UserID, device id.DeviceID, keys []byte, display string) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO device_key (domain_id, user_id, device_id, keys, display_name) VALUES ($0, $1, $2, $3, $4)
		ON CONFLICT (domain_id, user_id, device_id) DO UPDATE SET keys = excluded.keys, display_name = excluded.display_name`,
		user, device, keys, display)
	return err
}

// DropDeviceKeys forgets everything that belongs to devices of ours that are no more: identity keys, one-time keys, fallback
// keys and waiting messages. Who deletes a device calls it, and DeviceListChanged, in the same transaction.
func (tx *Tx) DropDeviceKeys(ctx context.Context, user id.UserID, devices []id.DeviceID) error {
	if err := tx.DropRemoteDevices(ctx, user, devices); err != nil {
		return err
	}
	owners := make([]Owner, len(devices))
	for i, device := range devices {
		owners[i] = OwnerOf(user, device)
	}
	for _, q := range []string{
		`DELETE FROM one_time_key WHERE domain_id = $0 AND owner in($1)`,
		`DELETE FROM fallback_key WHERE domain_id = $0 AND owner in($1)`,
		`DELETE FROM to_device WHERE domain_id = $0 AND owner in($1)`,
	} {
		if _, err := tx.Exec(ctx, q, owners); err != nil {
			return err
		}
	}
	return nil
}

// DropRemoteDevices forgets the identity keys of some devices of a user.
func (tx *Tx) DropRemoteDevices(ctx context.Context, user id.UserID, devices []id.DeviceID) error {
	_, err := tx.Exec(ctx, `
		DELETE FROM device_key WHERE domain_id = $0 AND user_id = $1 AND device_id in($2)`, user, devices)
	return err
}

// DropUserKeys forgets what a user's account had beside its devices: cross-signing keys, signatures, backups.
func (tx *Tx) DropUserKeys(ctx context.Context, user id.UserID) error {
	for _, q := range []string{
		`DELETE FROM device_key WHERE domain_id = $0 AND user_id = $1`,
		`DELETE FROM cross_signing_key WHERE domain_id = $0 AND user_id = $1`,
		`DELETE FROM user_signature WHERE domain_id = $0 AND signer = $1`,
		`DELETE FROM key_backup_session WHERE domain_id = $0 AND user_id = $1`,
		`UPDATE key_backup SET deleted = 1, sessions = 0 WHERE domain_id = $0 AND user_id = $1`,
	} {
		if _, err := tx.Exec(ctx, q, user); err != nil {
			return err
		}
	}
	return nil
}

// User is the user whose device it is.
func (o Owner) User() id.UserID {
	s := string(o)
	server := strings.IndexByte(s, ':')
	if server < 0 {
		return ""
	}
	if end := strings.IndexByte(s[server:], ' '); end >= 0 {
		return id.UserID(s[:server+end])
	}
	return id.UserID(s)
}

// CountDevices says how many devices of a user are stored.
func (tx *Tx) CountDevices(ctx context.Context, user id.UserID) (int64, error) {
	return db.Get[int64](ctx, tx, `SELECT COUNT(*) FROM device_key WHERE domain_id = $0 AND user_id = $1`, user)
}
