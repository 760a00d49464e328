package store

import (
	"context"

	"konsil/kit/db"
	"konsil/matrix/id"
)

// AccessToken is what a client proves itself with; only its hash is known.
type AccessToken struct {
	Hash     []byte
	User     id.UserID
	Device   id.DeviceID
	Expires  int64 // ms; 0 means never
	Unproven bool  // it came from a refresh and was not used yet
}

// CreateToken stores an access token.
func (tx *Tx) CreateToken(ctx context.Context, t AccessToken) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO access_token (domain_id, token_hash, user_id, device_id, expires_ts, unproven)
		VALUES ($0, $1, $2, $3, $4, $5)`,
		t.Hash, string(t.User), string(t.Device), t.Expires, bit(t.Unproven))
	return err
}

// TokenOwner reads whose an access token is, with the account, or gives ErrNotFound.
func (tx *Tx) TokenOwner(ctx context.Context, hash []byte) (AccessToken, Account, error) {
	t := AccessToken{Hash: hash}
	var a Account
	var unproven, admin, locked, suspended int64
	err := db.One(ctx, tx, `
		SELECT t.user_id, t.device_id, t.expires_ts, t.unproven, a.admin, a.locked, a.suspended
		FROM access_token t JOIN account a ON a.domain_id = t.domain_id AND a.user_id = t.user_id
		WHERE t.domain_id = $0 AND t.token_hash = $1`,
		[]any{hash}, &t.User, &t.Device, &t.Expires, &unproven, &admin, &locked, &suspended)
	a.User = t.User
	t.Unproven, a.Admin, a.Locked, a.Suspended = unproven != 0, admin != 0, locked != 0, suspended != 0
	return t, a, err
}

// ProveToken marks a refreshed access token as used: the pair it replaced is good no longer. It gives the hashes of the
// access tokens that ended. CS v1.16 #refreshing-access-tokens
func (tx *Tx) ProveToken(ctx context.Context, t AccessToken) ([][]byte, error) {
	n, err := tx.Exec(ctx, `
		UPDATE access_token SET unproven = 0 WHERE domain_id = $0 AND token_hash = $1 AND unproven = 1`, t.Hash)
	if err != nil || n == 0 {
		return nil, err // somebody else proved it, and the device may have newer tokens by now
	}
	if _, err := tx.Exec(ctx, `
		UPDATE refresh_family SET previous_hash = NULL WHERE domain_id = $0 AND user_id = $1 AND device_id = $2`,
		string(t.User), string(t.Device)); err != nil {
		return nil, err
	}
	return db.List[[]byte](ctx, tx, `
		DELETE FROM access_token
		WHERE domain_id = $0 AND user_id = $1 AND device_id = $2 AND token_hash <> $3 RETURNING token_hash`,
		string(t.User), string(t.Device), t.Hash)
}

// ExpireTokens ends a device's session so that its client may log in again and keep the device: access tokens expire, the
// refresh tokens are gone. It gives the hashes of the access tokens.
func (tx *Tx) ExpireTokens(ctx context.Context, user id.UserID, device id.DeviceID, now int64) ([][]byte, error) {
	if _, err := tx.Exec(ctx, `
		DELETE FROM refresh_family WHERE domain_id = $0 AND user_id = $1 AND device_id = $2`,
		string(user), string(device)); err != nil {
		return nil, err
	}
	return db.List[[]byte](ctx, tx, `
		UPDATE access_token SET expires_ts = $3
		WHERE domain_id = $0 AND user_id = $1 AND device_id = $2 RETURNING token_hash`,
		string(user), string(device), now)
}

// DeleteUnprovenTokens removes the access tokens of a device that came from a refresh and were not used.
func (tx *Tx) DeleteUnprovenTokens(ctx context.Context, user id.UserID, device id.DeviceID) ([][]byte, error) {
	return db.List[[]byte](ctx, tx, `
		DELETE FROM access_token
		WHERE domain_id = $0 AND user_id = $1 AND device_id = $2 AND unproven = 1 RETURNING token_hash`,
		string(user), string(device))
}

// TokenHashes lists the access tokens of a user.
func (tx *Tx) TokenHashes(ctx context.Context, user id.UserID) ([][]byte, error) {
	return db.List[[]byte](ctx, tx, `
		SELECT token_hash FROM access_token WHERE domain_id = $0 AND user_id = $1`, string(user))
}

// RefreshFamily is the line of refresh tokens of one login.
type RefreshFamily struct {
	Family   string
	User     id.UserID
	Device   id.DeviceID
	Current  []byte // hash
	Previous []byte // hash of the token before; nil once the current pair was used
	Expires  int64  // ms
}

// PutRefreshFamily stores a family, new or rotated.
func (tx *Tx) PutRefreshFamily(ctx context.Context, f RefreshFamily) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO refresh_family (domain_id, family, user_id, device_id, current_hash, previous_hash, expires_ts)
		VALUES ($0, $1, $2, $3, $4, $5, $6)
		ON CONFLICT (domain_id, family) DO UPDATE SET
			current_hash = excluded.current_hash, previous_hash = excluded.previous_hash, expires_ts = excluded.expires_ts`,
		f.Family, string(f.User), string(f.Device), f.Current, f.Previous, f.Expires)
	return err
}

// RefreshFamily reads one family, or gives ErrNotFound.
func (tx *Tx) RefreshFamily(ctx context.Context, family string) (RefreshFamily, error) {
	f := RefreshFamily{Family: family}
	err := db.One(ctx, tx, `
		SELECT user_id, device_id, current_hash, previous_hash, expires_ts
		FROM refresh_family WHERE domain_id = $0 AND family = $1`,
		[]any{family}, &f.User, &f.Device, &f.Current, &f.Previous, &f.Expires)
	return f, err
}

// CreateOpenIDToken stores a token by which a third party may learn who the user is, and drops those that expired.
func (tx *Tx) CreateOpenIDToken(ctx context.Context, hash []byte, user id.UserID, expires, now int64) error {
	if _, err := tx.Exec(ctx, `DELETE FROM openid_token WHERE domain_id = $0 AND expires_ts <= $1`, now); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `
		INSERT INTO openid_token (domain_id, token_hash, user_id, expires_ts) VALUES ($0, $1, $2, $3)`,
		hash, string(user), expires)
	return err
}

// OpenIDUser reads whose an OpenID token is, or gives ErrNotFound.
func (tx *Tx) OpenIDUser(ctx context.Context, hash []byte, now int64) (id.UserID, error) {
	return db.Get[id.UserID](ctx, tx, `
		SELECT user_id FROM openid_token WHERE domain_id = $0 AND token_hash = $1 AND expires_ts > $2`, hash, now)
}

// DeleteOpenIDTokens takes all of a user's OpenID tokens back.
func (tx *Tx) DeleteOpenIDTokens(ctx context.Context, user id.UserID) error {
	_, err := tx.Exec(ctx, `DELETE FROM openid_token WHERE domain_id = $0 AND user_id = $1`, string(user))
	return err
}
