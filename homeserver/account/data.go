package account

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"konsil/homeserver/notify"
	"konsil/homeserver/store"
	"konsil/matrix/canonical"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
)

const (
	maxAccountData = 256 << 10 // bytes of one piece; m.direct of somebody with thousands of chats has some hundred
	typeTags       = "m.tag"
)

// managed are the types that only the server writes. CS v1.16 #server-behaviour-4
func managed(dataType string) bool { return dataType == "m.fully_read" || dataType == "m.push_rules" }

// AccountData reads one piece of a user's account data; room "" means the global ones.
func (k *Keeper) AccountData(ctx context.Context, user id.UserID, room id.RoomID, dataType string) (content json.RawMessage, err error) {
	err = k.Store.ReadOne(ctx, func(tx *store.Tx) (err error) {
		content, err = tx.AccountData(ctx, user, room, dataType)
		return err
	})
	return content, notFound(err, "Account data not found")
}

// SetAccountData stores what a client says. An empty object deletes. MSC3391
func (k *Keeper) SetAccountData(ctx context.Context, user id.UserID, room id.RoomID, dataType string, content json.RawMessage) error {
	if err := checkAccountData(dataType, content); err != nil {
		return err
	}
	if isEmptyObject(content) {
		return k.DeleteAccountData(ctx, user, room, dataType)
	}
	return k.PutAccountData(ctx, user, room, dataType, content)
}

// PutAccountData stores what the server says, also of the types that clients may not write.
func (k *Keeper) PutAccountData(ctx context.Context, user id.UserID, room id.RoomID, dataType string, content json.RawMessage) error {
	err := k.Store.Write(ctx, func(tx *store.Tx) error { return tx.PutAccountData(ctx, user, room, dataType, content) })
	if err != nil {
		return fmt.Errorf("store account data: %w", err)
	}
	k.wake(notify.Account, user)
	return nil
}

// DeleteAccountData deletes one piece; what is not there is deleted already. MSC3391
func (k *Keeper) DeleteAccountData(ctx context.Context, user id.UserID, room id.RoomID, dataType string) error {
	if managed(dataType) {
		return errManaged()
	}
	found := false
	err := k.Store.Write(ctx, func(tx *store.Tx) (err error) {
		found, err = tx.DeleteAccountData(ctx, user, room, dataType)
		return err
	})
	if err != nil {
		return fmt.Errorf("delete account data: %w", err)
	}
	if found {
		k.wake(notify.Account, user)
	}
	return nil
}

func checkAccountData(dataType string, content json.RawMessage) error {
	switch {
	case managed(dataType):
		return errManaged()
	case dataType == "" || len(dataType) > id.MaxLength || !storable(dataType):
		return mxerr.InvalidParam("Invalid type")
	case len(content) > maxAccountData:
		return mxerr.TooLarge("Account data is too large")
	}
	if trimmed := bytes.TrimSpace(content); len(trimmed) == 0 || trimmed[0] != '{' || !json.Valid(trimmed) {
		return mxerr.BadJSON("Content not a JSON object")
	}
	return nil
}

func errManaged() error {
	return mxerr.BadJSON("This type is managed by the server and cannot be set here").WithStatus(405)
}

func isEmptyObject(content []byte) bool {
	empty := true
	err := canonical.Object(content, func(string, []byte) error {
		empty = false
		return nil
	})
	return err == nil && empty
}

// Tags reads the tags of a room. CS v1.16 #room-tagging
func (k *Keeper) Tags(ctx context.Context, user id.UserID, room id.RoomID) (map[string]json.RawMessage, error) {
	var tags map[string]json.RawMessage
	err := k.Store.ReadOne(ctx, func(tx *store.Tx) (err error) {
		tags, err = readTags(ctx, tx, user, room)
		return err
	})
	return tags, err
}

// SetTag gives a room a tag, or changes it.
func (k *Keeper) SetTag(ctx context.Context, user id.UserID, room id.RoomID, tag string, value json.RawMessage) error {
	if tag == "" || len(tag) > id.MaxLength || !storable(tag) {
		return mxerr.InvalidParam("A tag has at most 255 bytes")
	}
	if len(value) > maxAccountData {
		return mxerr.TooLarge("Tag is too large")
	}
	var v struct {
		Order *json.RawMessage `json:"order"`
	}
	if err := json.Unmarshal(value, &v); err != nil {
		return mxerr.BadJSON("Content not a JSON object")
	}
	if v.Order != nil {
		var order float64
		if err := json.Unmarshal(*v.Order, &order); err != nil || order < 0 || order > 1 {
			return mxerr.InvalidParam("order must be a number between 0 and 1")
		}
	}
	return k.changeTags(ctx, user, room, func(tags map[string]json.RawMessage) bool {
		tags[tag] = value
		return true
	})
}

// DeleteTag takes a tag off a room.
func (k *Keeper) DeleteTag(ctx context.Context, user id.UserID, room id.RoomID, tag string) error {
	return k.changeTags(ctx, user, room, func(tags map[string]json.RawMessage) bool {
		_, found := tags[tag]
		delete(tags, tag)
		return found
	})
}

// changeTags changes a room's tags if change says so. All tags of a room are one piece of account data.
func (k *Keeper) changeTags(ctx context.Context, user id.UserID, room id.RoomID, change func(map[string]json.RawMessage) bool) error {
	changed := false
	err := k.Store.Write(ctx, func(tx *store.Tx) error {
		tags, err := readTags(ctx, tx, user, room)
		if err != nil {
			return err
		}
		if changed = change(tags); !changed {
			return nil
		}
		content, err := json.Marshal(map[string]any{"tags": tags})
		if err != nil {
			return fmt.Errorf("write tags: %w", err)
		}
		if len(content) > maxAccountData {
			return mxerr.TooLarge("The room has too many tags")
		}
		return tx.PutAccountData(ctx, user, room, typeTags, content)
	})
	if err == nil && changed {
		k.wake(notify.Account, user)
	}
	return err
}

func readTags(ctx context.Context, tx *store.Tx, user id.UserID, room id.RoomID) (map[string]json.RawMessage, error) {
	content, err := tx.AccountData(ctx, user, room, typeTags)
	if errors.Is(err, store.ErrNotFound) {
		return map[string]json.RawMessage{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read tags: %w", err)
	}
	var v struct {
		Tags map[string]json.RawMessage `json:"tags"`
	}
	// Clients may write m.tag as account data too: what is no list of tags counts as none.
	if err := json.Unmarshal(content, &v); err != nil || v.Tags == nil {
		return map[string]json.RawMessage{}, nil //nolint:nilerr // see above
	}
	return v.Tags, nil
}
