package store

import (
	"context"

	"konsil/kit/db"
	"konsil/matrix/id"
)

// Profile is what a user of this domain says about themselves.
type Profile struct {
	DisplayName string // "" means none
	AvatarURL   string // "" means none
	Fields      []byte // JSON object of all other fields, never nil once read
}

// Profile reads a user's profile, or gives ErrNotFound.
func (tx *Tx) Profile(ctx context.Context, user id.UserID) (Profile, error) {
	var p Profile
	err := db.One(ctx, tx, `
		SELECT displayname, avatar_url, fields FROM profile WHERE domain_id = $0 AND user_id = $1`,
		[]any{string(user)}, &p.DisplayName, &p.AvatarURL, &p.Fields)
	return p, err
}

// PutProfile stores a user's profile; search is the text the user directory looks at.
func (tx *Tx) PutProfile(ctx context.Context, user id.UserID, p Profile, search string) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO profile (domain_id, user_id, displayname, avatar_url, fields, search) VALUES ($0, $1, $2, $3, $4, $5)
		ON CONFLICT (domain_id, user_id) DO UPDATE SET
			displayname = excluded.displayname, avatar_url = excluded.avatar_url,
			fields = excluded.fields, search = excluded.search`,
		string(user), p.DisplayName, p.AvatarURL, p.Fields, search)
	return err
}

// DeleteProfile removes a profile; the user can not be found or looked up any longer.
func (tx *Tx) DeleteProfile(ctx context.Context, user id.UserID) error {
	_, err := tx.Exec(ctx, `DELETE FROM profile WHERE domain_id = $0 AND user_id = $1`, string(user))
	return err
}
