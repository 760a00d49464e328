package store

import (
	"context"

	"konsil/kit/db"
	"konsil/matrix/id"
)

// Device is a device of a user of this domain. Its keys belong to the key directory.
type Device struct {
	User          id.UserID
	ID            id.DeviceID
	DisplayName   string // "" means none
	Created       int64  // ms
	LastSeen      int64  // ms; 0 means never. Written with delay
	LastSeenIP    string
	LastSeenAgent string
}

// CreateDevice stores a device unless it is there, and says whether it is new.
func (tx *Tx) CreateDevice(ctx context.Context, d Device) (bool, error) {
	n, err := tx.Exec(ctx, `
		INSERT INTO device (domain_id, user_id, device_id, display_name, created_ts) VALUES ($0, $1, $2, $3, $4)
		ON CONFLICT (domain_id, user_id, device_id) DO NOTHING`,
		string(d.User), string(d.ID), d.DisplayName, d.Created)
	return n == 1, err
}

// Devices lists a user's devices, oldest first.
func (tx *Tx) Devices(ctx context.Context, user id.UserID) ([]Device, error) {
	var all []Device
	err := db.Each(ctx, tx, `
		SELECT device_id, display_name, created_ts, last_seen_ts, last_seen_ip, last_seen_agent FROM device WHERE domain_id = $0 AND user_id = $1 ORDER BY created_ts, device_id`,
		[]any{string(user)}, func(row *db.Row) error {
			d := Device{User: user}
			if err := row.Scan(&d.ID, &d.DisplayName, &d.Created, &d.LastSeen, &d.LastSeenIP, &d.LastSeenAgent); err != nil {
				return err
			}
			all = append(all, d)
			return nil
		})
	return all, err
}

// Device reads one device, or gives ErrNotFound.
func (tx *Tx) Device(ctx context.Context, user id.UserID, device id.DeviceID) (Device, error) {
	d := Device{User: user}
	err := db.One(ctx, tx, `
		SELECT device_id, display_name, created_ts, last_seen_ts, last_seen_ip, last_seen_agent FROM device WHERE domain_id = $0 AND user_id = $1 AND device_id = $2`,
		[]any{string(user), string(device)},
		&d.ID, &d.DisplayName, &d.Created, &d.LastSeen, &d.LastSeenIP, &d.LastSeenAgent)
	return d, err
}

// RenameDevice stores a display name, and says whether the device is there.
func (tx *Tx) RenameDevice(ctx context.Context, user id.UserID, device id.DeviceID, name string) (bool, error) {
	n, err := tx.Exec(ctx, `
		UPDATE device SET display_name = $3 WHERE domain_id = $0 AND user_id = $1 AND device_id = $2`,
		string(user), string(device), name)
	return n == 1, err
}

// SawDevice stores when and from where a device was last seen.
func (tx *Tx) SawDevice(ctx context.Context, d Device) error {
	_, err := tx.Exec(ctx, `
		UPDATE device SET last_seen_ts = $3, last_seen_ip = $4, last_seen_agent = $5
		WHERE domain_id = $0 AND user_id = $1 AND device_id = $2`,
		string(d.User), string(d.ID), d.LastSeen, d.LastSeenIP, d.LastSeenAgent)
	return err
}

// DeleteDevices removes devices and all their tokens. It gives the devices that were there and the hashes of the tokens.
func (tx *Tx) DeleteDevices(ctx context.Context, user id.UserID, devices []id.DeviceID) (gone []id.DeviceID, tokens [][]byte, err error) {
	gone, err = db.List[id.DeviceID](ctx, tx, `
		DELETE FROM device WHERE domain_id = $0 AND user_id = $1 AND device_id in($2) RETURNING device_id`,
		string(user), devices)
	if err != nil {
		return nil, nil, err
	}
	tokens, err = tx.DeleteTokens(ctx, user, devices)
	return gone, tokens, err
}

// DeleteTokens removes the access and refresh tokens of devices, and gives the hashes of the access tokens.
func (tx *Tx) DeleteTokens(ctx context.Context, user id.UserID, devices []id.DeviceID) ([][]byte, error) {
	if _, err := tx.Exec(ctx, `
		DELETE FROM refresh_family WHERE domain_id = $0 AND user_id = $1 AND device_id in($2)`, string(user), devices); err != nil {
		return nil, err
	}
	return db.List[[]byte](ctx, tx, `
		DELETE FROM access_token WHERE domain_id = $0 AND user_id = $1 AND device_id in($2) RETURNING token_hash`,
		string(user), devices)
}
