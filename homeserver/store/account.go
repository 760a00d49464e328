package store

import (
	"context"

	"konsil/kit/db"
	"konsil/matrix/id"
)

// Account is a user of this domain.
type Account struct {
	User         id.UserID
	PasswordHash string // PHC form; "" when no password opens the account
	Created      int64  // ms
	Admin        bool
	Locked       bool
	Suspended    bool
	Deactivated  int64 // ms; 0 while the account lives
	Erased       bool
}

// CreateAccount stores a new account, and says whether its name was free.
func (tx *Tx) CreateAccount(ctx context.Context, a Account) (bool, error) {
	n, err := tx.Exec(ctx, `
		INSERT INTO account (domain_id, user_id, password_hash, created_ts, admin)
		VALUES ($0, $1, $2, $3, $4)
		ON CONFLICT (domain_id, user_id) DO NOTHING`,
		string(a.User), a.PasswordHash, a.Created, bit(a.Admin))
	return n == 1, err
}

// Account reads one account, or gives ErrNotFound.
func (tx *Tx) Account(ctx context.Context, user id.UserID) (Account, error) {
	a := Account{User: user}
	var admin, locked, suspended, erased int64
	err := db.One(ctx, tx, `
		SELECT password_hash, created_ts, admin, locked, suspended, deactivated_ts, erased
		FROM account WHERE domain_id = $0 AND user_id = $1`,
		[]any{string(user)}, &a.PasswordHash, &a.Created, &admin, &locked, &suspended, &a.Deactivated, &erased)
	a.Admin, a.Locked, a.Suspended, a.Erased = admin != 0, locked != 0, suspended != 0, erased != 0
	return a, err
}

// SetPassword stores a new password hash.
func (tx *Tx) SetPassword(ctx context.Context, user id.UserID, hash string) error {
	_, err := tx.Exec(ctx, `UPDATE account SET password_hash = $2 WHERE domain_id = $0 AND user_id = $1`, string(user), hash)
	return err
}

// SetAccountFlags stores the administrator's decisions on an account.
func (tx *Tx) SetAccountFlags(ctx context.Context, a Account) error {
	_, err := tx.Exec(ctx, `
		UPDATE account SET admin = $2, locked = $3, suspended = $4 WHERE domain_id = $0 AND user_id = $1`,
		string(a.User), bit(a.Admin), bit(a.Locked), bit(a.Suspended))
	return err
}

// DeactivateAccount ends an account for ever; its name stays taken.
func (tx *Tx) DeactivateAccount(ctx context.Context, user id.UserID, ts int64, erase bool) error {
	_, err := tx.Exec(ctx, `
		UPDATE account SET password_hash = '', admin = 0, deactivated_ts = $2, erased = $3
		WHERE domain_id = $0 AND user_id = $1`, string(user), ts, bit(erase))
	return err
}

// RegistrationToken is a ticket for making accounts.
type RegistrationToken struct {
	Token       string
	UsesAllowed int64 // below 0: any number
	Used        int64
	Expires     int64 // ms; 0 means never
}

// CreateRegistrationToken stores a token, and says whether it is new.
func (tx *Tx) CreateRegistrationToken(ctx context.Context, t RegistrationToken) (bool, error) {
	n, err := tx.Exec(ctx, `
		INSERT INTO registration_token (domain_id, token, uses_allowed, expires_ts) VALUES ($0, $1, $2, $3)
		ON CONFLICT (domain_id, token) DO NOTHING`, t.Token, t.UsesAllowed, t.Expires)
	return n == 1, err
}

// RegistrationToken reads one token, or gives ErrNotFound.
func (tx *Tx) RegistrationToken(ctx context.Context, token string) (RegistrationToken, error) {
	t := RegistrationToken{Token: token}
	err := db.One(ctx, tx, `
		SELECT uses_allowed, used, expires_ts FROM registration_token WHERE domain_id = $0 AND token = $1`,
		[]any{token}, &t.UsesAllowed, &t.Used, &t.Expires)
	return t, err
}

// UseRegistrationToken counts one use, and says whether there was one left.
func (tx *Tx) UseRegistrationToken(ctx context.Context, token string, now int64) (bool, error) {
	n, err := tx.Exec(ctx, `
		UPDATE registration_token SET used = used + 1
		WHERE domain_id = $0 AND token = $1 AND (uses_allowed < 0 OR used < uses_allowed)
			AND (expires_ts = 0 OR expires_ts > $2)`, token, now)
	return n == 1, err
}

// bit is how a truth is stored: BIGINT 0 or 1 reads the same on both engines.
func bit(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
