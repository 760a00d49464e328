package account

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"konsil/homeserver/store"
	"konsil/matrix/id"
	"konsil/matrix/mxerr"
)

// The fields of a profile that have places of their own. CS v1.16 #profiles
const (
	FieldDisplayName = "displayname"
	FieldAvatarURL   = "avatar_url"
)

const (
	maxDisplayName  = 256      // characters; a name goes into every membership event
	maxAvatarURL    = 1000     // bytes
	maxProfile      = 64 << 10 // bytes of all fields. CS v1.16 #put_matrixclientv3profileuseridkeyname
	maxProfileField = 255      // bytes of a field's name
)

// Profile reads the profile of a user of this domain; M_NOT_FOUND if there is no such user.
func (k *Keeper) Profile(ctx context.Context, user id.UserID) (p store.Profile, err error) {
	err = k.Store.ReadOne(ctx, func(tx *store.Tx) (err error) {
		p, err = tx.Profile(ctx, user)
		return err
	})
	return p, notFound(err, "Profile not found")
}

// ProfileJSON gives a profile, or one field of it (field "" means all), as one JSON object. M_NOT_FOUND if there is none.
func ProfileJSON(p store.Profile, field string) (json.RawMessage, error) {
	all, err := fieldsOf(p)
	if err != nil {
		return nil, err
	}
	if field == "" {
		return json.Marshal(all)
	}
	value, ok := all[field]
	if !ok {
		return nil, mxerr.NotFound("Profile field not found")
	}
	return json.Marshal(map[string]json.RawMessage{field: value})
}

func fieldsOf(p store.Profile) (map[string]json.RawMessage, error) {
	all := map[string]json.RawMessage{}
	if len(p.Fields) > 0 {
		if err := json.Unmarshal(p.Fields, &all); err != nil {
			return nil, fmt.Errorf("read profile fields: %w", err)
		}
	}
	for name, value := range map[string]string{FieldDisplayName: p.DisplayName, FieldAvatarURL: p.AvatarURL} {
		if value != "" {
			text, err := json.Marshal(value)
			if err != nil {
				return nil, err
			}
			all[name] = text
		}
	}
	return all, nil
}

// CheckProfileField says whether there may be a profile field of this name.
// Appendices v1.16 #common-namespaced-identifier-grammar
func CheckProfileField(name string) error {
	if name == FieldDisplayName || name == FieldAvatarURL {
		return nil
	}
	if len(name) > maxProfileField {
		return mxerr.New(400, mxerr.CodeKeyTooLarge, "Profile field name is too long")
	}
	ok := len(name) > 0 && 'a' <= name[0] && name[0] <= 'z' && strings.Contains(name, ".") && !strings.HasSuffix(name, ".")
	for i := 0; ok && i < len(name); i++ {
		c := name[i]
		ok = 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '.' || c == '_' || c == '-'
	}
	if !ok {
		return mxerr.InvalidParam("Invalid profile field name")
	}
	return nil
}

// SetProfileField changes one field; a nil value deletes it. It gives the profile as it is now, and whether it is another
// one than before. That rooms hear of a new name is the caller's work.
func (k *Keeper) SetProfileField(ctx context.Context, user id.UserID, field string, value json.RawMessage) (p store.Profile, changed bool, err error) {
	if err := CheckProfileField(field); err != nil {
		return p, false, err
	}
	err = k.Store.Write(ctx, func(tx *store.Tx) error {
		old, err := tx.Profile(ctx, user)
		if err != nil {
			return notFound(err, "Profile not found")
		}
		if p, err = withField(old, field, value); err != nil {
			return err
		}
		changed = p.DisplayName != old.DisplayName || p.AvatarURL != old.AvatarURL || !bytes.Equal(p.Fields, old.Fields)
		if !changed {
			return nil
		}
		return tx.PutProfile(ctx, user, p, searchText(user, p))
	})
	return p, changed, err
}

