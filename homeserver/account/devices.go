package account

import (
	"context"
	"errors"
	"fmt"
	"unicode/utf8"

	"konsil/homeserver/notify"
	"konsil/homeserver/store"
	"konsil/kit/obs"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
)

// DevicesChanged is told, after the commit, that devices of a user were added, renamed or deleted, and at which position:
// the key directory tells whom it concerns.
type DevicesChanged func(ctx context.Context, user id.UserID, devices []id.DeviceID, pos int64) error

// tellDevices follows the commit of a change of devices; position 0 means that there was none. The change stands in the
// store: who is not woken now hears of it with the next sync.
func (k *Keeper) tellDevices(ctx context.Context, user id.UserID, devices []id.DeviceID, pos int64) {
	if k.DevicesChanged == nil || pos == 0 {
		return
	}
	if err := k.DevicesChanged(ctx, user, devices, pos); err != nil {
		k.Log.Warn("tell of changed devices", obs.KeyError, err)
	}
}

// maxDeviceName is what a display name of a device may have in bytes; other servers' devices have names to this length.
const maxDeviceName = 255

func checkDeviceName(name string) error {
	if len(name) > maxDeviceName {
		return mxerr.TooLarge("Device display name is too long").WithStatus(400)
	}
	if !storable(name) {
		return mxerr.InvalidParam("Device display name has characters that are not allowed")
	}
	return nil
}

// storable says whether both engines can keep a text.
func storable(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] == 0 {
			return false
		}
	}
	return utf8.ValidString(s)
}

// Devices lists a user's devices.
func (k *Keeper) Devices(ctx context.Context, user id.UserID) (devices []store.Device, err error) {
	err = k.Store.ReadOne(ctx, func(tx *store.Tx) (err error) {
		devices, err = tx.Devices(ctx, user)
		return err
	})
	return devices, err
}

// Device reads one device of a user; M_NOT_FOUND if there is none.
func (k *Keeper) Device(ctx context.Context, user id.UserID, device id.DeviceID) (d store.Device, err error) {
	err = k.Store.ReadOne(ctx, func(tx *store.Tx) (err error) {
		d, err = tx.Device(ctx, user, device)
		return err
	})
	return d, notFound(err, "Unknown device")
}

// RenameDevice changes the display name; "" removes it.
func (k *Keeper) RenameDevice(ctx context.Context, user id.UserID, device id.DeviceID, name string) error {
	if err := checkDeviceName(name); err != nil {
		return err
	}
	var pos int64
	err := k.Store.Write(ctx, func(tx *store.Tx) error {
		found, err := tx.RenameDevice(ctx, user, device, name)
		if err != nil {
			return fmt.Errorf("rename a device: %w", err)
		}
		if !found {
			return mxerr.NotFound("Unknown device")
		}
		pos, err = tx.DeviceListChanged(ctx, user, device)
		return err
	})
	if err != nil {
		return err
	}
	k.tellDevices(ctx, user, []id.DeviceID{device}, pos)
	return nil
}

// DeleteDevices deletes devices with all that belongs to them: tokens, settings, keys, waiting messages. Pushers
// without their device are void. Devices that are not there are ignored.
func (k *Keeper) DeleteDevices(ctx context.Context, user id.UserID, devices []id.DeviceID) error {
	return k.deleteDevices(ctx, user, func(context.Context, *store.Tx) ([]id.DeviceID, error) { return devices, nil })
}

// DeleteOtherDevices deletes all devices of a user but one; "" keeps none.
func (k *Keeper) DeleteOtherDevices(ctx context.Context, user id.UserID, keep id.DeviceID) error {
	return k.deleteDevices(ctx, user, func(ctx context.Context, tx *store.Tx) ([]id.DeviceID, error) {
		return otherDevices(ctx, tx, user, keep)
	})
}

func otherDevices(ctx context.Context, tx *store.Tx, user id.UserID, keep id.DeviceID) ([]id.DeviceID, error) {
	all, err := tx.Devices(ctx, user)
	if err != nil {
		return nil, fmt.Errorf("list devices: %w", err)
	}
	var others []id.DeviceID
	for _, d := range all {
		if d.ID != keep {
			others = append(others, d.ID)
		}
	}
	return others, nil
}

func (k *Keeper) deleteDevices(ctx context.Context, user id.UserID, which func(context.Context, *store.Tx) ([]id.DeviceID, error)) error {
	var gone removal
	err := k.Store.Write(ctx, func(tx *store.Tx) error {
		devices, err := which(ctx, tx)
		if err != nil {
			return err
		}
		gone, err = k.removeDevices(ctx, tx, user, devices)
		return err
	})
	if err != nil {
		return err
	}
	k.removed(ctx, user, gone)
	return nil
}

// removal is what a transaction took away, for what follows its commit.
type removal struct {
	tokens  [][]byte
	devices []id.DeviceID
	pos     int64 // of the change of the device list; 0 when there was none
}

// removeDevices deletes devices within a transaction.
func (k *Keeper) removeDevices(ctx context.Context, tx *store.Tx, user id.UserID, devices []id.DeviceID) (r removal, err error) {
	if len(devices) == 0 {
		return r, nil
	}
	if r.devices, r.tokens, err = tx.DeleteDevices(ctx, user, devices); err != nil {
		return r, fmt.Errorf("delete devices: %w", err)
	}
	if len(r.devices) == 0 {
		return r, nil
	}
	for _, device := range r.devices {
		if err := deleteSettingsOf(ctx, tx, user, device); err != nil {
			return r, err
		}
	}
	if err := tx.DropDeviceKeys(ctx, user, r.devices); err != nil {
		return r, fmt.Errorf("drop the keys of deleted devices: %w", err)
	}
	r.pos, err = tx.DeviceListChanged(ctx, user, r.devices...)
	return r, err
}

// removed follows the commit of a removal.
func (k *Keeper) removed(ctx context.Context, user id.UserID, r removal) {
	k.tokens.drop(r.tokens)
	if r.pos != 0 {
		k.wake(notify.Account|notify.Devices, user)
	}
	k.tellDevices(ctx, user, r.devices, r.pos)
}

// deleteSettingsOf deletes the notification settings of a device that ends. MSC3890
func deleteSettingsOf(ctx context.Context, tx *store.Tx, user id.UserID, device id.DeviceID) error {
	for _, prefix := range []string{"m.local_notification_settings.", "org.matrix.msc3890.local_notification_settings."} {
		if _, err := tx.DeleteAccountData(ctx, user, "", prefix+string(device)); err != nil {
			return fmt.Errorf("delete the settings of a device: %w", err)
		}
	}
	return nil
}

// notFound turns the store's answer for no row into a refusal.
func notFound(err error, what string) error {
	if errors.Is(err, store.ErrNotFound) {
		return mxerr.NotFound("%s", what)
	}
	return err
}