// withField gives a profile with one field changed.
func withField(p store.Profile, field string, value json.RawMessage) (store.Profile, error) {
	switch field {
	case FieldDisplayName, FieldAvatarURL:
		var text *string
		if value != nil {
			if err := json.Unmarshal(value, &text); err != nil {
				return p, mxerr.InvalidParam("%s must be a string", field)
			}
		}
		if text == nil { // null has always meant: none
			text = new(string)
		}
		if field == FieldAvatarURL {
			p.AvatarURL = *text
			return p, checkAvatarURL(*text)
		}
		p.DisplayName = *text
		return p, checkDisplayName(*text)
	}
	all := map[string]json.RawMessage{}
	if err := json.Unmarshal(p.Fields, &all); err != nil {
		return p, fmt.Errorf("read profile fields: %w", err)
	}
	if value == nil {
		delete(all, field)
	} else {
		all[field] = value
	}
	fields, err := json.Marshal(all)
	if err != nil {
		return p, mxerr.BadJSON("Invalid value for %s", field)
	}
	if len(fields)+len(p.DisplayName)+len(p.AvatarURL) > maxProfile {
		return p, mxerr.New(400, mxerr.CodeProfileTooLarge, "The profile would be larger than 64 KiB")
	}
	p.Fields = fields
	return p, nil
}

func checkDisplayName(name string) error {
	if utf8.RuneCountInString(name) > maxDisplayName {
		return mxerr.InvalidParam("A display name has at most %d characters", maxDisplayName)
	}
	if !storable(name) {
		return mxerr.InvalidParam("Display name has characters that are not allowed")
	}
	return nil
}

func checkAvatarURL(url string) error {
	if len(url) > maxAvatarURL || !storable(url) {
		return mxerr.InvalidParam("Invalid avatar URL")
	}
	return nil
}

// searchText is what the user directory finds a user by.
func searchText(user id.UserID, p store.Profile) string {
	return strings.ToLower(p.DisplayName + "\n" + string(user))
}

// SearchUsers finds users by words of their name or ID, among those the searcher may know of: who shares a room with them
// or is in a published one. Names that people use in single rooms are not searched: they are for that room's members.
// CS v1.16 #user-directory
func (k *Keeper) SearchUsers(ctx context.Context, searcher id.UserID, term string, limit int) (found []store.FoundUser, more bool, err error) {
	words := strings.Fields(strings.ToLower(term))
	if len(words) == 0 || !storable(term) {
		return nil, false, nil
	}
	const maxWords = 4 // more narrow nothing down
	search := store.UserSearch{Searcher: searcher, Server: k.Server, Words: words[:min(len(words), maxWords)], All: k.SearchAll, Limit: limit + 1}
	err = k.Store.Read(ctx, func(tx *store.Tx) (err error) {
		found, err = tx.SearchUsers(ctx, search)
		return err
	})
	if err != nil && !errors.Is(err, context.Canceled) {
		return nil, false, fmt.Errorf("search users: %w", err)
	}
	if len(found) > limit {
		return found[:limit], true, err
	}
	return found, false, err
}

// CleanProfile keeps of a profile that another server sent what clients can bear: fields with names there may be, names and
// pictures that are strings of a sane length (A32).
func CleanProfile(fields map[string]json.RawMessage) map[string]json.RawMessage {
	clean := map[string]json.RawMessage{}
	size := 0
	for name, value := range fields {
		size += len(name) + len(value)
		if size > maxProfile || CheckProfileField(name) != nil {
			continue
		}
		var text string
		switch name {
		case FieldDisplayName:
			if json.Unmarshal(value, &text) != nil || checkDisplayName(text) != nil {
				continue
			}
		case FieldAvatarURL:
			if json.Unmarshal(value, &text) != nil || checkAvatarURL(text) != nil {
				continue
			}
		}
		clean[name] = value
	}
	return clean
}
